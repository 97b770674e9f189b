"""`python -m flows.cli`: the command under its former name, which scripts and systemd units may use."""

import sys

from flows.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
