"""A file of scripts/ as a module, for its tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).parents[1] / "scripts"
PREFIX = "script:"


def load_script(name: str) -> ModuleType:
    """Load ``scripts/NAME.py``, as if its folder were the one that Python started in.

    What it imports from beside it is loaded anew, since scripts of another folder may
    have had another file of that name.
    """
    for other, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if Path(file).is_relative_to(SCRIPTS) and not other.startswith(PREFIX):
            del sys.modules[other]
    path = SCRIPTS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(PREFIX + name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
