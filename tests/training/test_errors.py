"""The hint after a misspelt name."""

from handgrad.training.errors import nearest


def test_the_closest_name_is_suggested() -> None:
    hint = nearest("adm", ["sgd", "adam", "lion"])
    assert hint == "Did you mean 'adam'?"


def test_without_a_close_name_all_are_listed() -> None:
    assert nearest("zzz", ["sgd", "adam"]) == "Valid are 'adam', 'sgd'."
    assert nearest("zzz", []) == "Valid are none."
