"""When to ask the exchange about a symbol that is silent while others stream: its stream may be dead.

state    what happens                                    next
quiet    a message of the symbol comes                   quiet, silence_s from now
quiet    its time is over, and others stream             asked (one symbol at a time, pace_s between two)
asked    the exchange has no newer trade either          quiet, for twice as long as before (silence_cap_s)
asked    it has one that the socket may still bring      quiet, for overdue_s
asked    it has a trade that is overdue                  dead: `Sequencer.take_dead` reports it
"""

from dataclasses import dataclass, field

import numpy as np

from flows.feed.asking import Page, Patience
from operators.columns import NEVER, SECOND_US, Codes, Flags, Floats


@dataclass(slots=True)
class Silence:
    """How long each symbol has been silent; times are seconds of the caller's clock unless in µs."""

    # The number of symbols of the partition.
    symbols: int
    patience: Patience
    # (symbols,) how long each may be silent before the exchange is asked.
    _allowed_s: Floats = field(init=False)
    # (symbols,) when it will have been silent for so long; infinite before it begins.
    _ask_at: Floats = field(init=False)
    # No question before this time.
    _next_question: float = -np.inf
    # A question is under way.
    _asking: bool = False
    # When the socket brought its last message, of any symbol.
    _heard_at: float = -np.inf
    # The newest trade time that the socket brought, µs since the epoch.
    _heard_us: int = NEVER

    def __post_init__(self) -> None:
        self._allowed_s, self._ask_at = np.zeros(self.symbols), np.full(self.symbols, np.inf)

    def connect(self, begun: Flags, now: float) -> None:
        """Count anew: the socket is open (again). `begun` (symbols,): symbols that have had a trade."""
        self._allowed_s[:] = self.patience.silence_s
        self._ask_at[begun] = now + self.patience.silence_s

    def hear(self, symbols: Codes, newest_us: int, now: float) -> None:
        """Note that the socket brought messages of these symbols."""
        self._heard_at, self._heard_us = now, max(self._heard_us, newest_us)
        self._allowed_s[symbols] = self.patience.silence_s
        self._ask_at[symbols] = now + self.patience.silence_s

    def longest(self, now: float) -> int | None:
        """The symbol that has been silent for longest, if it is time to ask about it and others stream."""
        others_stream = now - self._heard_at < self.patience.silence_s
        if self._asking or now < self._next_question or not others_stream:
            return None
        symbol = int(np.argmin(self._ask_at))
        if self._ask_at[symbol] > now:
            return None
        self._ask_at[symbol] = now + self._allowed_s[symbol]
        return symbol

    def ask(self, now: float) -> None:
        """Note that a question is under way."""
        self._asking, self._next_question = True, now + self.patience.pace_s

    def answered(self) -> None:
        """Note that the question under way was answered."""
        self._asking = False

    def is_overdue(self, page: Page) -> bool:
        """Whether the exchange lists a trade that a living stream would have brought."""
        latest_us = self._heard_us - int(self.patience.overdue_s * SECOND_US)
        return bool((page.frames.ts <= latest_us).any())

    def put_off(self, symbol: int, page: Page, now: float) -> None:
        """Note that the stream is not dead.

        The next question comes soon if the socket may still bring a trade, else after twice the time.
        """
        if len(page.ids):
            self._ask_at[symbol] = now + self.patience.overdue_s
        else:
            self._allowed_s[symbol] = min(2 * self._allowed_s[symbol], self.patience.silence_cap_s)
            self._ask_at[symbol] = now + self._allowed_s[symbol]
