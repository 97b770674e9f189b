"""What the tests of the readers share: reading a whole file, or the one line that refuses it."""

from pathlib import Path

import pytest

from flows.errors import UserError
from flows.feed.frames import Frames, join
from flows.replay.formats import frames_of, looked, peek

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def read(path: Path, content: bytes | str | None = None, symbols: tuple[str, ...] = SYMBOLS) -> Frames:
    """The trades of a file, which is written first if `content` is given."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = peek(path)
    return join(
        [
            frames
            for frames, _ in frames_of(
                file, {name: code for code, name in enumerate(symbols)}, file.streams[0]
            )
        ],
        len(symbols),
    )


def found_symbols(path: Path) -> list[str]:
    """The symbols that a first look at a file finds."""
    codes: dict[str, int] = {}
    file = peek(path)
    for _ in looked(file, file.streams[0], codes):
        pass
    return sorted(codes)


def refusal(path: Path, content: bytes | str | None = None) -> str:
    """The error line of a file, without its path."""
    with pytest.raises(UserError) as refused:
        read(path, content)
    text = str(refused.value)
    assert "\n" not in text and text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")
