"""A simulated market: trades of several symbols that move together, deterministic by seed.

The log price of symbol i is log P_i + β_i·F + S_i: a common factor F (a random walk) and a spread S_i of its
own, the sum of a fast and a slow Ornstein–Uhlenbeck process (half-lives 10 s and 45 s), both with rare shocks
of several σ: so every pair is cointegrated, and its z-score passes ±3 every few minutes. Now and then a
symbol's slow spread loses its reversion for some minutes and wanders off (cointegration breaks), and where it
ends is its new level. Orders come in bursts (their rate follows its own past and a volatile activity), fill
in several trades of one microsecond, and takers' sides persist.
"""

import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from flows.feed.frames import Frames, join
from flows.sandbox import messages
from operators.columns import SECOND_US

DEFAULT_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
BP: Final = 1e-4

FACTOR_VOL: Final = 1.3 * BP  # of the common factor in one second: 73 % a year
FAST_SD: Final = 2.5 * BP
SLOW_SD: Final = 5.0 * BP
FAST_HALF_LIFE_S: Final = 10.0
SLOW_HALF_LIFE_S: Final = 45.0
FAST_SHOCK_EVERY_S: Final = 300.0
SLOW_SHOCK_EVERY_S: Final = 900.0
SHOCK_SD: Final = 7.0  # a shock in standard deviations of its process
BREAK_EVERY_S: Final = 7200.0
BREAK_S: Final = (240, 600)
BREAK_VOL: Final = 1.5 * BP  # a second, of a spread without reversion
ACTIVITY_HALF_LIFE_S: Final = 60.0
ACTIVITY_SD: Final = 0.45
BURST_EVERY_S: Final = 90.0
FILLS: Final = 2.2  # trades of an order, on average
SWEEPS: Final = 0.002  # share of orders that sweep the book
MOST_FILLS: Final = 300
PERSISTENCE: Final = 0.75  # chance that an order takes the same side as the one before
EXCITED: Final = 0.5  # share of the order rate that comes from the orders of the seconds before
MOST_EXCITED: Final = 12.0  # times the mean rate of orders
FIRST_ID: Final = 1_000_000
IDS_PER_SECOND: Final = 1_000  # a market that begins later has greater ids

# price, β, tick, step of the quantity, rate relative to the mean, size of the own spread
KNOWN: Final = {
    "BTCUSDT": (64_000.0, 1.00, 0.01, 1e-5, 1.4, 0.4),
    "ETHUSDT": (3_200.0, 1.20, 0.01, 1e-4, 1.2, 1.0),
    "BNBUSDT": (590.0, 0.90, 0.01, 1e-3, 0.6, 0.7),
    "SOLUSDT": (150.0, 1.40, 0.01, 1e-3, 0.8, 0.9),
    "XRPUSDT": (0.55, 1.10, 1e-4, 1.0, 0.8, 1.1),
    "ADAUSDT": (0.40, 1.20, 1e-4, 0.1, 0.6, 1.1),
    "DOGEUSDT": (0.12, 1.40, 1e-5, 1.0, 0.8, 1.2),
}


@dataclass(slots=True)
class _Symbol:
    """One symbol: what it is like, and its state between seconds."""

    key: int
    price: float
    beta: float
    tick: float
    step: float
    rate: float  # trades a second, on average
    own: float  # size of its spread, relative
    next_id: int
    level: float = 0.0  # where its spread reverts to
    fast: float = 0.0
    slow: float = 0.0
    breaks_for: int = 0  # seconds without reversion that are left
    activity: float = 0.0
    excitement: float = 1.0  # recent orders over their mean
    takers_sell: bool = False
    log_price: float = field(default=math.nan)


