"""`python -m flows.command`: what `pairflow` is."""

import sys

from flows.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
