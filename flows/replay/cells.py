"""Converts the cells of a column to numpy, by the same rules for CSV, Parquet, Feather and JSON.

A column is an Arrow array of any type: text, integers, floats, decimals, booleans, timestamps, or
dictionaries of these. A cell that cannot be converted raises `CellError` with its row and value. An empty
price, quantity or time is undefined; its row is rejected and counted later.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.columns import Flags, Floats, Longs

# The magnitude of a time shows its unit: seconds (until the year 5138), or from here on (since 1973)
MILLISECONDS_FROM: Final = 10**11
MICROSECONDS_FROM: Final = 10**14
NANOSECONDS_FROM: Final = 10**17
WHOLE: Final = 2**53  # larger integers are not exact as floats

_NO_NUMBER: Final = pa.array(["", "-", "na", "n/a", "#n/a", "nan", "null", "none", "nat"])
_TRUE: Final = ("true", "t", "1", "1.0", "yes", "y")
_FALSE: Final = ("false", "f", "0", "0.0", "no", "n")
_BUY: Final = ("buy", "b", "buyer", "1", "1.0", "+1")
_SELL: Final = ("sell", "s", "seller", "-1", "-1.0")
_MEANS: Final[Mapping[str, bool]] = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_SELLS: Final[Mapping[str, bool]] = dict.fromkeys(_SELL, True) | dict.fromkeys(_BUY, False)


class CellError(ValueError):
    """A cell that its column's type cannot hold; `row` counts from 0."""

    def __init__(self, row: int, value: object, expected: str) -> None:
        shown = (
            "nothing"
            if value is None or value == ""
            else repr(value if isinstance(value, int | float) else str(value)[:40])
        )
        super().__init__(f"expected {expected}, got {shown}")
        self.row = row


def plain(column: pa.Array) -> pa.Array:
    """The column as one array without a dictionary, with its text trimmed and of one type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _is_text(kind)
    ):
        try:
            return pc.utf8_trim_whitespace(column.cast(pa.string()))
        except pa.ArrowException:
            return _decoded(column)
    return column


def _decoded(column: pa.Array) -> pa.Array:
    for row, value in enumerate(column.to_pylist()):
        try:
            if value is not None:
                value.decode("utf-8")
        except (UnicodeDecodeError, AttributeError):
            raise CellError(row, value, "text in UTF-8") from None
    raise CellError(0, column[0], "text")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _present(column: pa.Array) -> pa.Array:
    """Text, with null for words such as `null` and `n/a`."""
    return pc.if_else(
        pc.is_in(pc.utf8_lower(column), value_set=_NO_NUMBER), pa.scalar(None, pa.string()), column
    )


def _first(column: pa.Array, expected: str, good: Callable[[Any], object]) -> CellError:
    """The error of the first cell for which `good` raises or returns False."""
    for row, value in enumerate(column.to_pylist()):
        if value is None:
            continue
        try:
            fine = good(value) is not False
        except (ValueError, TypeError, OverflowError, pa.ArrowException):
            fine = False
        if not fine:
            return CellError(row, value, expected)
    return CellError(0, column[0].as_py() if len(column) else None, expected)


def _no_nulls(column: pa.Array, expected: str) -> None:
    if column.null_count:
        raise CellError(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))), None, expected)


def whole_numbers(column: pa.Array) -> Longs:
    """Ids: integers from 0; every cell has one."""
    expected = "a whole number from 0"
    column = plain(column)
    if _is_text(column.type):
        column = _present(column)
        _no_nulls(column, expected)
        try:
            whole = column.cast(pa.int64())
        except pa.ArrowException:
            # spreadsheets write 17.0 where a column of integers has an empty cell
            bare = pc.replace_substring_regex(column, r"\.0*$", "")
            try:
                whole = bare.cast(pa.int64())
            except pa.ArrowException:
                raise _first(bare, expected, partial(_cast, pa.int64())) from None
    elif _is_number(column.type):
        _no_nulls(column, expected)
        try:
            whole = column.cast(pa.int64())
        except pa.ArrowException:
            raise _first(column, expected, lambda value: value == int(value) and abs(value) < 2**63) from None
    else:
        raise _first(column, expected, lambda _: False)
    numbers: Longs = whole.to_numpy(zero_copy_only=False)
    if len(numbers) and numbers.min() < 0:
        row = int(np.argmax(numbers < 0))
        raise CellError(row, int(numbers[row]), expected)
    return numbers


def numbers(column: pa.Array) -> Floats:
    """Prices and quantities: the float64 nearest to the text; NaN for an empty cell."""
    expected = "a number such as 0.25"
    column = plain(column)
    if pa.types.is_decimal(column.type):
        # Arrow would multiply by a power of ten, which rounds twice
        column = column.cast(pa.string())
    if _is_text(column.type):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowException:
            bare = pc.replace_substring_regex(_present(column), r"^\+", "")
            try:
                column = bare.cast(pa.float64())
            except pa.ArrowException:
                raise _first(bare, expected, partial(_cast, pa.float64())) from None
    elif not _is_number(column.type):
        raise _first(column, expected, lambda _: False)
    return column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)


def flags(column: pa.Array) -> Flags:
    """True and false in any spelling; every cell has one."""
    column = column if pa.types.is_dictionary(column.type) else plain(column)
    if pa.types.is_boolean(column.type):
        _no_nulls(column, "true or false")
        return column.to_numpy(zero_copy_only=False)
    return _by_word(column, _MEANS, "true or false")


def sells(column: pa.Array) -> Flags:
    """Whether the taker sold: buy and sell, or 1 and -1, in any spelling; every cell has one."""
    return _by_word(column, _SELLS, "buy or sell")


def _by_word(column: pa.Array, meanings: Mapping[str, bool], expected: str) -> Flags:
    indices, values = words(column, expected)
    meant = np.zeros(len(values), np.bool_)
    for code, value in enumerate(values):
        meaning = meanings.get(value.casefold())
        if meaning is None and (indices == code).any():
            raise CellError(int(np.argmax(indices == code)), value, expected)
        meant[code] = bool(meaning)
    return meant[indices]


def words(column: pa.Array, expected: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A column of few distinct words: the code of each row, and the trimmed words by code."""
    if isinstance(column, pa.ChunkedArray):
        column = plain(column)
    if not pa.types.is_dictionary(column.type):
        column = plain(column)
        if pa.types.is_nested(column.type):
            raise _first(column, expected, lambda _: False)
        column = column.dictionary_encode()
    _no_nulls(column, expected)
    values = plain(column.dictionary)
    if not _is_text(values.type):
        values = values.cast(pa.string())
    indices = column.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return indices, [value or "" for value in values.to_pylist()]


