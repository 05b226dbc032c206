"""Against BackPACK, where it has the quantity (extra ``backpack``).

What it returns for a loss with the mean over m samples, and what it takes to be ours:

    BatchGrad      g_i / m                              times m
    BatchL2Grad    |g_i|^2 / m^2, one per parameter     summed, times m^2
    SumGradSquared sum_i g_i^2 / m^2                    times m
    Variance       of the g_i / m                       times m^2
    DiagGGNExact   of the mean loss                     as it is
    KFLR           mean of delta delta^T, exact, mean of a a^T: ours without the bias

Its weights are (n_out, n_in), ours (n_in, n_out).
"""

import functools
import warnings
from typing import Any

import byproduct_cases as cases
import numpy as np
import pytest

import handgrad
from handgrad import byproducts

torch: Any = pytest.importorskip("torch", reason="needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # BackPACK 1.7 on what torch 2.13 deprecates
    backpack: Any = pytest.importorskip("backpack", reason="needs BackPACK")
    extensions: Any = pytest.importorskip("backpack.extensions")

SAMPLES = 6
NAMES = (
    "BatchGrad",
    "BatchL2Grad",
    "SumGradSquared",
    "Variance",
    "DiagGGNExact",
    "KFLR",
)


def ours(name: str, *, exact: bool = False) -> Any:
    case = cases.make()

    def compute() -> Any:
        trace, errors = case.passes()
        if exact:
            errors = byproducts.exact_deltas(case.params, trace)
        return getattr(byproducts, name)(trace, errors)

    return cases.numpy(cases.compiled(compute))


def tensor(array: Any) -> Any:
    return torch.from_numpy(np.array(array))


@functools.cache
def theirs() -> dict[str, Any]:
    """Their quantities per layer: (weight, bias), the weight in their orientation."""
    case = cases.make()
    linear = []
    for layer in case.params:
        module = torch.nn.Linear(*layer.weight.shape).double()
        module.weight.data = tensor(layer.weight).T.contiguous()
        module.bias.data = tensor(layer.bias)
        linear.append(backpack.extend(module))
    model = torch.nn.Sequential(linear[0], backpack.extend(torch.nn.Tanh()), linear[1])
    loss = backpack.extend(torch.nn.CrossEntropyLoss())
    kinds = [getattr(extensions, name)() for name in NAMES]
    with warnings.catch_warnings(), backpack.backpack(*kinds):
        warnings.simplefilter("ignore")
        loss(backpack.extend(model)(tensor(case.x)), tensor(case.targets)).backward()
    return {
        kind.savefield: [
            (getattr(m.weight, kind.savefield), getattr(m.bias, kind.savefield))
            for m in linear
        ]
        for kind in kinds
    }


def transposed(layers: list[Any], factor: float) -> handgrad.Params:
    """Their layers in our orientation; the axes before the last two stay."""
    return tuple(
        handgrad.Layer(
            factor * np.swapaxes(weight.numpy(), -1, -2), factor * bias.numpy()
        )
        for weight, bias in layers
    )


@pytest.mark.parametrize(
    ("name", "field", "factor"),
    [
        ("per_sample_gradients", "grad_batch", SAMPLES),
        ("second_moment", "sum_grad_squared", SAMPLES),
        ("variance", "variance", SAMPLES**2),
    ],
)
def test_statistics(name: str, field: str, factor: float) -> None:
    assert cases.error(ours(name), transposed(theirs()[field], factor)) < 1e-10


def test_norms() -> None:
    squares = sum(leaf.numpy() for layer in theirs()["batch_l2"] for leaf in layer)
    norms = SAMPLES * np.sqrt(squares)
    assert cases.error(ours("per_sample_norms"), norms) < 1e-10


def test_ggn_diagonal() -> None:
    came = ours("second_moment", exact=True)
    assert cases.error(came, transposed(theirs()["diag_ggn_exact"], 1)) < 1e-10


def test_kronecker_factors() -> None:
    for factors, (weight, bias) in zip(
        ours("kronecker_factors", exact=True), theirs()["kflr"], strict=True
    ):
        deltas, inputs = weight
        assert cases.error(factors.deltas, deltas.numpy()) < 1e-10
        assert cases.error(factors.deltas, bias[0].numpy()) < 1e-10
        assert cases.error(factors.inputs[:-1, :-1], inputs.numpy()) < 1e-10
