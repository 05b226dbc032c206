"""The examples in docstrings give what they show."""

import doctest
import importlib
import pkgutil

import pytest

import handgrad

NAMES = [
    module.name
    for module in pkgutil.walk_packages(handgrad.__path__, "handgrad.")
    if not module.ispkg
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_some_examples_exist() -> None:
    modules = (importlib.import_module(name) for name in NAMES[:40])
    finder = doctest.DocTestFinder()
    assert sum(len(case.examples) for m in modules for case in finder.find(m)) > 10
