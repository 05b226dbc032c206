"""PyTorch's gradient step, for `step.py`: in a process of its own.

python scripts/benchmarks/step_torch.py 128 784 800 10
"""

import sys
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports]
from common import Work, serve
from torch import nn  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Serve the step of the network whose batch and widths are the arguments."""
    batch, *sizes = map(int, sys.argv[1:])
    serve(works(batch, tuple(sizes)))


def works(batch: int, sizes: tuple[int, ...]) -> dict[str, Work]:
    """Loss and gradients, eager and compiled."""
    torch.manual_seed(0)
    x = torch.randn(batch, sizes[0])
    labels = torch.randint(0, sizes[-1], (batch,))
    loss = nn.CrossEntropyLoss()

    def step(network: Callable[[torch.Tensor], torch.Tensor], plain: nn.Module) -> Work:
        def work() -> None:
            plain.zero_grad()
            loss(network(x), labels).backward()

        return work

    eager, compiled = network_of(sizes), network_of(sizes)
    return {
        "PyTorch": step(eager, eager),
        "PyTorch, compiled": step(torch.compile(compiled), compiled),
    }


def network_of(sizes: tuple[int, ...]) -> nn.Sequential:
    """Affine layers with relu between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


if __name__ == "__main__":
    main()
