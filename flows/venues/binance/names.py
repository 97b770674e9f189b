"""Symbols in addresses and requests.

A symbol may have letters of any script: Binance takes them as UTF-8, percent-encoded in an address.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

# of names in one address: servers and proxies cut off, or refuse, what is longer than 8,000
ADDRESS_BYTES: Final = 6_000
BETWEEN: Final = 10  # bytes between two names: a slash, or quotes and a comma percent-encoded


def stream_name(symbol: str, stream: str) -> str:
    """`btcusdt@trade`: the names of streams have their symbols in lower case.

    >>> stream_name("测试币USDT", "trade")
    '测试币usdt@trade'
    """
    return f"{symbol.lower()}@{stream}"


def symbols_of(streams: Iterable[str]) -> str:
    """The symbols of these streams, for a message."""
    return ", ".join(stream.partition("@")[0].upper() for stream in streams)


def escaped(streams: Sequence[str]) -> str:
    """The names of streams as they stand in an address.

    >>> escaped(["btcusdt@trade", "币usdt@trade"])
    'btcusdt@trade/%E5%B8%81usdt@trade'
    """
    return "/".join(quote(stream, safe="@") for stream in streams)


def grouped(names: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """The names in groups of at most so many, each short enough for an address."""
    groups: list[tuple[str, ...]] = []
    group: list[str] = []
    size = 0
    for name in names:
        length = len(quote(name, safe="@")) + BETWEEN
        if group and (len(group) == most or size + length > ADDRESS_BYTES):
            groups.append(tuple(group))
            group, size = [], 0
        group.append(name)
        size += length
    return [*groups, tuple(group)] if group else groups
