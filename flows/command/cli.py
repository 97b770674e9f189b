"""The `pairflow` command."""

import io
import logging
import sys
from collections.abc import Sequence

from flows.command.parser import check, parser
from flows.errors import UserError
from flows.runtime.interrupts import interruptible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, or 1 after one line that says what is wrong.

    An interruption is not an error, except for `check`, which has then not passed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # escape characters that the locale lacks, such as · and ü, as standard error does
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    with interruptible():
        try:
            code: int = options.verb(options)
        except UserError as error:
            print(f"pairflow: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:
            sys.stderr.close()
            return 1
        except KeyboardInterrupt:
            print("pairflow: interrupted; nothing is left half-written", file=sys.stderr)
            return 1 if options.verb is check else 0
        return code
