"""`python -m eva_helpers.predict`."""

import sys

from eva_helpers.predict.cli import main

if __name__ == "__main__":
    sys.exit(main())
