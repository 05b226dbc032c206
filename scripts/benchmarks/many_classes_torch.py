"""The process with PyTorch of many_classes.py: python many_classes_torch.py M N C

Prints the names of its ways, and for each that it reads a step's growth in MiB.
"""

import sys
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Take a step for every name on the standard input."""
    m, n, classes = map(int, sys.argv[1:4])
    cross_entropy: Any = getattr(torch.nn.functional, "linear_cross_entropy", None)
    if cross_entropy is None:
        print(flush=True)
        return
    options: Any = {"torch": None, "torch chunk": torch.nn.LinearCrossEntropyOptions()}
    torch.manual_seed(0)
    below, last = torch.nn.Linear(n, n), torch.nn.Linear(n, classes)
    leaves = [*below.parameters(), *last.parameters()]
    x, labels = torch.randn(m, n), torch.randint(classes, (m,))

    def step(way: str) -> None:
        for leaf in leaves:
            leaf.grad = None
        value = cross_entropy(
            torch.relu(below(x)),
            last.weight,
            labels,
            linear_bias=last.bias,
            options=options[way],
        )
        value.backward()

    print(",".join(options), flush=True)
    own = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
    for line in sys.stdin:
        for leaf in leaves:
            leaf.grad = None
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        step(line.strip())
        print((resident("VmHWM") - before - own) / 2**20, flush=True)


def resident(name: str) -> int:
    """Bytes of this process, now or at most."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    found = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(found.split()[1])


if __name__ == "__main__":
    main()
