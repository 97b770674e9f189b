"""The streams of the local exchange: what has happened, as messages to the clients that subscribed to it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from flows.feed.frames import STREAMS
from flows.sandbox.client import Client, framed
from flows.sandbox.state import State
from flows.sandbox.tape import Tape

FULL_BYTES: Final = 4 << 20  # unsent bytes of a client at which the market clock waits for it
PATIENCE_S: Final = 15.0  # for such a client, but at full speed
SHUFFLE_HOLD_S: Final = 0.2  # how long messages wait for others to be shuffled with
JUNK: Final = (
    b"",
    b"{",
    b"null",
    b"[1,2",
    b"not json",
    b"\xc3\xa9\xc3\xa9",
    b'{"e":"trade"}',
    b'{"stream":"x@trade","data":{"e":"news","s":"X"}}',
)


class Streams:
    """Sends each client its streams, in the order of the market, and with the faults that are to be."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sent: dict[tuple[str, str], int] = {}

    def skip(self) -> None:
        """Take what has happened so far as sent."""
        for symbol, tape in self._state.source.tapes.items():
            for stream in STREAMS:
                self._sent[symbol, stream] = tape.happened(stream, self._state.now_us)

    async def full(self) -> bool:
        """Whether a client has so much before it that the market has to wait. One that does not read for long
        is cut off.
        """
        full = False
        now = time.monotonic()
        for client in list(self._state.clients.values()):
            if client.unsent() < FULL_BYTES:
                client.full_since = None
                continue
            full = True
            client.full_since = client.full_since or now
            if not self._state.source.unpaced and now - client.full_since > PATIENCE_S:
                self._state.counts["slow_clients_cut"] += 1
                client.connection.transport.abort()
        return full

    def send(self) -> None:
        news: dict[str, tuple[Tape, str, str, int, int]] = {}
        venue, faults = self._state.venue, self._state.faults
        for symbol, tape in self._state.source.tapes.items():
            for stream in STREAMS:
                upto = tape.happened(stream, self._state.now_us)
                begin = self._sent[symbol, stream]
                if upto > begin and symbol not in faults.delisted:
                    news[venue.stream_name(symbol, stream)] = (tape, symbol, stream, begin, upto)
                self._sent[symbol, stream] = upto
        encoded: dict[tuple[frozenset[str], bool, bool], list[bytes]] = {}
        for client in list(self._state.clients.values()):
            names = frozenset(name for name in news if name in client.streams)
            key = (names, client.combined, client.in_microseconds)
            if names and key not in encoded:
                encoded[key] = self._encoded(
                    [news[name] for name in news if name in names], client.combined, client.in_microseconds
                )
            self._push(client, encoded[key] if names else [])

    def _encoded(
        self, news: list[tuple[Tape, str, str, int, int]], combined: bool, in_microseconds: bool
    ) -> list[bytes]:
        texts: list[bytes] = []
        times = []
        for tape, symbol, stream, begin, upto in news:
            rows = tape.rows(stream)
            chosen: Any = slice(begin, upto)
            lost = [ids for ids in self._state.faults.lost if ids.symbol == symbol]
            if lost:
                first, last = rows["first"][chosen], rows["last"][chosen]
                kept = ~np.logical_or.reduce([(last >= ids.first) & (first <= ids.last) for ids in lost])
                self._state.counts["lost"] += int(np.count_nonzero(~kept))
                chosen = begin + np.flatnonzero(kept)
            frames = rows.frames(chosen)
            frames = replace(frames, event_ts=frames.event_ts + self._state.faults.skew_us)
            first, last = rows["first"][chosen], rows["last"][chosen]
            texts += self._state.venue.trades(symbol, stream, frames, first, last, combined, in_microseconds)
            times.append(np.stack([rows["turn"][chosen], rows["at"][chosen]]))
        if len(news) == 1:
            return texts
        return [texts[k] for k in np.lexsort(np.concatenate(times, axis=1)).tolist()]

    def _push(self, client: Client, texts: list[bytes]) -> None:
        faults = self._state.faults
        if faults.silent:
            self._state.counts["silenced"] += len(texts)
            return
        if faults.drop or faults.duplicate or faults.junk or faults.half or faults.zero:
            texts = list(self._spoiled(client, texts))
        if faults.shuffle > 1 or client.held:
            client.held += texts
            now = time.monotonic()
            if len(client.held) < faults.shuffle and now - client.held_since < SHUFFLE_HOLD_S:
                return
            client.held_since = now
            places = [k + client.rng.random() * max(faults.shuffle, 1) for k in range(len(client.held))]
            texts = [client.held[k] for k in sorted(range(len(places)), key=places.__getitem__)]
            client.held = []
        if texts:
            self._state.counts["messages"] += len(texts)
            client.write(b"".join(map(framed, texts)))

    def _spoiled(self, client: Client, texts: list[bytes]) -> Iterator[bytes]:
        faults, chance = self._state.faults, client.rng.random
        for text in texts:
            if faults.junk and chance() < faults.junk:
                self._state.counts["junk"] += 1
                yield client.rng.choice(JUNK)
            if faults.drop and chance() < faults.drop:
                self._state.counts["dropped"] += 1
            elif faults.half and chance() < faults.half:
                self._state.counts["halved"] += 1
                yield text[: len(text) // 2]
            elif faults.zero and chance() < faults.zero:
                self._state.counts["zeroed"] += 1
                before, _, after = text.partition(b'"p":"')
                yield before + b'"p":"0.00000000' + after[after.index(b'"') :]
            else:
                yield text
                if faults.duplicate and chance() < faults.duplicate:
                    self._state.counts["duplicated"] += 1
                    yield text
