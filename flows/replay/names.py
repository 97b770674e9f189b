"""The names that columns of trades may have, and the symbol in the name of a file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flows.errors import UserError
from flows.settings.symbols import symbol_name

_TIMES: Final = (
    "ts",
    "time",
    "timestamp",
    "trade_time",
    "transact_time",
    "exchange_time",
    "exchange_timestamp",
    "created_time",
    "datetime",
    "date",
)
_UNITS: Final = ("", "_s", "_ms", "_us", "_ns", "_utc")

# Pairflow's columns, with the names that people, exchanges and libraries give them. If a table has several of
# these, the first one counts. Case, blanks and punctuation do not matter (`tradeId`, `Trade ID` and
# `trade_id` are the same), except in names of one letter: `t` is an id and `T` a time.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("trade_id", "id", "agg_trade_id", "aggregate_trade_id", "tid", "trade_no", "a", "t"),
    "time": (*(name + unit for name in _TIMES for unit in _UNITS), "T", "E"),
    "symbol": (
        "symbol",
        "pair",
        "currency_pair",
        "market",
        "instrument",
        "inst_id",
        "product_id",
        "ticker",
        "s",
    ),
    "price": ("price", "trade_price", "px", "p"),
    "qty": (
        "qty",
        "quantity",
        "q",
        "amount",
        "size",
        "volume",
        "vol",
        "base_qty",
        "base_volume",
        "trade_size",
        "sz",
        "v",
    ),
    "is_buyer_maker": (
        "is_buyer_maker",
        "buyer_maker",
        "buyer_is_maker",
        "is_buyer_the_maker",
        "is_maker_buyer",
        "m",
    ),
    "side": ("side", "taker_side", "aggressor_side", "aggressor", "taker", "direction", "type", "S"),
    "first": ("first_trade_id", "first_id", "first", "f"),
    "last": ("last_trade_id", "last_id", "last", "l"),
}
MEANINGS: Final[Mapping[str, str]] = {
    "id": "the trade's id",
    "time": "the time",
    "symbol": "the symbol",
    "price": "the price",
    "qty": "the quantity",
    "is_buyer_maker": "whether the buyer was the maker",
    "side": "the taker's side",
    "first": "the first id of an aggregate trade",
    "last": "the last id of an aggregate trade",
}
# Exchanges use these for the quantity in the base currency, and some for the turnover. If a table has two of
# them, it is not known which is which.
_EITHER: Final = ("amount", "size", "volume", "vol", "sz", "v")

SHORTEST_ALONE: Final = 5  # the fewest characters of a symbol that is the whole name of a file
QUOTES: Final = (
    "USDT",
    "USDC",
    "FDUSD",
    "TUSD",
    "BUSD",
    "USD",
    "BTC",
    "ETH",
    "BNB",
    "EUR",
    "GBP",
    "TRY",
    "JPY",
    "BRL",
    "DAI",
)
_SUFFIXES: Final = (
    r"(?:\.(?:csv|tsv|txt|log|dat|json|jsonl|ndjson|parquet|pq|feather|arrow|ipc|"
    r"gz|gzip|bz2|xz|lzma|zst|zstd|lz4|zip))+$"
)
_KIND: Final = r"(?:agg_?trades?|trades?)"
_KIND_BEHIND = re.compile(rf"^(.+?)[-_. ]{_KIND}(?![^\W\d_])", re.IGNORECASE)
_DATE_BEHIND = re.compile(r"^(.+?)[-_. ](?:(?:19|20)\d\d-\d\d|(?:19|20)\d\d[01]\d(?:[0-3]\d)?(?!\d))")
_PART_BEHIND = re.compile(r"(?:[-_. ]?\(\d+\)|-\d{1,3}|[-_. ]part[-_. ]?\d+)$", re.IGNORECASE)


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


_PLAIN: Final = {
    ours: tuple(_plain(name) if len(name) > 1 else name for name in names) for ours, names in NAMES.items()
}


def known_columns(columns: Sequence[str]) -> dict[str, str]:
    """The columns of a trade that a table has: Pairflow's names to the table's."""
    spelled = {(_plain(column) if len(column) > 1 else column): column for column in reversed(columns)}
    names = {
        ours: next((spelled[name] for name in known if name in spelled), "") for ours, known in _PLAIN.items()
    }
    if names["is_buyer_maker"]:
        names["side"] = ""  # one of the two is enough
    if not (names["first"] and names["last"]):
        # an aggregate trade has both; one alone means something else
        names["first"] = names["last"] = ""
    return {ours: theirs for ours, theirs in names.items() if theirs}


def with_sides(names: Mapping[str, str]) -> bool:
    """Whether a table with these columns says who took a trade."""
    return "is_buyer_maker" in names or "side" in names


def columns_of(where: str, columns: Sequence[str], called: str = "column") -> dict[str, str]:
    """As `known_columns`, of a table that must hold trades. Refuses missing and ambiguous columns by name."""
    names = known_columns(columns)
    shown = ", ".join(column[:40] for column in columns[:12]) + (", …" if len(columns) > 12 else "")
    for ours in ("time", "price", "qty"):
        if ours not in names:
            raise UserError(
                f"{where}: no {called} for {MEANINGS[ours]} among {shown}: name it {_offered(ours)}"
            )
    for theirs in names.values():
        if list(columns).count(theirs) > 1:
            raise UserError(f"{where}: more than one {called} has the name {theirs[:40]}: keep one of them")
    either = [column for column in columns if _plain(column) in _EITHER or column in _EITHER]
    if names["qty"] in either and len(either) > 1:
        raise UserError(
            f"{where}: {' and '.join(either[:3])} may each be the quantity: rename the one in the "
            "base currency to qty"
        )
    return names


def _offered(ours: str) -> str:
    names = _TIMES[:4] if ours == "time" else NAMES[ours][:6]
    return f"{names[0]} (or {', '.join(names[1:])})"


def symbol_of_file(name: str) -> str | None:
    """The symbol in the name of a file, such as `BTCUSDT-trades-2024-08-09.zip`, or None.

    The symbol is everything before `trades`, `aggTrades` or a date, else the whole name; if that is not a
    symbol, there is none. A whole name must be in capitals or end in a known currency: `mine.csv` names no
    symbol.

    >>> [symbol_of_file(name) for name in ("BTCUSDT_250328-trades-2025-01-01.csv", "BTC-USDT.csv.gz")]
    ['BTCUSDT_250328', 'BTCUSDT']
    >>> [symbol_of_file(name) for name in ("btcusdt (1).csv", "BTCUSDT-1.csv", "btc-usdt_2024-08.json.gz")]
    ['BTCUSDT', 'BTCUSDT', 'BTCUSDT']
    >>> [symbol_of_file(name) for name in ("mine.csv", "BTCUSDT.P-trades-1.csv", "my BTCUSDT.csv")]
    [None, None, None]
    """
    stem = re.sub(_SUFFIXES, "", name, flags=re.IGNORECASE)
    behind = _KIND_BEHIND.match(stem) or _DATE_BEHIND.match(stem)
    named = behind[1] if behind else _PART_BEHIND.sub("", stem)
    symbol = symbol_name(named)
    if symbol is None or re.fullmatch(_KIND, named, re.IGNORECASE):
        return None
    capitals = named == named.upper() and named != named.lower()
    certain = behind or (len(symbol) >= SHORTEST_ALONE and (capitals or symbol.endswith(QUOTES)))
    return symbol if certain else None


def symbol_of(path: Path, aggregate: bool) -> str:
    """The symbol of a recording without a symbol column, from the name of its file."""
    symbol = symbol_of_file(path.name)
    if symbol is None:
        kind = "aggTrades" if aggregate else "trades"
        raise UserError(
            f"{path}: its name does not say the symbol, and no column does: rename it to "
            f"SYMBOL-{kind}-DATE{path.suffix}"
        )
    return symbol