class Market:
    """Trades from `start_us` on, whole second by whole second. `rate` is the mean of trades a second and
    symbol.
    """

    def __init__(
        self, seed: int, symbols: Sequence[str] = DEFAULT_SYMBOLS, start_us: int = 0, rate: float = 40.0
    ) -> None:
        if rate <= 0:
            raise ValueError(f"rate: expected more than 0 trades a second, got {rate}")
        self.symbols = tuple(symbols)
        self.next_us = start_us - start_us % SECOND_US  # the second that comes next
        self._seed = seed % 2**63
        self._factor = 0.0
        self._activity = 0.0
        first_id = FIRST_ID + max(0, self.next_us // SECOND_US - 1_600_000_000) * IDS_PER_SECOND
        self._states = [_state(symbol, rate, first_id) for symbol in self.symbols]
        self._ahead: Frames | None = None  # generated, but not asked for yet

    def generate(self, to_us: int) -> Frames:
        """All trades from where the last call ended until before `to_us`, ordered by time, each symbol by id."""
        parts = [self._ahead] if self._ahead is not None else []
        while self.next_us < to_us:
            parts.append(self.second())
        whole = join(parts, len(self.symbols))
        n = int(np.searchsorted(whole.ts, to_us, side="left"))
        self._ahead = whole.rows(slice(n, None)) if n < len(whole) else None
        return whole.rows(slice(0, n))

    def second(self) -> Frames:
        """The trades of the next second, ordered by time, each symbol by id."""
        second = self.next_us // SECOND_US
        common = np.random.default_rng((self._seed, 0, second))
        self._activity = _reverted(
            self._activity, ACTIVITY_SD, ACTIVITY_HALF_LIFE_S, common.standard_normal()
        )
        self._factor += (
            FACTOR_VOL * math.exp(self._activity / 2 - ACTIVITY_SD**2 / 4) * common.standard_normal()
        )
        parts = [self._symbol(code, state, second) for code, state in enumerate(self._states)]
        whole = join(parts, len(parts))
        self.next_us += SECOND_US
        return whole.rows(np.argsort(whole.ts, kind="stable"))

    def _symbol(self, code: int, s: _Symbol, second: int) -> Frames:
        rng = np.random.default_rng((self._seed, s.key, second))
        _move_spread(s, rng)
        before = s.log_price
        s.log_price = math.log(s.price) + s.beta * self._factor + s.own * (s.fast + s.slow) + s.level
        if math.isnan(before):
            before = s.log_price
        n = self._orders(s, rng)
        if not n:
            return Frames.none(len(self.symbols))
        # Orders: half of them follow the one before within milliseconds.
        at = rng.random(n)
        follows = np.flatnonzero(rng.random(n) < 0.5)
        follows = follows[follows > 0]
        at[follows] = np.minimum(at[follows - 1] + rng.exponential(0.003, len(follows)), 0.999_999)
        at.sort()
        bridge = rng.standard_normal(n) * np.sqrt(at * (1 - at)) * 0.5 * FACTOR_VOL
        mid = np.exp(before + (s.log_price - before) * at + bridge)
        sells = np.logical_xor.accumulate(np.concatenate(([s.takers_sell], rng.random(n) > PERSISTENCE)))[1:]
        s.takers_sell = bool(sells[-1])
        fills = rng.geometric(1 / FILLS, n)
        sweeps = rng.random(n) < SWEEPS
        fills = np.where(sweeps, np.minimum(fills * 40, MOST_FILLS), fills)
        # Trades: an order's fills step away from the middle.
        total = int(fills.sum())
        order = np.repeat(np.arange(n), fills)
        steps = (rng.random(total) < 0.3).astype(np.int64)
        starts = np.cumsum(fills) - fills
        depth = np.cumsum(steps) - np.repeat(np.cumsum(steps)[starts], fills)
        side = np.where(sells[order], -1, 1)
        ticks = (
            np.where(sells[order], np.floor(mid[order] / s.tick), np.ceil(mid[order] / s.tick)) + side * depth
        )
        price = np.round(np.maximum(ticks, 1.0) * s.tick, 8)
        median = 150.0 / s.price  # 150 of the quote asset
        qty = np.round(
            np.maximum(np.round(median * rng.lognormal(0.0, 1.5, total) / s.step), 1.0) * s.step, 8
        )
        ts = second * SECOND_US + (at * SECOND_US).astype(np.int64)[order]
        ids = s.next_id + np.arange(total, dtype=np.int64)
        s.next_id += total
        event_ts = ts + 300 + rng.exponential(700.0, n).astype(np.int64)[order]
        return Frames(
            np.full(total, code, np.int32),
            ids,
            ts,
            price,
            qty,
            sells[order],
            np.ones(total, np.int64),
            event_ts,
            np.zeros(len(self.symbols), np.int64),
        )

    def _orders(self, s: _Symbol, rng: np.random.Generator) -> int:
        """How many orders come in this second: more after many, more when the market is active, and now and
        then a burst.
        """
        s.activity = _reverted(s.activity, ACTIVITY_SD, ACTIVITY_HALF_LIFE_S, rng.standard_normal())
        activity = math.exp(self._activity + s.activity - ACTIVITY_SD**2)
        burst = 1 + rng.exponential(5.0) if rng.random() < 1 / BURST_EVERY_S else 1.0
        mean = s.rate / (FILLS * (1 + SWEEPS * 39))
        n = int(
            rng.poisson(
                min(mean * ((1 - EXCITED) * activity * burst + EXCITED * s.excitement), MOST_EXCITED * mean)
            )
        )
        s.excitement = 0.6 * s.excitement + 0.4 * min(n / mean, MOST_EXCITED)
        return n


def _move_spread(s: _Symbol, rng: np.random.Generator) -> None:
    normal = rng.standard_normal(2)
    chance = rng.random(3)
    signs = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    s.fast = _reverted(s.fast, FAST_SD, FAST_HALF_LIFE_S, normal[0])
    if chance[0] < 1 / FAST_SHOCK_EVERY_S:
        s.fast += SHOCK_SD * FAST_SD * signs[0]
    if s.breaks_for:
        s.slow += BREAK_VOL * normal[1]
        s.breaks_for -= 1
        if not s.breaks_for:
            s.level += s.own * s.slow
            s.slow = 0.0
        return
    s.slow = _reverted(s.slow, SLOW_SD, SLOW_HALF_LIFE_S, normal[1])
    if chance[1] < 1 / SLOW_SHOCK_EVERY_S:
        s.slow += SHOCK_SD * SLOW_SD * signs[1]
    if chance[2] < 1 / BREAK_EVERY_S:
        s.breaks_for = int(rng.integers(*BREAK_S))


def _reverted(level: float, sd: float, half_life_s: float, normal: float) -> float:
    """One second of an Ornstein–Uhlenbeck process with that standard deviation and half-life."""
    kept = math.exp2(-1 / half_life_s)
    return level * kept + sd * math.sqrt(1 - kept * kept) * normal


def _state(symbol: str, rate: float, first_id: int) -> _Symbol:
    key = zlib.crc32(symbol.encode()) + 1
    if symbol in KNOWN:
        price, beta, tick, step, activity, own = KNOWN[symbol]
    else:
        rng = np.random.default_rng(key)
        price = round(float(np.exp(rng.uniform(np.log(0.5), np.log(300)))), 2)
        beta, activity, own = float(rng.uniform(0.7, 1.5)), float(rng.uniform(0.5, 1.0)), 1.0
        tick = 10.0 ** (math.floor(math.log10(price)) - 4)
        step = 10.0 ** (math.floor(math.log10(10 / price)))
    return _Symbol(key, price, beta, tick, step, rate * activity, own, first_id)


def record(
    path: Path, seed: int, symbols: Sequence[str], start_us: int, seconds: int, rate: float = 40.0
) -> int:
    """Write a recording (combined `@trade` frames, one per line, gzip) of a simulated market; returns the
    number of trades.
    """
    market = Market(seed, symbols, start_us, rate)
    written = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        for _ in range(seconds):
            trades = market.second()
            lines = np.empty(len(trades), object)
            for code, symbol in enumerate(market.symbols):
                mine = np.flatnonzero(trades.symbol == code)
                lines[mine] = messages.encode_trades(symbol, trades.rows(mine))
            if len(lines):
                packed.write(b"\n".join(lines.tolist()) + b"\n")
            written += len(lines)
    return written
