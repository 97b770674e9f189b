"""Ends the process when a step of the dataflow fails.

An exception that leaves a step makes Bytewax panic: the user gets a stack trace of the runtime, and an abort
without a reason if a second step fails while Bytewax cleans up. So a failing step prints one line and ends
the process itself. Nothing is lost by that: as after any sudden end, the next start resumes at the last epoch
whose rows are in the database.
"""

import contextlib
import faulthandler
import functools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from flows.errors import UserError

STDERR: Final = 2
HELD_BYTES: Final = 1 << 20
MARK: Final = b"\0held\0"  # once this has been read, everything that was printed before it has been, too
MARK_S: Final = 2.0
_outputs: Final = [STDERR]  # file descriptors; `tell` writes to the last one
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
            end(
                "pairflow: a step failed, which should not happen; please report "
                f"this:\n{traceback.format_exc()}"
            )

    return guard  # type: ignore[return-value]


def end(text: str) -> None:
    """Print the reason and end the process with exit code 1, at once and without cleaning up."""
    tell(text)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(1)


def tell(text: str) -> None:
    """Write a line to standard error without Python's file objects.

    A signal's handler may call this while it interrupts code that holds the locks of these objects.
    """
    with contextlib.suppress(OSError):
        os.write(_outputs[-1], f"{text}\n".encode(errors="backslashreplace"))


@contextlib.contextmanager
def held_stderr() -> Iterator[Callable[[], str]]:
    """Hold back what native code prints to standard error, such as the stack trace of a panic.

    Lines that Python prints still appear at once. Yields a function that returns what is held. That is
    printed at the end, unless a UserError ends the block, which then says enough.
    """
    python = sys.stderr
    reading, writing = os.pipe()  # not a file: the failure may be a full disk
    held, caught_up = bytearray(), threading.Event()

    def read() -> None:
        while chunk := os.read(reading, HELD_BYTES):
            if len(held) < HELD_BYTES:
                held.extend(chunk)
            if chunk.endswith(MARK):
                caught_up.set()

    reader = threading.Thread(target=read, name="stderr", daemon=True)
    reader.start()
    with os.fdopen(os.dup(STDERR), "w", buffering=1, errors="backslashreplace") as stderr:

        def words() -> str:
            caught_up.clear()
            os.write(writing, MARK)
            caught_up.wait(MARK_S)
            return held.replace(MARK, b"").decode(errors="replace").rstrip()

        ours = python is not None and _is_stderr(python)
        _outputs.append(stderr.fileno())
        if ours:
            _send(python, stderr)
        watched = not faulthandler.is_enabled()
        if watched:
            faulthandler.enable(stderr)  # if the process aborts, this prints at least where
        os.dup2(writing, STDERR)
        tellable = True
        try:
            yield words
        except UserError:
            tellable = False
            raise
        finally:
            os.dup2(stderr.fileno(), STDERR)
            if watched:
                faulthandler.disable()
            if ours:
                _send(stderr, python)
            _outputs.pop()
            if tellable and (text := words()):
                tell(text)
            os.close(writing)
            reader.join(MARK_S)
            if not reader.is_alive():
                os.close(reading)


def _is_stderr(file: Any) -> bool:
    try:
        return bool(file.fileno() == STDERR)
    except (OSError, ValueError, AttributeError):
        return False  # pytest's capture


def _send(before: Any, after: Any) -> None:
    """Redirect sys.stderr and the logging handlers from one file to another."""
    before.flush()
    sys.stderr = after
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is before:
            handler.setStream(after)
