"""Trades as columns, as a venue or a recording delivers them, and the checks that reject impossible ones.

No sockets and no clock.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from flows.markets import AGG_TRADE, TRADE
from operators.columns import Codes, Flags, Floats, Longs, Sides

STREAMS: Final = (TRADE, AGG_TRADE)

# a time below it counts milliseconds (until the year 5138), one above it microseconds (since 1973)
MICROSECONDS_FROM: Final = 10**14
LATEST_US: Final = 10**17
APART_US: Final = (
    # a trade whose time is further from what it must be near to is none: it would open bars for all the time
    # between
    3_600_000_000
)
LONE_US: Final = 24 * APART_US  # the same at an end, where it may be a pause
NEIGHBOURS: Final = 5  # so many less one wrong times in a row are found
# why a trade is rejected
PRICE, QUANTITY, TIME, MALFORMED = REASONS = "price", "quantity", "time", "malformed"


@dataclass(frozen=True, slots=True)
class Frames:
    """Trades as columns in the order of their frames, and counts of the frames that are none. All arrays but
    `rejected` have shape (n,).
    """

    symbol: Codes  # code of the symbol
    id: Longs  # trade id, or aggregate trade id
    ts: Longs  # trade time, µs since the epoch
    price: Floats
    qty: Floats
    # True: the taker sold; or as int8, with UNKNOWN where a recording does not say it
    is_buyer_maker: Flags | Sides
    count: Longs  # trades in this row: 1, or last - first + 1 of an aggregate trade
    event_ts: Longs  # when the exchange sent it, µs since the epoch (REST and archives: the trade time)
    # (symbols,) trades that cannot be one: malformed, or price or quantity not finite and above 0
    rejected: Longs
    # frames that are no message: half a message, bad JSON, an event without a known symbol
    unreadable: int = 0
    foreign: int = 0  # sound messages that nobody asked for: other symbols, other events
    # events of known symbols that are no trades of the market: insurance fund, deleveraging (X is not MARKET)
    off_market: int = 0
    # serverShutdown, answers to subscriptions, errors
    controls: list[dict[str, Any]] = field(default_factory=list)
    # of `rejected`, all symbols: one of REASONS, or of flows/replay/ids.py
    reasons: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def none(cls, symbols: int) -> "Frames":
        """No frames of a universe of so many symbols."""
        longs = np.empty(0, np.int64)
        floats = np.empty(0)
        return cls(
            np.empty(0, np.int32),
            longs,
            longs,
            floats,
            floats,
            np.empty(0, np.bool_),
            longs,
            longs,
            np.zeros(symbols, np.int64),
        )

    def rows(self, chosen: Any) -> "Frames":
        """The chosen rows (a mask, an index array or a slice) with the same counts."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in COLUMNS})

    def uncounted(self) -> "Frames":
        """The same rows without the counts, which go with other rows."""
        return replace(Frames.none(len(self.rejected)), **{name: getattr(self, name) for name in COLUMNS})


COLUMNS: Final = tuple(f.name for f in fields(Frames))[:8]


def join(parts: Sequence[Frames], symbols: int) -> Frames:
    """The parts one after the other, their counts added."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Frames.none(symbols)
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Frames(
        **columns,
        rejected=np.sum([part.rejected for part in parts], axis=0),
        unreadable=sum(part.unreadable for part in parts),
        foreign=sum(part.foreign for part in parts),
        off_market=sum(part.off_market for part in parts),
        controls=[control for part in parts for control in part.controls],
        reasons=sum((part.reasons for part in parts), Counter()),
    )


def microseconds(times: Longs) -> Longs:
    """Times in milliseconds or microseconds, told apart by their magnitude, as microseconds."""
    return np.where(times < MICROSECONDS_FROM, times * 1000, times)


def sound(
    symbol: Codes,
    symbols: int,
    *,
    id: Longs,
    ts: Longs,
    price: Floats,
    qty: Floats,
    is_buyer_maker: Flags | Sides,
    count: Longs,
    event_ts: Longs,
) -> Frames:
    """Frames of the rows that can be trades, from arrays of shape (n,).

    A code below 0 is foreign; what cannot be a trade is counted in `rejected` with its reason.
    """
    known = symbol >= 0
    faults = {  # the first that applies is the reason
        PRICE: ~(np.isfinite(price) & (price > 0)),
        QUANTITY: ~(np.isfinite(qty) & (qty > 0)),
        TIME: ~((ts > 0) & (ts <= LATEST_US)),
        MALFORMED: ~((count > 0) & (id >= 0)),
    }
    good, reasons = known.copy(), Counter[str]()
    for reason, fault in faults.items():
        if found := int(np.count_nonzero(good & fault)):
            reasons[reason] = found
            good &= ~fault
    if good.all():
        zero = np.zeros(symbols, np.int64)
        return Frames(
            symbol, id, microseconds(ts), price, qty, is_buyer_maker, count, microseconds(event_ts), zero
        )
    return Frames(
        symbol[good],
        id[good],
        microseconds(ts[good]),
        price[good],
        qty[good],
        is_buyer_maker[good],
        count[good],
        microseconds(event_ts[good]),
        rejected=np.bincount(symbol[known & ~good], minlength=symbols).astype(np.int64),
        foreign=int(np.count_nonzero(~known)),
        reasons=reasons,
    )


def plausible(symbol: Codes, ts: Longs, lone_us: int | None = LONE_US) -> Flags:
    """Which times can be those of trades that come one after the other, each symbol's in the order of its
    ids.

    A time is none when it is an hour later than each of the NEIGHBOURS trades after it and than one of those
    before, or earlier than each of those before and than one of those after. Times that never go back all
    pass, whatever the pauses; but the first and the last one may be `lone_us` away from the next (None: any
    time).
    """
    if not len(ts) or int(ts.max()) - int(ts.min()) <= APART_US:
        return np.ones(len(ts), np.bool_)
    order = np.argsort(symbol, kind="stable")
    of, sorted_ts = symbol[order], ts[order]
    none_max, none_min = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    after_max, before_max = np.full(len(ts), none_max), np.full(len(ts), none_max)
    after_min, before_min = np.full(len(ts), none_min), np.full(len(ts), none_min)
    for k in range(1, min(NEIGHBOURS, len(ts) - 1) + 1):
        same = of[k:] == of[:-k]
        np.copyto(after_max[:-k], np.maximum(after_max[:-k], sorted_ts[k:]), where=same)
        np.copyto(after_min[:-k], np.minimum(after_min[:-k], sorted_ts[k:]), where=same)
        np.copyto(before_max[k:], np.maximum(before_max[k:], sorted_ts[:-k]), where=same)
        np.copyto(before_min[k:], np.minimum(before_min[k:], sorted_ts[:-k]), where=same)
    last, first = after_max == none_max, before_min == none_min
    later, earlier = sorted_ts - APART_US, sorted_ts + APART_US
    late = ~last & (later > after_max) & (first | (later > before_min))
    early = ~first & (earlier < before_min) & (last | (earlier < after_max))
    if lone_us is not None:
        late |= last & ~first & (sorted_ts - lone_us > before_max)
        early |= first & ~last & (sorted_ts + lone_us < after_min)
    good = np.empty(len(ts), np.bool_)
    good[order] = ~(late | early)
    return good
