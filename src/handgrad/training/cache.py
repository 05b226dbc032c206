"""The compilation cache: what XLA has compiled once is read from the disk."""

import os
from pathlib import Path

import jax

OFF = "off"


def use_compilation_cache(folder: str | None) -> None:
    """Keep every compiled program in a folder; by default in the user's cache.

    JAX's own setting (JAX_COMPILATION_CACHE_DIR) comes first where nothing is given.

    Args:
      folder: where to; "off" for nowhere.
    """
    if folder == OFF:
        jax.config.update("jax_compilation_cache_dir", None)
        return
    if folder is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder or default_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def default_folder() -> Path:
    """~/.cache/handgrad, or where XDG_CACHE_HOME says."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "handgrad"
