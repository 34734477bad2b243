"""`python -m eva_helpers.training` trains, alone or under `torchrun` and `accelerate launch`."""

import sys

from eva_helpers.training.command import main

if __name__ == "__main__":
    sys.exit(main())
