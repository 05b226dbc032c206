"""Evaluate the model of a run, on its test samples or on a file.

python scripts/evaluate.py runs/digits samples.csv --label digit
"""

import sys

from handgrad.training.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
