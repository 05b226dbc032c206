"""The compilers of accelerators that are not here, and their devices.

For a TPU it is `libtpu`; for a GPU XLA's plugin for CUDA, which needs no GPU, no driver
and no library of NVIDIA's, but a description of the chip (`chips/`).
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax

from handgrad.scale.targets import Target
from handgrad.training.errors import TrainingError

NOT_A_TPU_MACHINE = {
    "TPU_SKIP_MDS_QUERY": "1",  # asks no metadata server of a cloud
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any: the topology says what it is
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is taken, so none is fought for
}
"""What libtpu reads from the environment when it is loaded."""

CUDA_PLUGINS = ("xla_cuda13", "xla_cuda12")


def missing(target: Target) -> str | None:
    """What is to be installed before a target can be compiled for; None for nothing."""
    if target.chip.kind == "tpu" and not (
        find_spec("libtpu") or os.environ.get("TPU_LIBRARY_PATH")
    ):
        return "libtpu: pip install 'handgrad[ahead]'"
    if target.chip.kind == "gpu" and not any(map(_plugin, CUDA_PLUGINS)):
        return "jax-cuda12-plugin: pip install 'handgrad[ahead-gpu]'"
    return None


def topology(target: Target) -> Any:
    """The devices of a target, to compile for and not to run on.

    Args:
      target: of `parse_target`.

    Returns:
      What `jax.experimental.topologies.make_mesh` takes.

    Raises:
      TrainingError: where the compiler is not installed, or does not know the target.
    """
    if need := missing(target):
        raise TrainingError(
            f"`target` {target.text} must have its compiler, which is not installed: "
            f"{need}"
        )
    from jax.experimental import topologies

    if target.chip.kind == "cpu":
        return topologies.TopologyDescription(_cpus(target))
    try:
        if target.chip.kind == "tpu":
            return _tpu(target, topologies)
        return topologies.get_topology_desc(
            platform="cuda",
            target_config=(Path(__file__).parent / "chips/h100.txtpb").read_text(
                "utf-8"
            ),
            topology=f"1x1x{target.devices}",
        )
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise TrainingError(
            f"`target` {target.text} must be one that the installed compiler knows: "
            f"{error}"
        ) from error


def compiler_options(target: Target) -> dict[str, Any]:
    """Nothing can be tried out on a GPU that is not here: its kernels are chosen by
    rules."""
    return {"xla_gpu_autotune_level": 0} if target.chip.kind == "gpu" else {}


def _tpu(target: Target, topologies: Any) -> Any:
    os.environ.update(NOT_A_TPU_MACHINE)
    sides = (*target.shape, 1)[:3]
    host = tuple(min(2, side) for side in sides[:2])
    return topologies.get_topology_desc(
        f"{target.text.partition(':')[0]}:{'x'.join(map(str, target.shape))}",
        platform="tpu",
        chips_per_host_bounds=(*host, 1),
    )


def _cpus(target: Target) -> list[Any]:
    devices = jax.devices("cpu")
    if len(devices) < target.devices:
        raise TrainingError(
            f"`target` {target.text} must not have more devices than JAX sees, which "
            f"is {len(devices)}. Set XLA_FLAGS="
            f"--xla_force_host_platform_device_count={target.devices}."
        )
    return devices[: target.devices]


def _plugin(name: str) -> bool:
    return find_spec("jax_plugins") is not None and bool(
        find_spec(f"jax_plugins.{name}")
    )
