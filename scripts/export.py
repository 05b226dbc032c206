"""Export the model of a run for other programs.

python scripts/export.py runs/digits --format onnx
"""

import sys

from handgrad.training.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
