"""What a check hands out cannot be changed by who reads it."""

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

from handgrad import gradcheck

MODULES = [
    importlib.import_module(f"handgrad.gradcheck.{found.name}")
    for found in pkgutil.iter_modules(gradcheck.__path__)
]
RECORDS = [
    record
    for module in MODULES
    for _, record in inspect.getmembers(module, inspect.isclass)
    if dataclasses.is_dataclass(record) and record.__module__ == module.__name__
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_record_is_frozen(record: type) -> None:
    empty = object.__new__(record)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(empty, dataclasses.fields(record)[0].name, None)
