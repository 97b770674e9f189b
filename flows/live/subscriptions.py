"""What one connection asks the exchange to stream, and what it answers. No sockets, no clock: `now` is passed
in, s.

| a request is | and then | it becomes |
|---|---|---|
| due | its turn comes | asked |
| asked | the exchange agrees | done |
| asked | it refuses, or says nothing for `answer_s`: the first time | due again, whole, after `again_s` |
| asked | the same once more, of several streams | two halves, due at once: so it is found out which streams are refused |
| asked | the same, of one stream | due again after twice as long as before, at most `again_cap_s` |

`settled` from the time on when each request has been answered once, whatever the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flows.feed.venue import Answer
from flows.retrying import backoff

SILENT: Final = "no answer"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    answer_s: float = 5.0
    again_s: float = 1.0
    again_cap_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some streams: they are refused, and `why`; None: they come, although they were refused
    before.
    """

    streams: tuple[str, ...]
    why: str | None


@dataclass(slots=True)
class _Request:
    streams: tuple[str, ...]
    due: float
    refusals: int = 0
    number: int = 0
    deadline: float = 0.0


class Subscriptions:
    """The requests of one connection, the answers to them, and which streams are refused so far."""

    def __init__(self, requests: Sequence[Sequence[str]], pace: Pace) -> None:
        self._pace = pace
        self._due = [_Request(tuple(streams), 0.0) for streams in requests]
        self._asked: dict[int, _Request] = {}
        self._number = 0
        self._unanswered = len(requests)
        self._refused: dict[str, None] = {}

    @property
    def settled(self) -> bool:
        return not self._unanswered

    @property
    def done(self) -> bool:
        return not self._due and not self._asked

    @property
    def refused(self) -> tuple[str, ...]:
        """Streams that do not come, as far as is known."""
        return tuple(self._refused)

    @property
    def found_out(self) -> bool:
        """Whether what is refused is known stream by stream."""
        return all(
            len(request.streams) == 1 and request.refusals > 1
            for request in (*self._due, *self._asked.values())
        )

    def next(self, now: float) -> tuple[int, tuple[str, ...]] | None:
        """The number and the streams of the request to send now, if there is one."""
        request = min(self._due, key=lambda request: request.due, default=None)
        if request is None or request.due > now:
            return None
        self._due.remove(request)
        self._number += 1
        request.number, request.deadline = self._number, now + self._pace.answer_s
        self._asked[self._number] = request
        return self._number, request.streams

    def answered(self, answer: Answer, now: float) -> Outcome | None:
        """Take an answer; returns what there is to say about it. One without a number is that to the oldest
        request.
        """
        number = answer.number if answer.number is not None else min(self._asked, default=0)
        request = self._asked.pop(number, None)
        if request is None:
            return None
        if answer.why is not None:
            return self._refuse(request, answer.why, now)
        self._count(request)
        late = tuple(stream for stream in request.streams if stream in self._refused)
        for stream in late:
            del self._refused[stream]
        return Outcome(late, None) if late else None

    def overdue(self, now: float) -> list[Outcome]:
        """Take the silence of the exchange for an answer, where it has lasted long enough."""
        late = [request for request in self._asked.values() if request.deadline <= now]
        for request in late:
            del self._asked[request.number]
        return [self._refuse(request, f"{SILENT} within {self._pace.answer_s:g} s", now) for request in late]

    def _refuse(self, request: _Request, why: str, now: float) -> Outcome:
        self._count(request)
        request.refusals += 1
        self._refused |= dict.fromkeys(request.streams)
        half = len(request.streams) // 2
        if request.refusals > 1 and half:
            self._due += [_Request(part, now, 1) for part in (request.streams[:half], request.streams[half:])]
        else:
            request.due = now + backoff(request.refusals - 1, self._pace.again_s, self._pace.again_cap_s)
            self._due.append(request)
        return Outcome(request.streams, why)

    def _count(self, request: _Request) -> None:
        if not request.refusals:
            self._unanswered -= 1
