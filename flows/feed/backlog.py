"""What one symbol waits for: its `Backlog`, the `Hole`s in it, and what is asked and answered about them.

A missing id goes through these states (times are the defaults of `Patience`; docs/architecture.md says more
of each):

    state     where it shows           what happens                                            next
    unseen    -                        its message comes                                       released
              -                        a message with a higher id comes: it is held            early
              -                        the socket opens again, or another one takes over       in doubt
    early     `arrived`                its message comes within 0.2 s                          released
              `arrived`                0.2 s have passed                                       lost
    in doubt  a hole without `last_id` the new connection's first message shows the end        lost or released
              `due`, `checked`         nothing for 1 s: the exchange is asked                  asked
              `checked`                the exchange lists nothing more: the symbol is quiet    in doubt
    lost      a hole, `noted_to`       `next_try` has come                                     asked
              -                        6 denials, or 6 refusals over 30 s                      unfillable
    asked     `asked`                  it is listed, or the socket brings it after all         filled
              `attempts`               no answer: asked again after 0.25 s, doubled up to 5 s  lost
              `denials`                other ids are listed, this one is not                   lost
              `refusals`               the exchange refuses to tell                            lost

Behind a filled id the held trades are released; behind an unfillable one they are, too, and the first of them
says that a hole came before. `Sequencer` moves ids from state to state.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from flows.feed.frames import Frames
from operators.columns import Longs

Times = npt.NDArray[np.float64]  # seconds of the caller's clock
# the last id of a symbol that has none; -1 is that of one which begins with the id 0, as a new listing does
NONE: Final = -2
LOST, DISCONNECT, RESTART, RECORDING = "lost", "disconnect", "restart", "recording"
CAUSES: Final = (LOST, DISCONNECT, RESTART, RECORDING)
OPEN, FILLED, UNFILLABLE = "open", "filled", "unfillable"
STATUSES: Final = (OPEN, FILLED, UNFILLABLE)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the sequencer waits for ids; seconds of the caller's clock."""

    grace_s: float = 0.2  # before a hole is a hole: messages may come in another order
    # after a connect, before the exchange is asked about symbols silent since: its database lags its stream
    settle_s: float = 1.0
    backoff_s: float = 0.25  # before the second try; doubled for each one after
    backoff_cap_s: float = 5.0
    tries: int = 6  # answers that skip the missing ids until they count as not existing
    lag_s: float = 300.0  # from then on answers that end before the missing ids count too
    # of a symbol while others stream, before the exchange is asked about it; doubled each time nothing came
    silence_s: float = 60.0
    silence_cap_s: float = 600.0
    # between such questions: with many quiet symbols they must not use up what holes need
    pace_s: float = 1.0
    overdue_s: float = 5.0  # of market time: a younger trade the socket may be about to bring
    # before the exchange is asked again about a symbol that it does not know any more
    unknown_s: float = 300.0
    # of refusals, `tries` of them at least, until missing ids are given up: live trades wait behind them
    refused_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A line of the ledger. `filled_at` is left to the caller, who has a clock."""

    ts: int  # of the trade before, µs
    symbol: int
    first_id: int
    last_id: int
    cause: str
    status: str
    trades: int  # filled: that the exchange had; else ids


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask the exchange for: trades of the symbol from an id on."""

    symbol: int
    from_id: int
    # an id beyond which nothing is known to be missing; None: the socket has said nothing yet
    to_id: int | None
    connection: int  # how many there had been
    probe: bool = False  # nothing is known to be missing: the socket is silent about this symbol alone


@dataclass(frozen=True, slots=True)
class Page:
    """What the exchange answered: `ids` are all that it lists, `frames` those that are trades."""

    frames: Frames
    ids: Longs
    full: bool  # there may be more
    unknown: bool = False  # instead of an answer: the exchange does not have the symbol
    # instead of an answer: it will not tell, and asking again may not help (an API key, the country)
    refused: bool = False


@dataclass(slots=True)
class Hole:
    """Ids that the socket did not bring. `last_id` is None until the first message after a connect tells
    where they end, if there are any.
    """

    first_id: int
    last_id: int | None
    ts: int
    cause: str
    shown: bool = False  # stands in the ledger as open
    stream_id: int | None = None  # the smallest that the socket brought since it may have missed some


@dataclass(slots=True)
class Backlog:
    """What one symbol waits for, and the trades that wait with it."""

    rows: Frames  # by id, each once, all behind the first missing id
    arrived: Times  # (rows,)
    parts: list[tuple[Frames, float]] = field(default_factory=list)  # came since, as they came
    size: int = 0  # rows in both
    since: float = np.inf  # when the oldest of them came
    holes: list[Hole] = field(default_factory=list)  # by id
    noted_to: int = NONE  # holes up to this id are in `holes`
    asked: bool = False  # a request is under way
    next_try: float = 0.0
    attempts: int = 0  # answers in a row that did not help
    denials: int = 0  # of them, those that say the ids do not exist
    refusals: int = 0  # answers in a row that refuse to tell
    asking_since: float = np.inf
    checked: bool = False  # the exchange has said what came since the last connect
    due: float = np.inf  # when to ask it that; then, when it said so
    known_to: int = NONE  # sparse: ids up to this one that have not come are none
    # sparse: ids of trades that the exchange gave, behind the last closed hole
    fetched: list[Longs] = field(default_factory=list)

    @property
    def unended(self) -> Hole | None:
        return self.holes[-1] if self.holes and self.holes[-1].last_id is None else None

    def begin_asking(self) -> None:
        """Forget the tries so far: what is missing now is something else."""
        self.attempts = self.denials = self.refusals = 0
        self.asking_since = np.inf

    @property
    def idle(self) -> bool:
        """Nothing is known to be missing, and the exchange was asked."""
        return not self.size and self.checked and len(self.holes) == 1 and self.holes[0].last_id is None
