"""The trades of one symbol that are held back because an id before them is missing."""

from dataclasses import dataclass, field

import numpy as np

from flows.feed.frames import Frames, join
from operators.columns import Floats, Longs


@dataclass(slots=True)
class Held:
    """Trades that wait: sorted ones in `rows`, newer ones as they came in `parts` until `merge`."""

    # The number of symbols of the partition.
    symbols: int
    # Sorted by id, each id once, all behind the first missing id.
    rows: Frames = field(init=False)
    # (rows,) when each came, seconds of the caller's clock as all times here.
    arrived: Floats = field(default_factory=lambda: np.zeros(0))
    # Trades that came since the last merge, and when.
    parts: list[tuple[Frames, float]] = field(default_factory=list)
    # Trades in `rows` and `parts` together.
    size: int = 0
    # When the oldest of them came; infinite without trades.
    since: float = np.inf

    def __post_init__(self) -> None:
        self.rows = Frames.none(self.symbols)

    def append(self, frames: Frames, now: float) -> None:
        """Hold more trades."""
        if len(frames):
            self.parts.append((frames, now))
            self.size += len(frames)
            self.since = min(self.since, now)

    def merge(self, last: int) -> int:
        """Sort the parts into the rows; returns how many trades were duplicates and dropped.

        Duplicates are ids up to `last` and ids that are held already.
        """
        if not self.parts:
            return 0
        frames = join([self.rows, *(part for part, _ in self.parts)], self.symbols)
        arrived = np.concatenate([self.arrived, *(np.full(len(part), now) for part, now in self.parts)])
        order = np.argsort(frames.id, kind="stable")
        ids = frames.id[order]
        again = ids <= last
        again[1:] |= ids[1:] == ids[:-1]
        order = order[~again]
        self.parts.clear()
        self._keep(frames.rows(order), arrived[order])
        return int(np.count_nonzero(again))

    def take_first(self, n: int) -> Frames:
        """Remove the first `n` rows and return them."""
        taken = self.rows.rows(slice(0, n))
        self._keep(self.rows.rows(slice(n, None)), self.arrived[n:])
        return taken

    def drop_behind(self, n: int) -> None:
        """Keep the first `n` rows only."""
        self._keep(self.rows.rows(slice(0, n)), self.arrived[:n])

    def aged(self, waited_s: float, now: float) -> Longs:
        """The indices of the rows that have waited for so long."""
        return np.flatnonzero(self.arrived + waited_s <= now)

    def _keep(self, rows: Frames, arrived: Floats) -> None:
        self.rows, self.arrived, self.size = rows, arrived, len(rows)
        self.since = float(arrived.min()) if len(arrived) else np.inf
