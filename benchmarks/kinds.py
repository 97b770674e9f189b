"""Kinds of markets that statistics have to bear, two legs each: what verify_statistics.py draws its windows
from.
"""

from dataclasses import dataclass

import numpy as np

from operators.columns import Floats


@dataclass(frozen=True, slots=True)
class Kind:
    """Bars of two legs y and x. Shapes (2, n)."""

    name: str
    log_prices: bool
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    buy_volume: Floats

    @property
    def values(self) -> Floats:
        """f(close)."""
        return np.log(self.close) if self.log_prices else self.close


def reverting(rng: np.random.Generator, rows: int, half_life: float, sd: float) -> Floats:
    """A series that loses half of itself in `half_life` bars, from its stationary distribution on."""
    keep = 0.5 ** (1.0 / half_life)
    shocks = rng.normal(0.0, sd, rows)
    shocks[0] /= np.sqrt(1.0 - keep * keep)
    for t in range(1, rows):
        shocks[t] += keep * shocks[t - 1]
    return shocks


def kinds(rows: int, seed: int) -> list[Kind]:
    """Every kind, the same for the same seed."""
    rng = np.random.default_rng(seed)

    def walk(sd: float) -> Floats:
        return np.cumsum(rng.normal(0.0, sd, rows))

    x = walk(3e-4)
    related = np.exp(np.stack((8.0 + 0.7 * x + reverting(rng, rows, 20, 2e-4), 11.0 + x)))
    small = walk(1e-5)
    flat = np.exp(np.stack((5.0 + walk(1e-3), 3.0 + walk(1e-3))))
    for leg, begin, end in ((0, 400, 700), (1, 600, 900), (0, 1_000, 1_040), (1, 1_300, 1_345)):
        flat[leg, begin:end] = flat[leg, min(begin, rows - 1)]
    peg = 1.0 + np.round(rng.normal(0.0, 0.6, rows)) * 1e-4
    lost = rows * 3 // 5
    peg[lost:] = np.round(
        np.exp(-0.12 * (1.0 - np.exp(-np.arange(rows - lost) / 20.0)) + walk(2e-3)[lost:] * 0.3), 4
    )
    peg[rows // 4 : rows // 4 + 130] = 1.0
    made = [
        ("unrelated walks", True, np.exp(np.stack((8.0 + walk(3e-4), 11.0 + walk(3e-4))))),
        ("cointegrated legs", True, related),
        (
            "high level, small steps",
            True,
            np.exp(np.stack((8.0 + 0.7 * small + rng.normal(0.0, 1e-5, rows), 11.0 + small))),
        ),
        (
            "raw prices",
            False,
            np.stack((3.0, 20.0))[:, None] * np.exp(np.stack((8.0 + 0.7 * x, 8.0 + x)) + walk(1e-4)),
        ),
        ("rounded to ticks", False, np.round(related / np.array([[0.5], [2.0]])) * np.array([[0.5], [2.0]])),
        ("flat stretches", True, flat),
        ("a lost peg", True, np.stack((peg, np.round(60_000.0 * np.exp(walk(5e-4)), 1)))),
        (
            "heavy tails",
            True,
            np.exp(np.stack((8.0, 11.0))[:, None] + np.cumsum(1e-4 * rng.standard_t(2.0, (2, rows)), axis=1)),
        ),
    ]
    return [_bars(rng, *each) for each in made]


def _bars(rng: np.random.Generator, name: str, log_prices: bool, close: Floats) -> Kind:
    """Bars around these closes; nothing is traded in every second bar of a hundred, nor where closes stand
    still for long.
    """
    open_ = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    still = np.zeros(close.shape, np.bool_)
    still[:, 1:] = close[:, 1:] == close[:, :-1]
    reach = rng.exponential(1e-4, (2, *close.shape)) * ~still
    volume = rng.exponential(5.0, close.shape) * (rng.random(close.shape) > 0.1)
    volume[still] = 0.0
    return Kind(
        name,
        log_prices,
        open_,
        np.maximum(open_, close) * (1.0 + reach[0]),
        np.minimum(open_, close) / (1.0 + reach[1]),
        close,
        volume,
        volume * rng.random(close.shape),
    )
