"""`pairflow replay`: recorded trades through the same dataflow as live ones."""

import argparse
import contextlib
import shlex
import sys
import time
from datetime import timedelta
from typing import Any, Final

import msgspec

from flows.command.configured import in_dir, load
from flows.command.telling import REPORT_S, progress, say
from flows.errors import UserError
from flows.runtime.interrupts import stopping_on_signals

REPLAY_EPOCH: Final = timedelta(seconds=10)


def replay(options: argparse.Namespace) -> int:
    from flows.database.embedded import running
    from flows.database.prepare import prepare
    from flows.database.retention import ttl_would_drop
    from flows.database.sink import AWAITED, QuestDBSink
    from flows.database.tally import Tally
    from flows.database.wal import settle
    from flows.database.writer import Writer
    from flows.pipeline import pipeline
    from flows.replay.source import RecordingSource
    from flows.runtime.compiling import telling_of_compiling
    from flows.runtime.running import execute
    from flows.runtime.stop import Stop
    from flows.steps import warm_up

    settings, recording = recorded(options, load(options))
    stop, tally = Stop(), Tally()
    with running(settings.questdb, say) as endpoint:
        prepare(endpoint)
        if why := ttl_would_drop(endpoint, recording.first_us, recording.last_us):
            raise UserError(f"replay: {why}")
        with telling_of_compiling(say):
            warm_up(settings)
        source = RecordingSource(settings, recording, stop, options.speed)
        flow = pipeline(
            settings,
            source,
            QuestDBSink(
                lambda: Writer(endpoint, log=say, stop=stop),
                tally,
                awaited=() if options.speed is None else AWAITED,
            ),
        )
        began = time.monotonic()
        with (
            stopping_on_signals(stop),
            tally.reported(say, REPORT_S) if options.speed else contextlib.nullcontext(),
        ):
            execute(flow, recovery=None, every=REPLAY_EPOCH, workers=options.workers)
        settle(endpoint)
        took, summary = time.monotonic() - began, source.summary
        if not stop and not tally.rows["trades"]:
            raise UserError(
                f"replay: no trade was left of the recordings{summary.left_out()}: nothing was written; "
                "correct the recordings"
            )
        print(
            f"{'interrupted' if stop else 'replayed'}: {tally.summary()} in {took:.1f} s "
            f"({tally.rows['trades'] / took:,.0f} trades/s){summary.left_out()}"
        )
        for line in filter(None, (summary.cut_off(), summary.advice)):
            print(line)
        if settings.questdb.embedded:
            where = f" --dir {shlex.quote(str(options.dir))}" if options.dir is not None else ""
            print(
                f"look: the database is in {settings.questdb.dir}; `pairflow questdb{where}` serves it, "
                f"`pairflow export TABLE -o FILE{where}` writes it"
            )
    return 0


def recorded(options: argparse.Namespace, settings: Any) -> tuple[Any, Any]:
    """The settings of a replay, and its recording. Reports symbols that only one of them has."""
    from flows.replay.recordings import Recording, symbols_in

    only = settings.source.market if len(settings.sources) == 1 else None
    look = symbols_in(options.files, progress(sys.stderr, "looking"), market=only)
    known = set(look.symbols) & set(settings.symbols)
    if not known:
        raise UserError(
            f"replay: the recordings hold {', '.join(look.symbols[:5]) or 'no symbol'}, the configuration "
            f"{', '.join(settings.symbols)}: "
            "add the pair or source.symbols to the configuration"
        )
    if left := sorted(set(look.symbols) - known):
        say(f"left out, not in the configuration: {', '.join(left)}")
    if absent := [symbol for symbol in settings.symbols if symbol not in known]:
        pairs = [pair.name for pair in settings.pairs if not {pair.y, pair.x} <= known]
        say(
            f"not in the recordings: {', '.join(absent)}"
            + (f"; no signals of {', '.join(pairs)}" if pairs else "")
        )
    if not look.ids:
        say("the trades have no ids: numbered 1, 2, 3 … in the order of time, price, quantity and side")
    if sideless := [file.path.name for file in look.files if not file.sides]:
        say(
            f"nothing says who took the trades of {', '.join(sideless[:3])}: side, buy_volume and what is "
            "computed from them stay NULL"
        )
    settings = msgspec.structs.replace(
        settings,
        sources=tuple(
            msgspec.structs.replace(source, stream=look.stream_of(source.market) or source.stream)
            for source in settings.sources
        ),
        questdb=in_dir(settings.questdb, options.dir),
    )
    near = settings.questdb.dir.parent if settings.questdb.embedded else None
    reading = None if options.speed else progress(sys.stderr, "replaying")
    return settings, Recording(look, settings.symbols, near, say, progress(sys.stderr, "sorting"), reading)
