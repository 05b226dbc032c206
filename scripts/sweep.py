"""Train many networks at once.

python scripts/sweep.py configs/digits.toml --sweep.seeds 5
python scripts/sweep.py configs/digits.toml \\
    --sweep.values.optimizer.learning_rate "[1e-3, 1e-2]"
"""

import sys

from handgrad.training.commands.train import sweep as main

if __name__ == "__main__":
    sys.exit(main())
