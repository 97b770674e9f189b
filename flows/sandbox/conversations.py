"""Conversations with the clients of the local exchange over websockets: requests, pings, the end of a
connection.
"""

import asyncio
import json
import random
import time
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from flows.sandbox.answers import as_json
from flows.sandbox.client import Client, Connection, framed
from flows.sandbox.state import State

POLICY: Final = 1008


class Conversations:
    """One for each client, from its connection to its end."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection) and connection.request is not None
        url = urlsplit(connection.request.path)
        query = dict(parse_qsl(url.query))
        path = url.path.removeprefix(self._state.venue.ws_root)
        combined = path.startswith("/stream")
        self._state.connects.append(time.monotonic() - self._state.born)
        self._state.counts["connects"] += 1
        rng = random.Random(self._state.options.seed * 1_000_003 + self._state.counts["connects"])
        client = Client(connection, combined, query.get("timeUnit", "").upper() == "MICROSECOND", rng)
        streams = (
            query.get("streams", "").split("/")
            if combined
            else unquote(path).removeprefix("/ws").strip("/").split("/")
        )
        connection.on_frame = lambda frame: self._came(client, frame)
        self._state.clients[connection] = client
        company = [asyncio.create_task(self._ping(client)), asyncio.create_task(self._end(client))]
        try:
            await self._subscribe(client, [stream for stream in streams if stream])
            async for message in connection:
                await self._told(client, message)
        except ConnectionClosed:
            pass
        finally:
            del self._state.clients[connection]
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)

    def _came(self, client: Client, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._state.counts["pongs"] += 1
        if frame.opcode not in (
            Opcode.TEXT,
            Opcode.PING,
        ):  # pongs, which answer our pings however often a test makes us send them, are free
            return
        self._state.counts["incoming"] += 1
        now = time.monotonic()
        client.incoming.append(now)
        while client.incoming[0] <= now - 1:
            client.incoming.popleft()
        if len(client.incoming) > self._state.options.incoming_per_s:
            self._state.counts["too_many_incoming"] += 1
            self._state.start(client.close(POLICY, "Too many requests"))

    async def _subscribe(self, client: Client, streams: list[str]) -> None:
        client.streams |= dict.fromkeys(streams)
        if len(client.streams) > self._state.options.most_streams:
            await client.close(POLICY, "Too many streams")
        if sum(bool(c.streams) for c in self._state.clients.values()) >= self._state.options.audience:
            self._state.begun.set()

    async def _told(self, client: Client, message: str | bytes) -> None:
        try:
            request = json.loads(message)
            method, number = request["method"], request.get("id")
            params = request.get("params") or []
        except (ValueError, KeyError, TypeError, AttributeError):
            self._reply(
                client,
                {"error": {"code": 3, "msg": "Invalid JSON: expected a request with method, params and id"}},
            )
            return
        self._state.counts[str(method)] += 1
        self._state.asked.append((time.monotonic() - self._state.born, str(method), params))
        if method in ("SUBSCRIBE", "UNSUBSCRIBE") and not (
            isinstance(params, list) and all(isinstance(p, str) for p in params)
        ):
            self._reply(
                client,
                {
                    "error": {"code": 2, "msg": "Invalid request: params must be a list of streams"},
                    "id": number,
                },
            )
        elif method == "SUBSCRIBE" and self._refuses(params):
            if not self._state.faults.mute_refusals:
                self._reply(client, {"error": {"code": 2, "msg": "Invalid request: injected"}, "id": number})
        elif method == "SUBSCRIBE":
            self._reply(client, {"result": None, "id": number})
            await self._subscribe(client, params)
        elif method == "UNSUBSCRIBE":
            for stream in params:
                client.streams.pop(stream, None)
            self._reply(client, {"result": None, "id": number})
        elif method == "LIST_SUBSCRIPTIONS":
            self._reply(client, {"result": list(client.streams), "id": number})
        else:
            expected = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
            self._reply(
                client,
                {
                    "error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`, {expected}"},
                    "id": number,
                },
            )

    def _refuses(self, streams: list[str]) -> bool:
        faults = self._state.faults
        if faults.subscribe_failures:
            faults.subscribe_failures -= faults.subscribe_failures > 0
            return True
        return any(stream.partition("@")[0].upper() in faults.unstreamed for stream in streams)

    @staticmethod
    def _reply(client: Client, reply: Any) -> None:
        client.write(framed(as_json(reply)))

    async def _ping(self, client: Client) -> None:
        while True:
            await asyncio.sleep(self._state.options.ping_every_s)
            if self._state.faults.no_pings:
                continue
            try:
                pong = await client.connection.ping(str(time.time_ns() // 1_000_000))
                self._state.counts["pings"] += 1
                await asyncio.wait_for(asyncio.shield(pong), self._state.options.pong_within_s)
            except TimeoutError:
                self._state.counts["pong_timeouts"] += 1
                await client.close(POLICY, "Pong timeout")
            except ConnectionClosed:
                return

    async def _end(self, client: Client) -> None:
        notice = min(self._state.options.notice_s, self._state.options.lifetime_s / 2)
        await asyncio.sleep(self._state.options.lifetime_s - notice)
        await self.shut(client, notice)

    async def shut(self, client: Client, notice_s: float) -> None:
        shutdown: dict[str, Any] = {
            "e": "serverShutdown",
            "E": self._state.exchange_us() // (1 if client.in_microseconds else 1000),
        }
        self._reply(client, {"stream": "!serverShutdown", "data": shutdown} if client.combined else shutdown)
        self._state.counts["shutdowns"] += 1
        await asyncio.sleep(notice_s)
        await client.close(1001, "serverShutdown")
