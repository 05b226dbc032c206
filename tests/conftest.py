"""What all tests share: programs that compile quickly, four devices, and the examples
of hypothesis."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jax
import pytest
from hypothesis import settings

OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
"""With these XLA compiles sooner for a CPU; later versions lack them."""

settings.register_profile("handgrad", derandomize=True, deadline=None, max_examples=20)
settings.load_profile("handgrad")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "of the cases of each test, run the first and every Nth after it"
    parser.addoption("--every", type=int, default=1, metavar="N", help=text)
    text = "compile programs as users do, not in the quickest way"
    parser.addoption("--optimized", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is compiled, and for the processes that tests start too."""
    flags = os.environ.get("XLA_FLAGS", "")
    if jax.__version_info__ < (0, 11) and not config.getoption("optimized"):
        os.environ["XLA_FLAGS"] = f"{flags} {OLDER_EMITTERS}"
    if "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", 4)  # for the tests of meshes
    if jax.default_backend() != "cpu":  # whose products of float32 are those of float32
        jax.config.update("jax_default_matmul_precision", "highest")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    every, counts = config.getoption("every"), defaultdict[str, Any](itertools.count)
    kept, left_out = [], []
    for item in items:
        case = next(counts[item.nodeid.split("[")[0]])
        (left_out if case % every else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """A module's programs leave the memory with it: on disk they stay, and thousands
    of them slow the rest down."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def compiled_quickly(pytestconfig: pytest.Config) -> Iterator[None]:
    """Without most of XLA's optimisations: for tests that run most programs once, and
    are about no rounding. Processes that they start compile likewise."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    with pytest.MonkeyPatch.context() as patch:
        if not pytestconfig.getoption("optimized"):
            jax.config.update(name, True)
            patch.setenv(name.upper(), "1")
        yield
    jax.config.update(name, before)


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Workers share what they compile: the time of most tests goes into compiling
    small operations that another worker has compiled already. Processes that a test
    starts share it too, and leave the user's own cache alone."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "compiled"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
