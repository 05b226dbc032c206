"""From a candidate and a bench to the evidence, leaf by leaf."""

from handgrad.gradcheck.bench import Bench
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.structure import Aligned
from handgrad.gradcheck.trees import dtype_of, to_numpy


def measure(question: Question, aligned: Aligned, bench: Bench) -> dict[str, Evidence]:
    """The evidence on every floating leaf that came with values, by path, in order."""
    split, found = question.split, {}
    for k, i in enumerate(split.floating):
        path = split.paths[i]
        if path in aligned.values:
            found[path] = Evidence(
                path=path,
                parameter=to_numpy(split.leaves[i]),
                candidate=aligned.values[path],
                truth=bench.truth.gradient[k],
                floor=bench.floors[k],
                dtype=dtype_of(split.leaves[i]),
            )
    return found
