"""Predict the samples of a file with the model of a run.

python scripts/predict.py runs/digits samples.csv --out predictions.csv
"""

import sys

from handgrad.training.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
