"""`python -m flows.command` is the `pairflow` command."""

import sys

from flows.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
