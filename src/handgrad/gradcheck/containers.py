"""Where two pytrees of the same leaves differ in their containers."""

from typing import Any


def same_path(path: Any) -> tuple[str, ...]:
    """A path of keys, whether they are those of a dict, a sequence or attributes."""
    return tuple(str(_key(part)) for part in path)


def _key(part: Any) -> Any:
    names = ("key", "idx", "name")
    return next((getattr(part, n) for n in names if hasattr(part, n)), part)


def alike(expected: Any, given: Any) -> bool:
    """Whether two treedefs hold the same leaves in the same order, whatever in.

    What has names on both sides, and is a dict on one, must have the same.
    """
    if expected.node_data() is None or given.node_data() is None:
        return expected == given
    named = [_names(tree) for tree in (expected, given)]
    is_dict = dict in (expected.node_data()[0], given.node_data()[0])
    if is_dict and named[0] != named[1]:
        return False
    left, right = expected.children(), given.children()
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(alike(*pair) for pair in pairs)


def _names(tree: Any) -> list[Any] | None:
    """The keys of a dict, or the fields of a named tuple."""
    kind, extra = tree.node_data()
    if issubclass(kind, dict):
        return list(extra)
    return list(getattr(kind, "_fields", ())) or None


def first_difference(expected: Any, given: Any, where: str = "") -> str:
    """A phrase on the first node in which two treedefs differ.

    Args:
      expected: the treedef that must be.
      given: the one that is.
      where: the path so far.
    """
    must, found = _kind(expected), _kind(given)
    at = f"at {where}" if where else "at the top"
    if must != found:
        return f"{at} a {must} must stand, got a {found}"
    pairs = zip(expected.children(), given.children(), strict=False)
    for i, (left, right) in enumerate(pairs):
        if left != right:
            return first_difference(left, right, where + _name(expected, i))
    return f"{at} the {must}s differ in what is not an array"


def _kind(tree: Any) -> str:
    data = tree.node_data()
    if data is not None:
        return data[0].__name__
    return "leaf" if tree.num_leaves else "None"


def _name(tree: Any, i: int) -> str:
    """How the i-th child of a node is reached."""
    kind, extra = tree.node_data()
    if kind is dict:
        return f"[{extra[i]!r}]"
    fields = getattr(kind, "_fields", None)
    return f".{fields[i]}" if fields else f"[{i}]"
