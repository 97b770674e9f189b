"""REST of the local exchange: Binance's endpoints, its budget of request weight, and its errors."""

import asyncio
import time
from http import HTTPStatus
from typing import Any, Final

import msgspec
import numpy as np
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from flows.feed.frames import MICROSECONDS_FROM
from flows.markets import AGG_TRADE, TRADE
from flows.sandbox import messages
from flows.sandbox.answers import Refusal, http_response
from flows.sandbox.state import State
from flows.sandbox.tape import Kline, Tape

LIMIT: Final = 500
MOST: Final = 1_000
BANNED_AFTER: Final = 10  # requests after a 429 that make it a 418
BAN_S: Final = 120


class Rest:
    """Answers requests for trades, candles, time and symbols."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.used, self._window_began, self._over, self._banned_until = 0, -np.inf, 0, 0.0

    async def answer(self, request: Request, path: str, query: dict[str, str]) -> Response:
        """The answer to a request for a path below the root of its venue, or to one that asks for another."""
        came = time.monotonic() - self._state.born
        headers = Headers()
        try:
            endpoint = path.removeprefix(self._state.venue.root)
            if endpoint == path or endpoint not in self._state.venue.weights:
                raise Refusal(HTTPStatus.NOT_FOUND, -1, f"{path}: no such path")
            self._spend(endpoint, query)
            await asyncio.sleep(self._state.faults.rest_delay_s)
            in_microseconds = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
            response = http_response(
                HTTPStatus.OK, getattr(self, f"_get_{endpoint}")(query, in_microseconds), headers
            )
        except Refusal as refusal:
            if refusal.retry_after_s is not None:
                headers["Retry-After"] = str(max(1, int(np.ceil(refusal.retry_after_s))))
            response = http_response(refusal.status, refusal.body, headers)
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = str(self.used)
        self._state.counts[f"http_{response.status_code}"] += 1
        self._state.requests.append((came, request.path, response.status_code))
        return response

    def _spend(self, endpoint: str, query: dict[str, str]) -> None:
        """Account for a request; refuse it when the budget of the window is spent, or a fault says so."""
        faults, now = self._state.faults, time.monotonic()
        window_s = self._state.options.budget_window_s
        if now - self._window_began >= window_s:
            self.used, self._window_began, self._over = 0, now, 0
        self.used += self._state.venue.weight(endpoint, query)
        if faults.rest_status and faults.rest_failures and faults.rest_endpoint in ("", endpoint):
            faults.rest_failures -= faults.rest_failures > 0
            limited = faults.rest_status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)
            raise Refusal(
                faults.rest_status,
                -1003 if limited else -1000,
                "injected",
                faults.retry_after_s if limited else None,
            )
        if now < self._banned_until:
            raise Refusal(
                HTTPStatus.IM_A_TEAPOT,
                -1003,
                "Way too much request weight used; IP banned.",
                self._banned_until - now,
            )
        if self.used > self._state.options.budget:
            self._over += 1
            if self._over > BANNED_AFTER:
                self._banned_until = now + BAN_S
            msg = f"Too much request weight used; current limit is {self._state.options.budget} request weight per 1 MINUTE."
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, -1003, msg, self._window_began + window_s - now)

    def _get_ping(self, _query: dict[str, str], _us: bool) -> Any:
        return {}

    def _get_time(self, _query: dict[str, str], us: bool) -> Any:
        return {"serverTime": self._state.exchange_us() // (1 if us else 1000)}

    def _get_exchangeInfo(self, query: dict[str, str], us: bool) -> Any:
        listed = [symbol for symbol in self._state.source.tapes if symbol not in self._state.faults.delisted]
        if "symbol" in query or "symbols" in query:
            try:
                asked = (
                    [query["symbol"]]
                    if "symbol" in query
                    else msgspec.json.decode(query["symbols"], type=list[str])
                )
            except msgspec.MsgspecError:
                raise Refusal(
                    HTTPStatus.BAD_REQUEST, -1100, "Illegal characters found in parameter 'symbols'."
                ) from None
            if not set(asked) <= set(listed):
                raise Refusal(HTTPStatus.BAD_REQUEST, -1121, "Invalid symbol.")
            listed = asked
        minute = {"interval": "MINUTE", "intervalNum": 1, "limit": self._state.options.budget}
        return {
            "timezone": "UTC",
            "serverTime": self._state.exchange_us() // (1 if us else 1000),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT"} | minute],
            "exchangeFilters": [],
            "symbols": [self._state.venue.symbol_info(symbol) for symbol in listed],
        }

    def _tape(self, query: dict[str, str]) -> tuple[str, Tape]:
        symbol = query.get("symbol", "")
        if not symbol:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                -1102,
                "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
            )
        if symbol not in self._state.source.tapes or symbol in self._state.faults.delisted:
            raise Refusal(HTTPStatus.BAD_REQUEST, -1121, "Invalid symbol.")
        return symbol, self._state.source.tapes[symbol]

    def _known(
        self, symbol: str, tape: Tape, stream: str, begin: int, end: int, limit: int, from_end: bool
    ) -> Any:
        """Positions of at most `limit` rows within [begin, end) that REST tells."""
        positions = np.arange(begin, max(begin, end))
        for ids in self._state.faults.denied:
            if ids.symbol == symbol:
                row_ids = tape.rows(stream)["id"][positions]
                positions = positions[(row_ids < ids.first) | (row_ids > ids.last)]
        return positions[-limit:] if from_end else positions[:limit]

    def _get_trades(self, query: dict[str, str], us: bool) -> bytes:
        return self._get_historicalTrades(
            {name: text for name, text in query.items() if name != "fromId"}, us
        )

    def _get_historicalTrades(self, query: dict[str, str], us: bool) -> bytes:
        symbol, tape = self._tape(query)
        limit, from_id = _limit(query), _long(query, "fromId")
        n = tape.happened(TRADE, self._state.now_us - self._state.faults.rest_lag_us)
        begin = 0 if from_id is None else int(np.searchsorted(tape.trades["id"][:n], from_id))
        # Denied rows aside, no more than a page on either side needs a look.
        begin, n = (
            (begin, n)
            if self._state.faults.denied
            else (max(begin, n - limit), n)
            if from_id is None
            else (begin, min(n, begin + limit))
        )
        return messages.encode_rest_trades(
            tape.trades.frames(self._known(symbol, tape, TRADE, begin, n, limit, from_id is None)), us
        )

    def _get_aggTrades(self, query: dict[str, str], us: bool) -> bytes:
        symbol, tape = self._tape(query)
        limit, from_id = _limit(query), _long(query, "fromId")
        start_us, end_us = _time(query, "startTime"), _time(query, "endTime")
        if from_id is not None and (start_us is not None or end_us is not None):
            raise Refusal(HTTPStatus.BAD_REQUEST, -1128, "Combination of optional parameters invalid.")
        n = tape.happened(AGG_TRADE, self._state.now_us - self._state.faults.rest_lag_us)
        begin = 0
        if from_id is not None:
            begin = int(np.searchsorted(tape.aggs["id"][:n], from_id))
        if start_us is not None:
            begin = int(np.searchsorted(tape.aggs["at"][:n], start_us, side="left"))
        if end_us is not None:
            n = int(np.searchsorted(tape.aggs["at"][:n], end_us, side="right"))
        from_end = from_id is None and start_us is None
        chosen = self._known(symbol, tape, AGG_TRADE, begin, n, limit, from_end)
        return messages.encode_rest_agg_trades(
            tape.aggs.frames(chosen), tape.aggs["first"][chosen], tape.aggs["last"][chosen], us
        )

    def _get_klines(self, query: dict[str, str], us: bool) -> Any:
        symbol, tape = self._tape(query)
        interval = query.get("interval", "")
        if not interval:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                -1102,
                "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
            )
        if interval not in self._state.venue.intervals:
            raise Refusal(HTTPStatus.BAD_REQUEST, -1120, "Invalid interval.")
        start_us, end_us = _time(query, "startTime"), _time(query, "endTime")
        klines = tape.klines(
            interval, start_us, end_us, _limit(query), self._state.now_us - self._state.faults.rest_lag_us
        )
        for wrong in self._state.faults.misreports:
            for kline in klines:
                if (wrong.symbol, wrong.interval, wrong.open_us) == (symbol, interval, kline[0]):
                    kline[Kline.FIELDS.index(wrong.field)] = wrong.value
        return [_kline(kline, us) for kline in klines]


def _long(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def _limit(query: dict[str, str]) -> int:
    limit = _long(query, "limit")
    return LIMIT if limit is None else max(1, min(limit, MOST))


def _time(query: dict[str, str], name: str) -> int | None:
    time = _long(query, name)
    return time * 1000 if time is not None and time < MICROSECONDS_FROM else time


def _kline(k: Kline, us: bool) -> list[Any]:
    scale = 1 if us else 1000
    prices = [f"{price:.8f}" for price in k[1:6]]
    return [
        int(k[0]) // scale,
        *prices,
        int(k[6]) // scale,
        f"{k[7]:.8f}",
        int(k[8]),
        f"{k[9]:.8f}",
        f"{k[10]:.8f}",
        "0",
    ]
