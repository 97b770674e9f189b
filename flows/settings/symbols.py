"""The names of symbols: how people and exchanges write them, and the one form in which Pairflow keeps them."""

import re
import unicodedata
from typing import Final

SHORTEST: Final = 2
LONGEST: Final = 40  # characters; the longest that Binance lists are dated options of about 25

_PLAIN = re.compile(r"[A-Z0-9_]{2,40}")
# one - or / between two letters or digits: BTC/USDT, BTC-USDT
_SEPARATED = re.compile(r"(?<=[^\W_])[-/](?=[^\W_])")


def symbol_name(text: str) -> str | None:
    """The symbol that `text` names, in upper case, or None where it names none.

    A symbol is 2 to 40 letters and digits of any script and `_`, at least one of them a letter. A `-` or `/`
    between two parts is how other exchanges and libraries write the same market, and is left out; `_` belongs
    to the name (dated and perpetual contracts).

    >>> [symbol_name(text) for text in ("btcusdt", "BTC/USDT", "btc-usdt", "BTCUSDT_250328", "测试币usdt")]
    ['BTCUSDT', 'BTCUSDT', 'BTCUSDT', 'BTCUSDT_250328', '测试币USDT']
    >>> [symbol_name(text) for text in ("", "B", "BTC USDT", "BTC/USDT:USDT", "-BTC", "2024", "x' OR 1=1--")]
    [None, None, None, None, None, None, None]
    """
    name = text.strip()
    if not _PLAIN.fullmatch(name):
        name = _SEPARATED.sub("", name)
        # one spelling of É, whoever wrote it
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).upper())
    if not SHORTEST <= len(name) <= LONGEST or not any(map(str.isalpha, name)):
        return None
    return name if all(map(_allowed, name)) else None


def _allowed(character: str) -> bool:
    """Letters, the marks that many scripts write their vowels with, decimal digits, and the underscore."""
    return character == "_" or unicodedata.category(character) in (
        "Lu",
        "Ll",
        "Lt",
        "Lm",
        "Lo",
        "Mn",
        "Mc",
        "Nd",
    )
