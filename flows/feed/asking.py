"""What the exchange is asked about missing ids, what it answers, and how patiently it is asked again."""

from dataclasses import dataclass

import numpy as np

from flows.feed.frames import Frames
from flows.retrying import backoff
from operators.columns import Longs


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the sequencer waits for ids; seconds of the caller's clock unless another unit is given."""

    # Before a jump in ids counts as a hole: messages may arrive in another order.
    grace_s: float = 0.2
    # After a connect, before the exchange is asked about symbols that are silent since: its database lags its
    # stream.
    settle_s: float = 1.0
    # Before the second attempt; doubled for each one after it, up to the cap.
    backoff_s: float = 0.25
    backoff_cap_s: float = 5.0
    # Answers without the missing ids until these ids count as not existing.
    tries: int = 6
    # After this time, an answer that ends before the missing ids counts as one of these answers too.
    lag_s: float = 300.0
    # A symbol may be silent for so long while others stream; then the exchange is asked about it. Doubled, up
    # to the cap, each time that the exchange had no trade of it either.
    silence_s: float = 60.0
    silence_cap_s: float = 600.0
    # Between two such questions: many quiet symbols must not use up the requests that holes need.
    pace_s: float = 1.0
    # Market time: the socket may still be about to bring a trade that is younger.
    overdue_s: float = 5.0
    # Before the exchange is asked again about a symbol that it does not know any more.
    unknown_s: float = 300.0
    # How long the exchange must have refused (at least `tries` times) until missing ids are given up. It is
    # short because live trades wait behind them.
    refused_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A question to the exchange: the trades of a symbol from an id on."""

    # Code of the symbol.
    symbol: int
    # The first id that is asked for.
    from_id: int
    # Beyond this id nothing is known to be missing. None: the socket has not brought anything yet.
    to_id: int | None
    # The number of the connection at the time of the question.
    connection: int
    # Nothing is known to be missing: the socket is silent about this symbol alone.
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The exchange's answer to a `Request`."""

    # The trades.
    frames: Frames
    # All ids that the exchange lists, also those that are no trade (price 0).
    ids: Longs
    # There may be more trades behind these.
    full: bool
    # Instead of trades: the exchange does not have the symbol.
    unknown: bool = False
    # Instead of trades: the exchange refuses (API key, country), and asking again may not help.
    refused: bool = False


@dataclass(slots=True)
class Attempts:
    """How often the exchange was asked for the same missing ids, and when it may be asked again."""

    # A request is under way.
    asked: bool = False
    # Not before this time; seconds of the caller's clock, as all times here.
    next_try: float = 0.0
    # When these ids were asked for first; infinite before.
    since: float = np.inf
    # Answers in a row that did not help.
    failed: int = 0
    # Of these, answers that list other ids but not the missing ones.
    denials: int = 0
    # Refusals in a row.
    refusals: int = 0

    def begin(self) -> None:
        """Forget the attempts so far: other ids are missing now."""
        self.failed = self.denials = self.refusals = 0
        self.since = np.inf

    def ask(self, now: float) -> None:
        """Note that a request is under way."""
        self.asked = True
        self.since = min(self.since, now)

    def retry_later(self, now: float, patience: Patience) -> None:
        """Note an answer that did not help: the next attempt waits longer."""
        self.next_try = now + backoff(self.failed, patience.backoff_s, patience.backoff_cap_s)
        self.failed += 1

    def in_vain(self, now: float, patience: Patience) -> bool:
        """Whether to give the ids up: the exchange says often enough that they do not exist, or refuses."""
        refused = self.refusals >= patience.tries and now - self.since >= patience.refused_s
        return refused or self.denials >= patience.tries
