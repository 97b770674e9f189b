"""Missing trades over REST: one thread, one request at a time, within the exchange's weight budget."""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from flows.binance.messages import AGG_TRADE, TRADE, Frames, decode_rest
from flows.binance.sequencer import Request
from flows.errors import UserError

log = logging.getLogger(__name__)

PAGE: Final = 1_000  # trades an answer holds at most
PATHS: Final = {TRADE: "/api/v3/historicalTrades", AGG_TRADE: "/api/v3/aggTrades"}
WEIGHTS: Final = {TRADE: 25, AGG_TRADE: 4}
BUDGET: Final = 5_000  # of 6,000 a minute: the address may serve others too
TIMEOUT_S: Final = 10.0
MINUTE_S: Final = 60.0
TOO_MANY, BANNED, LEGAL = 429, 418, 451

Answer = Callable[[Request, Frames | None, bool], None]


class Rest:
    """The exchange's REST interface. `ask` queues a request; its answer (None: it failed) comes to `answer` on this object's thread."""

    def __init__(
        self, base_url: str, stream: str, symbols: Sequence[str], answer: Answer, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.base_url, self.stream, self.symbols = base_url.rstrip("/"), stream, tuple(symbols)
        self._answer, self._now = answer, now
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(TIMEOUT_S))
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._requests.put(None)
        self._thread.join(timeout=TIMEOUT_S)
        self._pool.clear()

    def ask(self, request: Request) -> None:
        self._requests.put(request)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None and not self._stopping.is_set():
            frames, more = self._trades(request)
            self._answer(request, frames, more)

    def _trades(self, request: Request) -> tuple[Frames | None, bool]:
        symbol = self.symbols[request.symbol]
        try:
            self._stopping.wait(max(0.0, self._not_before - self._now()))
            if self._stopping.is_set():
                return None, False
            status, headers, body = self._get(PATHS[self.stream], {"symbol": symbol, "fromId": request.from_id, "limit": PAGE})
        except urllib3.exceptions.HTTPError as error:
            log.warning("%s: trades of %s from id %d: %s", self.base_url, symbol, request.from_id, reason(error))
            return None, False
        self._heed(status, headers)
        if status != 200:
            log.warning(
                "%s: trades of %s from id %d: HTTP %d %s",
                self.base_url,
                symbol,
                request.from_id,
                status,
                body[:200].decode(errors="replace"),
            )
            return None, False
        frames = decode_rest(body, request.symbol, self.stream, len(self.symbols))
        return frames, len(frames) + int(frames.rejected.sum()) >= PAGE

    def _heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Put off the next request as the exchange asks, or until the minute's budget is free again."""
        now = self._now()
        if status in (TOO_MANY, BANNED):
            self._not_before = now + float(headers.get("Retry-After") or MINUTE_S)
            log.warning("%s: HTTP %d, no request for %.0f s", self.base_url, status, self._not_before - now)
        elif int(headers.get("X-MBX-USED-WEIGHT-1M") or 0) + WEIGHTS[self.stream] > BUDGET:
            self._not_before = now + MINUTE_S - time.time() % MINUTE_S + 1.0

    def _get(self, path: str, query: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        answer = self._pool.request("GET", self.base_url + path, fields=query, headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
        return answer.status, answer.headers, answer.data


def check_symbols(base_url: str, symbols: Sequence[str]) -> None:
    """Raise UserError unless the exchange answers and trades all these symbols."""
    with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(TIMEOUT_S)) as pool:
        url = base_url.rstrip("/") + "/api/v3/exchangeInfo"
        unknown = []
        for symbol in symbols:
            try:
                answer = pool.request("GET", url, fields={"symbol": symbol})
            except urllib3.exceptions.HTTPError as error:
                host = urlsplit(base_url).netloc
                raise UserError(f"exchange: {host}: {reason(error)}; check the network, or source.rest_url in the configuration") from None
            if answer.status == LEGAL:
                raise UserError(
                    f"exchange: {base_url}: HTTP 451, the exchange does not serve this country; set source.ws_url and source.rest_url"
                )
            if answer.status == 400:
                unknown.append(symbol)
            elif answer.status != 200:
                raise UserError(f"exchange: {base_url}: HTTP {answer.status} {answer.data[:100].decode(errors='replace')}; try again later")
            else:
                listed = {entry.get("symbol"): entry.get("status") for entry in _symbols(answer.data)}
                if listed.get(symbol) != "TRADING":
                    unknown.append(symbol)
        if unknown:
            raise UserError(f"exchange: {base_url} does not trade {', '.join(unknown)}; correct pairs, alerts or source.symbols")


def _symbols(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body)
    except ValueError:
        return []
    return answer.get("symbols", []) if isinstance(answer, dict) else []


def reason(error: BaseException) -> str:
    """The innermost cause in a few words, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error).rsplit(": ", maxsplit=1)[-1] or type(error).__name__
    return text.rstrip(".")
