"""Converts the command's arguments to numbers, ports, directories and times; refuses others with one line."""

import argparse
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

MOST: Final = 1e6  # the largest number on the command line: 11 days in seconds


def positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) <= MOST:
            return value
    raise argparse.ArgumentTypeError(f"expected a number above 0 and up to {MOST:,.0f}, got {text!r}")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def directory(text: str) -> Path:
    if not text:  # an unset shell variable: without this the current directory would become a database
        raise argparse.ArgumentTypeError("expected a directory, got ''")
    return Path(text)


def when(text: str) -> int:
    """A time in µs since the epoch; UTC if it names no zone."""
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2024-08-09T00:05:00Z, got {text!r}"
        ) from None
    return round((time_ if time_.tzinfo else time_.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def seconds_or_time(text: str) -> int:
    """A time in µs since the epoch, or a number of seconds in µs."""
    try:
        seconds = float(text)
    except ValueError:
        return when(text)
    if not abs(seconds) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a time, or up to {MOST:,.0f} seconds, got {text!r}")
    return round(seconds * 1_000_000)
