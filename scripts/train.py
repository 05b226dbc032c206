"""Train on a data set: the main job.

python scripts/train.py configs/digits.toml --optimizer.learning-rate 3e-3
python scripts/train.py configs/digits.toml --seeds 5
python scripts/train.py configs/digits.toml --help
"""

import sys

from handgrad.training.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
