"""A websocket client of the local exchange, as the exchange sees it."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame
from websockets.protocol import State


class Connection(ServerConnection):
    """A server connection that tells of each frame that comes in."""

    on_frame: Callable[[Frame], None] | None = None

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and self.on_frame is not None:
            self.on_frame(event)
        super().process_event(event)


class Client:
    """One websocket connection: what it is subscribed to and what went wrong on its way."""

    def __init__(
        self, connection: Connection, combined: bool, in_microseconds: bool, rng: random.Random
    ) -> None:
        self.connection, self.combined, self.in_microseconds = connection, combined, in_microseconds
        self.streams: dict[str, None] = {}
        self.rng = rng
        self.incoming: deque[float] = deque()
        self.held: list[bytes] = []
        self.held_since = 0.0
        self.full_since: float | None = None

    def unsent(self) -> int:
        transport = self.connection.transport
        return transport.get_write_buffer_size() if self.connection.state is State.OPEN else 0

    def write(self, frames: bytes) -> None:
        # The library's send() costs 30 µs a message. Frames of ready bytes go straight to its transport:
        # whole and uncompressed, they may.
        if self.connection.state is State.OPEN and not self.connection.transport.is_closing():
            self.connection.transport.write(frames)

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)


def framed(text: bytes) -> bytes:
    """A whole text frame of a server."""
    n = len(text)
    if n < 126:
        return bytes((0x81, n)) + text
    if n < 65_536:
        return b"\x81\x7e" + n.to_bytes(2) + text
    return b"\x81\x7f" + n.to_bytes(8) + text
