"""What can be compiled for: the names of targets, and what is published of chips."""

import re
from pathlib import Path

import pytest

import handgrad.scale
from handgrad.scale.targets import CHIPS, EXAMPLES, parse_target
from handgrad.training.errors import TrainingError

H100 = Path(handgrad.scale.__file__ or "").parent / "chips" / "h100.txtpb"


@pytest.mark.parametrize(
    ("text", "name", "shape", "devices"),
    [
        ("v5e:2x2", "TPU v5e", (2, 2), 4),
        ("v5e:16x16", "TPU v5e", (16, 16), 256),
        ("v5e:1x1", "TPU v5e", (1, 1), 1),
        ("v5p:4x4x8", "TPU v5p", (4, 4, 8), 128),
        ("v6e:16x16", "TPU v6e", (16, 16), 256),
        ("h100:1", "H100 SXM", (1,), 1),
        ("h100:8", "H100 SXM", (8,), 8),
        ("cpu:4", "this CPU", (4,), 4),
    ],
)
def test_a_target_is_a_chip_and_a_shape(
    text: str, name: str, shape: tuple[int, ...], devices: int
) -> None:
    target = parse_target(text)
    assert (target.text, target.chip.name, target.shape) == (text, name, shape)
    assert target.devices == devices


def test_the_examples_of_the_messages_are_targets() -> None:
    for text in EXAMPLES.split(", "):
        assert parse_target(text).text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5", "must begin with a chip (v5e, v5p, v6e, h100, cpu), got 'v5'. Did you"),
        ("", "must begin with a chip (v5e, v5p, v6e, h100, cpu), got ''. Valid are"),
        ("v5e", "v5e must be followed by a colon and 2 sides, of 1 to 256 chips"),
        ("v5e:4", "v5e must be followed by a colon and 2 sides"),
        ("v5e:2x2x1", "v5e must be followed by a colon and 2 sides"),
        ("v5e:2x-2", "v5e must be followed by a colon and 2 sides"),
        ("v5e:0x2", "v5e must be followed by a colon and 2 sides, of 1 to 256 chips"),
        ("v5e:32x32", "of 1 to 256 chips, got 'v5e:32x32'"),
        ("v5p:4x4", "v5p must be followed by a colon and 3 sides, of 1 to 8960 chips"),
        ("v6e:3x2", "v6e must have even sides, or sides of 1: a host has 2x2"),
        ("h100:9", "h100 must be followed by a colon and a number, of 1 to 8 chips"),
        ("h100:8x8", "h100 must be followed by a colon and a number"),
        ("h100:" + "8" * 5000, "h100 must be followed by a colon and a number"),
    ],
)
def test_what_is_no_target(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)) as raised:
        parse_target(text)
    assert str(raised.value).startswith("`target` ")
    assert len(str(raised.value)) < 300


def test_every_accelerator_has_its_figures_and_their_source() -> None:
    for chip in CHIPS.values():
        if chip.kind != "cpu":
            assert min(chip.memory, chip.bandwidth, chip.flops, chip.link) > 1e9
            assert chip.source.startswith("https://")
            # A chip computes faster than it reads, and reads faster than it sends.
            assert chip.flops > chip.bandwidth > chip.link


def test_the_description_of_the_h100_is_that_of_the_table() -> None:
    text = H100.read_text("utf-8")
    assert f"device_memory_size: {CHIPS['h100'].memory}\n" in text
    assert f"memory_bandwidth: {CHIPS['h100'].bandwidth:.0f}\n" in text
