"""Compile a training step for accelerators that are not here.

python scripts/compile_ahead.py configs/digits.toml --target v5e:2x2 h100:1
python scripts/compile_ahead.py configs/mnist.toml --inputs 784 --classes 10 \\
    --target v5e:16x16 --per-device 128 --model 4 --json ahead.json
"""

import sys

from handgrad.scale.command import main

if __name__ == "__main__":
    sys.exit(main())