def times(column: pa.Array) -> Longs:
    """Times in µs since the epoch; -1 for an empty cell or a time before 1973.

    Numbers are seconds, milliseconds, microseconds or nanoseconds; their magnitude shows which. Floats are
    rounded to the nearest microsecond. Text is a number, or a date and time (ISO 8601; UTC if it names no
    zone). Digits after the microseconds are cut off.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        us = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        found: Longs = us.fill_null(-1).to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(kind):
        found = _of_whole(column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False))
    elif _is_number(kind):
        found = _of_broken(
            column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
        )
    elif _is_text(kind):
        found = _of_text(_present(column))
    else:
        raise _first(column, "a time", lambda _: False)
    return np.where(found < MICROSECONDS_FROM, -1, found)


def _of_whole(numbers: Longs) -> Longs:
    with np.errstate(over="ignore"):
        seconds = np.where(numbers < MILLISECONDS_FROM, np.maximum(numbers, 0) * 1_000_000, numbers * 1_000)
    return np.where(
        numbers < MICROSECONDS_FROM, seconds, np.where(numbers < NANOSECONDS_FROM, numbers, numbers // 1_000)
    )


def _of_broken(numbers: Floats) -> Longs:
    numbers = np.where(np.isfinite(numbers) & (numbers > 0) & (numbers < 2.0**63), numbers, -1.0)
    scale = np.where(numbers < MILLISECONDS_FROM, 1e6, np.where(numbers < MICROSECONDS_FROM, 1e3, 1.0))
    return np.where(numbers < NANOSECONDS_FROM, np.rint(numbers * scale), np.floor(numbers / 1e3)).astype(
        np.int64
    )


_NUMBER: Final = r"^[0-9]+(\.[0-9]*)?([eE]\+?[0-9]+)?$"
_ZONE: Final = r":[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def _of_text(column: pa.Array) -> Longs:
    try:
        return _of_whole(column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False))
    except pa.ArrowException:
        pass
    found = np.full(len(column), -1, np.int64)
    null = column.is_null().to_numpy(zero_copy_only=False)
    whole, number = (_matching(column, pattern) for pattern in (r"^[0-9]{1,19}$", _NUMBER))
    if whole.any():
        found[whole] = _of_digits(column.filter(pa.array(whole)))
    if (broken := number & ~whole).any():
        found[broken] = _of_broken(
            column.filter(pa.array(broken)).cast(pa.float64()).to_numpy(zero_copy_only=False)
        )
    rest = ~(number | null)
    if rest.any():
        rows = np.flatnonzero(rest)
        try:
            found[rest] = _of_dates(column.filter(pa.array(rest)))
        except CellError as e:
            e.row = int(rows[e.row])
            raise
    return found


def _matching(column: pa.Array, pattern: str) -> Flags:
    return pc.fill_null(pc.match_substring_regex(column, pattern), False).to_numpy(zero_copy_only=False)


def _of_digits(text: pa.Array) -> Longs:
    """Numbers of up to 19 digits, converted as integers: as floats, nanoseconds would not be exact."""
    return _of_whole(text.cast(pa.uint64()).to_numpy(zero_copy_only=False).astype(np.int64))


def _of_dates(text: pa.Array) -> Longs:
    written = text
    for pattern, by in (
        (r"^([0-9]{4})[/.]([0-9]{2})[/.]([0-9]{2})", r"\1-\2-\3"),
        (r"(?i)t", "T"),
        (r"(?i)\s*(Z|UTC|GMT|UTC\+0)$", "Z"),
        (r"\s+([+-][0-9]{2}:?[0-9]{2})$", r"\1"),
        (r",([0-9])", r".\1"),
        (r"(\.[0-9]{6})[0-9]+", r"\1"),
    ):
        text = pc.replace_substring_regex(text, pattern, by)
    zoned = pc.match_substring_regex(text, _ZONE).to_numpy(zero_copy_only=False)
    found = np.empty(len(text), np.int64)
    for chosen, kind in ((zoned, pa.timestamp("us", "UTC")), (~zoned, pa.timestamp("us"))):
        part = text.filter(pa.array(chosen))
        try:
            us = part.cast(kind)
        except pa.ArrowException:
            row = int(np.flatnonzero(chosen)[_first(part, "", partial(_cast, kind)).row])
            raise CellError(
                row, written[row].as_py(), "a time such as 2024-08-09T00:00:00.5Z or 1723161600500"
            ) from None
        found[chosen] = us.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _cast(kind: pa.DataType, value: object) -> pa.Scalar:
    return pa.scalar(value).cast(kind)
