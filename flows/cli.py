"""`python -m flows.cli`: the command by the name that it had before, for scripts and units that start it so."""

import sys

from flows.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
