"""What stops the process when a step of the dataflow fails.

An exception that leaves a step makes Bytewax panic: a stack trace of the runtime for the user, and an abort without the reason when a second
step fails while it cleans up. So a failing step ends the process itself, after one line. Nothing is lost by that: a start after any sudden
end, this one too, resumes at the last epoch whose rows are in the database.
"""

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeVar

from flows.errors import UserError

STDERR: Final = 2
Step = TypeVar("Step", bound=Callable[..., Any])


def guarded(step: Step) -> Step:
    """End the process with the reason and exit code 1 when `step` raises."""

    @functools.wraps(step)
    def guard(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except (StopIteration, KeyboardInterrupt):
            raise
        except UserError as error:
            end(f"pairflow: {error}")
        except Exception:
            end(f"pairflow: a step failed, which should not happen; please report this:\n{traceback.format_exc()}")

    return guard  # type: ignore[return-value]


def end(text: str) -> None:
    """Say why and end the process with exit code 1, at once and without any cleaning up."""
    tell(text)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(1)


def tell(text: str) -> None:
    """A line on standard error, past Python's files: a signal's handler may have interrupted just those, and their locks."""
    with contextlib.suppress(OSError):
        os.write(STDERR, f"{text}\n".encode())
