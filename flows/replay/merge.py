"""The trades of several recordings in one order of time, without those whose time cannot be theirs."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain

import numpy as np

from flows.binance.messages import LATEST_US, NEIGHBOURS, Frames, join, plausible


def merged(firsts: Sequence[int], batches: Callable[[int], Generator[Frames, None, None]], symbols: int) -> Iterator[Frames]:
    """Batches of several files in one order of time; a file is opened when the others have come to its first trade."""
    waiting = list(range(len(firsts)))
    sources: dict[int, Generator[Frames, None, None]] = {}
    heads: dict[int, Frames] = {}
    with ExitStack() as stack:
        while waiting or sources:
            yield from _refill(sources, heads)
            horizon = min((int(head.ts.max()) for head in heads.values()), default=LATEST_US)
            if waiting and firsts[waiting[0]] <= horizon:
                k = waiting.pop(0)
                sources[k] = batches(k)
                stack.callback(sources[k].close)
                continue
            parts, times = [], []
            for k, head in list(heads.items()):
                reached = np.maximum.accumulate(head.ts)
                n = int(np.searchsorted(reached, horizon, side="right"))
                if n == len(head):
                    parts.append(head)
                    del heads[k]
                elif n:
                    parts.append(head.rows(slice(0, n)))
                    heads[k] = head.rows(slice(n, None)).uncounted()
                times.append(reached[:n])
            if len(parts) == 1:
                yield parts[0]
            elif parts:
                yield join(parts, symbols).rows(np.argsort(np.concatenate(times), kind="stable"))


def _refill(sources: dict[int, Generator[Frames, None, None]], heads: dict[int, Frames]) -> Iterator[Frames]:
    """Give every open file a head with rows; what had only counts comes out."""
    for k in list(sources):
        while k not in heads:
            head = next(sources[k], None)
            if head is None:
                del sources[k]
                break
            if len(head):
                heads[k] = head
            else:
                yield head


def plausible_only(parts: Iterator[tuple[Frames, int]]) -> Iterator[tuple[Frames, int]]:
    """The parts without the trades whose time cannot be theirs: those are counted as rejected. One part is read ahead."""
    before_symbol, before_ts = np.empty(0, np.int32), np.empty(0, np.int64)
    held: tuple[Frames, int] | None = None
    for part in chain(parts, [None]):
        if held is not None:
            frames, position = held
            after = part[0] if part is not None else Frames.none(0)
            start, stop = len(before_ts), len(before_ts) + len(frames)
            symbol = np.concatenate((before_symbol, frames.symbol, after.symbol))
            good = plausible(symbol, np.concatenate((before_ts, frames.ts, after.ts)))[start:stop]
            if not good.all():
                rejected = frames.rejected + np.bincount(frames.symbol[~good], minlength=len(frames.rejected))
                frames = replace(frames.rows(good), rejected=rejected)
            symbol, ts = np.concatenate((before_symbol, frames.symbol)), np.concatenate((before_ts, frames.ts))
            order = np.argsort(symbol, kind="stable")
            last = order[
                np.append(symbol[order][NEIGHBOURS:] != symbol[order][:-NEIGHBOURS], np.ones(min(len(order), NEIGHBOURS), np.bool_))
            ]
            before_symbol, before_ts = symbol[last], ts[last]
            yield frames, position
        held = part
