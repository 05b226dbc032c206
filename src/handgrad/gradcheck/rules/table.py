"""What `check_rules` returns: one `Row` for each thing that a rule must do."""

import textwrap
from dataclasses import asdict, dataclass
from typing import Any, Literal

from handgrad.gradcheck.report.report import Report

Verdict = Literal["right", "wrong", "untested", "not offered"]

WIDTH = 100


@dataclass(frozen=True)
class Row:
    """The finding on one thing that a rule must do.

    Attributes:
      name: what was looked at, such as ``vjp`` or ``vmap``.
      verdict: "right" within rounding; "wrong"; "untested" if nothing could be compared
        or a zero would have passed too; "not offered" if the function has no such rule.
      cause: a code, or None where nothing is wrong: one of
        `handgrad.gradcheck.causes.claims.CAUSES`, or ``raises``, ``impure``,
        ``changed``, ``type``, ``not its derivative``.
      explanation: what is wrong or missing, with the numbers behind it.
      report: the comparison with float64 behind it, where there is one.
    """

    name: str
    verdict: Verdict
    cause: str | None = None
    explanation: str = ""
    report: Report | None = None

    @property
    def ok(self) -> bool | None:
        """True if right, False if wrong, None if nothing could be said."""
        return {"right": True, "wrong": False}.get(self.verdict)


@dataclass(frozen=True)
class Rules:
    """Everything that was found about the rules of a function; `print` it.

    Attributes:
      function: its name.
      rows: the findings, in the order in which they were looked for.
      reference: what the function was compared with, in words.
      notes: what a reader should know that is no fault.
      call: the call that shows the same again.
    """

    function: str
    rows: tuple[Row, ...]
    reference: str
    notes: tuple[str, ...] = ()
    call: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and a derivative was tested, or something where
        the rows that were asked for have none."""
        verdicts = {row.name: row.verdict for row in self.rows}
        first = [verdicts[name] for name in ("vjp", "jvp") if name in verdicts]
        tested = "right" in (first or verdicts.values())
        return tested and "wrong" not in verdicts.values()

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The rows that are wrong."""
        return tuple(row for row in self.rows if row.verdict == "wrong")

    def __getitem__(self, name: str) -> Row:
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        return table(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, as JSON takes them."""
        rows = [asdict(row) | {"ok": row.ok} for row in self.rows]
        for row in rows:
            del row["report"]
        return {"ok": self.ok, "function": self.function, "rows": rows}


def table(rules: Rules) -> str:
    """The rows, in `WIDTH` characters a line, then what is wrong or missing."""
    width = max([len("rule"), *(len(row.name) for row in rules.rows)])
    lines = [headline(rules), "", f"{'rule':{width}}  {'verdict':11}  cause"]
    lines.append("-" * WIDTH)
    for row in rules.rows:
        line = f"{row.name:{width}}  {row.verdict:11}  {row.cause or ''}"
        lines.append(line.rstrip())
    texts = [f"{row.name}: {row.explanation}" for row in rules.rows if row.explanation]
    texts += [f"note: {note}" for note in rules.notes]
    texts.append(f"reference: {rules.reference}.")
    lines.append("")
    for text in texts:
        lines += textwrap.wrap(
            text, WIDTH, subsequent_indent="    ", break_on_hyphens=False
        )
    return "\n".join(lines)


def headline(rules: Rules) -> str:
    """One line: right or wrong, and how many rows."""
    order = ("right", "wrong", "untested", "not offered")
    counts = {v: sum(row.verdict == v for row in rules.rows) for v in order}
    listed = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
    return f"rules of {rules.function} {'ok' if rules.ok else 'NOT ok'}: {listed}"
