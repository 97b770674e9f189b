"""Missing trades, asked from the venue over REST: one request at a time."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np

from flows.feed.asking import Page, Request
from flows.feed.frames import Frames
from flows.feed.http import Budget, Limits
from flows.feed.refusals import Failed, Refused, Unknown
from flows.feed.venue import Venue
from flows.markets import native
from flows.retrying import is_told

log = logging.getLogger(__name__)

Answer = Callable[[Request, Page | None], None]


class Rest:
    """Asks the venue for missing trades, on a thread with that task alone.

    `ask` queues a request; its answer (None: it failed) comes to `answer` on this thread. `symbols` are those
    of the tables.
    """

    def __init__(
        self,
        venue: Venue,
        base_url: str,
        stream: str,
        symbols: Sequence[str],
        answer: Answer,
        limits: Limits | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._venue, self._stream, self._symbols, self._answer = venue, stream, tuple(symbols), answer
        self._api = venue.api(base_url, limits, budget)
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._failures = 0
        self._gone: set[int] = set()  # symbols that the exchange does not know any more
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and the request that is under way."""
        self._requests.put(None)
        self._api.stop(self._thread)

    def ask(self, request: Request) -> None:
        self._requests.put(request)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            page = None
            try:
                page = self._page(request)
                self._failures = 0
                self._gone.discard(request.symbol)
            except Unknown:
                page = self._no_page(unknown=True)
                if request.symbol not in self._gone:
                    self._gone.add(request.symbol)
                    symbol = self._symbols[request.symbol]
                    log.error(
                        "%s: %s: the exchange does not know it any more; the others go on",
                        self._api.base_url,
                        symbol,
                    )
            except Refused as error:
                page = self._no_page(refused=True)
                self._say(request, f"{error}; {error.advice}")
            except Failed as error:
                self._say(request, str(error))
            except Exception:  # a thread that died would leave the hole open without a word
                log.exception(
                    "%s: trades of %s from id %d",
                    self._api.base_url,
                    self._symbols[request.symbol],
                    request.from_id,
                )
            if self._api.stopped:
                return
            self._answer(request, page)

    def _page(self, request: Request) -> Page:
        symbol = native(self._symbols[request.symbol])
        frames, ids = self._api.trades(
            self._stream, symbol, request.from_id, self._venue.page, request.symbol, len(self._symbols)
        )
        return Page(frames, ids, len(ids) >= self._venue.page)

    def _no_page(self, **why: bool) -> Page:
        return Page(Frames.none(len(self._symbols)), np.zeros(0, np.int64), full=False, **why)

    def _say(self, request: Request, why: str) -> None:
        self._failures += 1
        if is_told(self._failures - 1, self._failures) and not self._api.stopped:
            log.warning(
                "%s: trades of %s from id %d: %s; asking again",
                self._api.base_url,
                self._symbols[request.symbol],
                request.from_id,
                why,
            )
