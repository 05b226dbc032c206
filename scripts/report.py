"""Write one HTML page from the records of one run or many.

python scripts/report.py runs/digits runs/digits-2 --out report.html
"""

import sys

from handgrad.training.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
