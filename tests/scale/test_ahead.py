"""Steps compiled for this CPU, for TPUs and for H100s that are not here."""

from dataclasses import replace

import jax
import pytest

from handgrad.scale.ahead import Compiled, compile_ahead
from handgrad.scale.compilers import missing
from handgrad.scale.hlo import Collective
from handgrad.scale.step import Job, make_job, stand_in
from handgrad.scale.targets import CHIPS, Target, parse_target
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Settings

GRADIENT = 4 * (6 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3)  # bytes, 6-8-8-3 in float32


def has_its_compiler(text: str) -> Target:
    target = parse_target(text)
    if need := missing(target):
        pytest.skip(f"the compiler is not installed: {need}")
    return target


def large(found: Compiled) -> tuple[Collective, ...]:
    """All but those of a few scalars: the loss, the weight of the samples."""
    assert found.by_hand is not None
    return tuple(row for row in found.by_hand.collectives if row.size > 32)


@pytest.mark.parametrize("text", ["cpu:4", "v5e:2x2", "h100:8"])
def test_samples_shared_out_cost_one_sum_of_the_gradient(text: str, job: Job) -> None:
    target = has_its_compiler(text)
    found = compile_ahead(job, target, per_device=8)
    assert (found.data, found.model) == (target.devices, 1)
    assert found.samples == 8 * target.devices
    assert found.gradient == GRADIENT
    rows = large(found)
    assert {(row.kind, row.devices, row.times) for row in rows} == {
        ("all-reduce", target.devices, 1)
    }
    assert len(rows) == 1 or target.chip.kind == "gpu"  # which sums layer 1 by itself
    total = sum(row.size for row in rows)
    assert GRADIENT <= total <= GRADIENT + 12  # with sums of a few scalars
    hand, rival = found.by_hand, found.by_autodiff
    assert hand is not None
    assert rival is not None
    assert hand.arguments == rival.arguments
    assert hand.outputs == rival.outputs
    assert hand.peak >= hand.arguments - hand.aliased
    assert hand.flops > 3 * 2 * 8 * (6 * 8 + 8 * 8 + 8 * 3) * 0.6
    assert hand.accessed > 3 * GRADIENT


@pytest.mark.parametrize("text", ["v5e:1x1", "h100:1"])
def test_one_chip_has_no_collectives_and_room(text: str, job: Job) -> None:
    found = compile_ahead(job, has_its_compiler(text), batch_size=16, rival=False)
    assert large(found) == ()
    assert found.by_autodiff is None
    assert found.fits


@pytest.mark.parametrize("text", ["cpu:4", "v5p:2x2x2", "h100:4"])
def test_units_shared_out_cost_their_sums(text: str, job: Job) -> None:
    target = has_its_compiler(text)
    found = compile_ahead(job, target, model=2, per_device=8, rival=False)
    assert (found.data, found.model) == (target.devices // 2, 2)
    split = (6 * 8 + 8 + 8 * 8) // 2  # the columns, their bias, the rows
    assert found.gradient == 4 * (split + 8 + 8 * 3 + 3)
    if target.chip.kind != "tpu":  # whose compiler has more ways to sum
        # Along `model`, the pre-activations of layer 2: 8 samples of 8 units.
        assert Collective("all-reduce", 4 * 8 * 8, 2, 1) in large(found)
    assert 2 in {row.devices for row in large(found)}
    assert compile_ahead(job, target, per_device=8, rival=False).gradient == GRADIENT


def test_a_network_that_is_too_large(settings: Settings) -> None:
    """A TPU's compiler refuses it; for other chips the sizes say so."""
    target = has_its_compiler("v5e:1x1")
    wide = replace(settings, model=replace(settings.model, hidden=(2**15, 2**15)))
    found = compile_ahead(
        make_job(wide, stand_in(wide, 2**15, 10)), target, per_device=8, rival=False
    )
    assert found.by_hand is None
    assert found.fits is False
    assert "exceeds available HBM" in found.refusal


def test_fits_is_by_the_memory_of_the_chip(job: Job) -> None:
    found = compile_ahead(job, parse_target("cpu:1"), per_device=8, rival=False)
    assert found.fits is None
    assert found.by_hand is not None
    for memory, fits in [(found.by_hand.peak, True), (found.by_hand.peak - 1, False)]:
        chip = CHIPS["h100"]._replace(memory=memory)
        assert found._replace(target=Target("h100:1", chip, (1,))).fits is fits


def test_no_rival_where_gradients_of_samples_are_clipped(settings: Settings) -> None:
    clipped = replace(settings, optimizer=replace(settings.optimizer, clip_samples=1.0))
    job = make_job(clipped, stand_in(clipped, 6, 3))
    found = compile_ahead(job, parse_target("cpu:1"), per_device=8)
    assert found.by_hand is not None
    assert found.by_autodiff is None


@pytest.mark.parametrize("model", [0, 3])
def test_model_must_divide_the_devices(model: int, job: Job) -> None:
    with pytest.raises(
        TrainingError, match=r"`model` must divide the 4 devices of cpu"
    ):
        compile_ahead(job, parse_target("cpu:4"), model=model)


def test_the_batch_must_be_shared_out(job: Job) -> None:
    message = r"`training.batch_size` must be shared out to 4 devices, got 18. Give"
    with pytest.raises(TrainingError, match=message):
        compile_ahead(job, parse_target("cpu:4"), batch_size=18)


def test_more_cpus_than_there_are(job: Job) -> None:
    more = len(jax.devices("cpu")) + 1
    with pytest.raises(TrainingError, match=rf"`target` cpu:{more} must not have more"):
        compile_ahead(job, parse_target(f"cpu:{more}"))
