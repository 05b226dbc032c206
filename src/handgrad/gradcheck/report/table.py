"""Results as text: a table of the leaves, then what is wrong, in 100 columns."""

import textwrap
from typing import get_args

from handgrad.gradcheck.report.results import Leaf, Results, Verdict

WIDTH = 100
_NUMBERS = f"{'error':>7}  {'floor':>7}  {'scale':>9}  {'cosine':>7}"


def table(results: Results) -> str:
    """Results as lines of at most `WIDTH` characters."""
    causes = [leaf.cause or "" for leaf in results.leaves]
    verdicts = [len(leaf.verdict) for leaf in results.leaves if leaf.ok is not None]
    wide = max([len("untested"), *verdicts])
    room = WIDTH - wide - len(_NUMBERS) - 6 - max([len("cause"), *map(len, causes)])
    paths = [len(leaf.path) for leaf in results.leaves]
    width = min(room, max([len("leaf"), *paths]))
    head = f"{'leaf':{width}}  {'verdict':{wide}}  {_NUMBERS}  cause"
    lines = [headline(results), "", head, "-" * WIDTH]
    lines += [_row(leaf, width, wide) for leaf in results.leaves]
    texts = [f"fault: {fault}" for fault in results.faults]
    texts += [f"{', '.join(paths)}: {text}" for text, paths in _sentences(results)]
    texts += [f"note: {note}" for note in results.notes]
    if texts:
        lines.append("")
    for text in texts:
        lines += wrap(text)
    return "\n".join(lines)


def _sentences(results: Results) -> list[tuple[str, list[str]]]:
    """Each explanation once, with the leaves that it is for."""
    paths: dict[str, list[str]] = {}
    for leaf in results.leaves:
        if leaf.explanation:
            paths.setdefault(leaf.explanation, []).append(leaf.path)
    return list(paths.items())


def headline(results: Results) -> str:
    """One line: right or wrong, and how many leaves."""
    counts = {
        verdict: sum(leaf.verdict == verdict for leaf in results.leaves)
        for verdict in get_args(Verdict)
    }
    listed = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
    return f"gradient {'ok' if results.ok else 'NOT ok'}: {listed or 'no leaves'}"


def wrap(text: str) -> list[str]:
    """Lines of at most `WIDTH`, the second and later ones indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def shorten(path: str, width: int) -> str:
    """A path cut in its middle to ``width`` characters, both ends kept."""
    if len(path) <= width:
        return path
    keep = (width - 3) // 2
    return path[: width - 3 - keep] + "..." + path[-keep:]


def _row(leaf: Leaf, width: int, wide: int) -> str:
    path = f"{shorten(leaf.path, width):{width}}"
    if leaf.verdict == "not differentiable":  # mutants: the first in the alphabet
        return f"{path}  no gradient"
    cells = (
        f"{leaf.verdict:{wide}}  {number(leaf.relative_error):>7}"
        f"  {number(leaf.floor):>7}"
        f"  {_scale(leaf.scale):>9}  {_cosine(leaf.cosine):>7}  {leaf.cause or ''}"
    )
    return f"{path}  {cells}".rstrip()


def number(value: float) -> str:
    """Two digits: 3.4e-07; a dash where there is none."""
    return "-" if value != value else f"{value:.1e}"


def _scale(value: float) -> str:
    return "-" if value != value else f"{value:.4g}"


def _cosine(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
