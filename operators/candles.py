"""Candles, which are the exchange's bars: longer ones from shorter ones, and filling spans without trades."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FIELDS: Final = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "buy_volume")

# `ts` (opening time, µs) and FIELDS, in time order; `trades` and `ts` int64, all else float64
Candles = dict[str, npt.NDArray[Any]]


def resampled(candles: Candles, base: int, us: int, start: int, end: int) -> Candles:
    """Bars of length `us` from candles of length `base`, for those that open within [start, end).

    `us` is a multiple of `base`; times are in µs. The result also has `complete`, which is True throughout.
    """
    candles = without_holes(candles | {"complete": np.ones(len(candles["ts"]), np.bool_)}, base, None)
    chosen = (candles["ts"] >= start) & (candles["ts"] < end)
    candles = {name: column[chosen] for name, column in candles.items()}
    if us == base or not len(candles["ts"]):
        return candles
    opening = candles["ts"] - candles["ts"] % us
    at = np.flatnonzero(np.concatenate(([True], opening[1:] != opening[:-1])))
    traded = candles["trades"] > 0
    high = np.where(traded, candles["high"], -np.inf)
    low = np.where(traded, candles["low"], np.inf)
    position = np.where(traded, np.arange(len(traded)), len(traded))
    # only trades open a bar: a candle without trades repeats the close before
    first = np.minimum.reduceat(position, at)
    some = first < len(traded)
    opens = candles["open"][np.where(some, first, at)]
    sums = {
        name: np.add.reduceat(candles[name], at)
        for name in ("volume", "quote_volume", "trades", "buy_volume")
    }
    return sums | {
        "ts": opening[at],
        "open": opens,
        "high": np.where(some, np.maximum.reduceat(high, at), opens),
        "low": np.where(some, np.minimum.reduceat(low, at), opens),
        "close": candles["close"][np.append(at[1:], len(traded)) - 1],
        "complete": np.ones(len(at), np.bool_),
    }


def merged(told: Candles, stored: Candles) -> Candles:
    """The exchange's bars (`told`), replaced by the database's (`stored`) where both exist; in time order."""
    kept = ~np.isin(told["ts"], stored["ts"])
    joined = {name: np.concatenate([told[name][kept], stored[name]]) for name in stored}
    order = np.argsort(joined["ts"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


def unbroken(bars: Candles, us: int, end: int) -> Candles:
    """The bars of a length in µs that follow each other up to `end`, without those before the last hole."""
    ts = bars["ts"]
    if not len(ts) or ts[-1] + us != end:
        return {name: column[:0] for name, column in bars.items()}
    after = np.flatnonzero(np.diff(ts) != us)
    begin = int(after[-1]) + 1 if len(after) else 0
    return {name: column[begin:] for name, column in bars.items()}


def without_holes(bars: Candles, us: int, end: int | None) -> Candles:
    """The bars, with one for each span from the first to `end` (None: to the last bar).

    A span without a bar had no trades: its volumes are 0 and its prices are the close before.
    """
    if not len(bars["ts"]):
        return bars
    ts = np.arange(bars["ts"][0], bars["ts"][-1] + us if end is None else end, us)
    if len(ts) == len(bars["ts"]):
        return bars
    of = np.searchsorted(bars["ts"], ts, side="right") - 1
    own = bars["ts"][of] == ts
    filled = {name: column[of] for name, column in bars.items()}
    for name in ("open", "high", "low"):
        filled[name] = np.where(own, filled[name], filled["close"])
    for name in ("volume", "quote_volume", "trades", "buy_volume"):
        filled[name] = np.where(own, filled[name], 0).astype(bars[name].dtype)
    filled["complete"] = np.where(own, bars.get("complete", np.ones(len(bars["ts"]), np.bool_))[of], True)
    return filled | {"ts": ts}
