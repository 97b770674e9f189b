"""Where the trades of a local exchange come from: a recording, or the simulated market."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from flows.errors import UserError
from flows.feed.frames import join
from flows.markets import MARKETS, TRADE, market_of, native
from flows.replay.recordings import Progress, symbols_in
from flows.replay.recordings import Recording as Recorded
from flows.sandbox.market import Market
from flows.sandbox.options import Options
from flows.sandbox.tape import Tape

CHUNK: Final = 2_000  # messages per step at full speed


class Source(Protocol):
    """Where an exchange's trades come from."""

    tapes: dict[str, Tape]
    first_us: int

    def reach(self, now_us: int) -> None:
        """See to it that the tapes hold everything until then."""

    def advance(self, now_us: int, wall_s: float) -> int:
        """The market time after so much wall time."""

    @property
    def unpaced(self) -> bool:
        """Whether the market runs as fast as the clients read."""


class Recording:
    """Recorded trades, all in memory: about 100 bytes each."""

    def __init__(
        self, paths: Sequence[Path], speed: float, venue: str = "binance", progress: Progress | None = None
    ) -> None:
        market = MARKETS[venue]
        look = symbols_in(paths, market=market)
        if others := [symbol for symbol in look.symbols if market_of(symbol) is not market]:
            raise UserError(
                f"exchange: {', '.join(others[:3])}: not symbols of {market.title}: choose its --venue"
            )
        self.tapes = {native(symbol): Tape() for symbol in look.symbols}
        self.speed = speed if np.isfinite(speed) else 0.0
        whole = join(list(Recorded(look, look.symbols, reading=progress)), len(look.symbols))
        if whole.is_buyer_maker.dtype != np.bool_:
            raise UserError(
                "exchange: the recordings do not say who took each trade, which every message must: add a column side"
            )
        for code, tape in enumerate(self.tapes.values()):
            turn = np.flatnonzero(whole.symbol == code)
            turn = turn[np.unique(whole.id[turn], return_index=True)[1]]  # in id order, each once
            (tape.append if look.stream == TRADE else tape.append_aggregates)(whole.rows(turn), turn)
        self._timeline = np.sort(
            np.concatenate([tape.rows(look.stream)["at"] for tape in self.tapes.values()])
        )
        self.first_us, self.end_us = int(self._timeline[0]), int(self._timeline[-1])

    @property
    def unpaced(self) -> bool:
        return self.speed == 0

    def reach(self, now_us: int) -> None:
        pass

    def advance(self, now_us: int, wall_s: float) -> int:
        if self.speed:
            return min(self.end_us, now_us + int(wall_s * self.speed * 1e6))
        k = int(np.searchsorted(self._timeline, now_us, side="right")) + CHUNK
        return int(self._timeline[k]) if k < len(self._timeline) else self.end_us


class Simulation:
    """The simulated market: its clock runs `catch_up` times as fast until it has come to the present, and
    then with it.
    """

    unpaced = False

    def __init__(self, options: Options, wall_us: Callable[[], int]) -> None:
        self.first_us = (
            wall_us() - int(options.history_s * 1e6) if options.start_us is None else options.start_us
        )
        self.first_us -= self.first_us % 1_000_000
        self.tapes = {symbol: Tape() for symbol in options.symbols}
        self._market = Market(options.seed, options.symbols, self.first_us, options.rate)
        self._catch_up, self._wall_us = options.catch_up, wall_us

    def reach(self, now_us: int) -> None:
        while self._market.next_us <= now_us:
            trades = self._market.second()
            for code, tape in enumerate(self.tapes.values()):
                turn = np.flatnonzero(trades.symbol == code)
                tape.append(trades.rows(turn), turn)

    def advance(self, now_us: int, wall_s: float) -> int:
        return max(now_us, min(self._wall_us(), now_us + int(wall_s * self._catch_up * 1e6)))
