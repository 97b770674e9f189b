"""`pairflow run`: the pipeline, live."""

import argparse
import contextlib
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flows.command.configured import load
from flows.command.simulated import erase, simulated
from flows.command.telling import REPORT_S, say
from flows.runtime.interrupts import stopping_on_signals


def run(options: argparse.Namespace) -> int:
    from flows.runtime.running import of_its_own

    settings = of_its_own(load(options))
    if not settings.source.simulated:
        return stream(settings, options.workers, None, options.fresh)
    erase(settings.questdb)
    with simulated(settings) as settings:
        return stream(settings, options.workers, None)


def stream(settings: Any, workers: int, seconds: float | None, fresh: bool = False) -> int:
    """Run the pipeline on the exchange of the settings until a signal, or for so many seconds."""
    import os
    import threading

    from flows.database.embedded import running
    from flows.database.prepare import prepare
    from flows.database.retention import set_retention
    from flows.database.sink import QuestDBSink
    from flows.database.tally import Tally
    from flows.database.writer import Writer
    from flows.feed.health import Vitals
    from flows.feed.http import Budget
    from flows.feed.proxies import proxy_for
    from flows.feed.venue import VenueApi
    from flows.history.history import Beginning, left_open
    from flows.live.readiness import refuse_unready
    from flows.live.source import ExchangeSource, Options
    from flows.pipeline import pipeline
    from flows.runtime.compiling import telling_of_compiling
    from flows.runtime.running import (
        compare_recovery,
        execute,
        forget_recovery,
        open_recovery,
        own_recovery,
        refuse_unforgettable,
    )
    from flows.runtime.stop import Stop
    from flows.steps import warm_up
    from flows.venues import venue_named
    from flows.watchers.audit import Auditor
    from flows.watchers.monitor import Monitor

    heartbeat = os.environ.get("PAIRFLOW_HEARTBEAT")
    stop, tally = Stop(), Tally()
    with own_recovery(settings):
        refuse_unforgettable(settings) if fresh else compare_recovery(settings)
        venues = {source.exchange: venue_named(source.market.name) for source in settings.sources}
        for source in settings.sources:
            symbols = settings.natives_of(source)
            refuse_unready(venues[source.exchange], source.rest_url, symbols, source.stream)
            proxy_for(source.ws_url)  # refused here where its variable names none
        with running(settings.questdb, say) as endpoint:
            prepare(endpoint)
            set_retention(endpoint, **msgspec.to_builtins(settings.retention))
            with telling_of_compiling(say):
                warm_up(settings)
            if fresh:
                forget_recovery(settings)  # not before all else is ready: a start that fails leaves it
            recovery = open_recovery(settings)
            say(where_to_look(settings, endpoint))
            vitals = Vitals(settings.symbols)
            budgets = {source.exchange: Budget() for source in settings.sources}

            def api(source: Any) -> VenueApi:
                return venues[source.exchange].api(source.rest_url, budget=budgets[source.exchange])

            apis = {source.exchange: api(source) for source in settings.sources}
            beginning = Beginning(settings, endpoint, apis, say, lambda: bool(stop))
            shared = Options(budgets=budgets, vitals=vitals, left_open=left_open(settings, endpoint))
            live = ExchangeSource(settings, stop, shared, beginning)
            sink = QuestDBSink(
                lambda: Writer(endpoint, log=say, stop=stop), tally, Path(heartbeat) if heartbeat else None
            )
            flow = pipeline(settings, live, sink, lambda: beginning.states)
            timer = threading.Timer(seconds, stop.set) if seconds else None
            if timer:
                timer.start()
            try:
                with contextlib.ExitStack() as company:
                    company.enter_context(stopping_on_signals(stop))
                    company.enter_context(tally.reported(say, REPORT_S))
                    for source in settings.sources:
                        for watcher in (Monitor, Auditor):
                            company.enter_context(watcher(settings, source, endpoint, api(source), vitals))
                    execute(
                        flow,
                        recovery=recovery,
                        every=timedelta(microseconds=settings.recovery.every_us),
                        workers=workers,
                    )
            finally:
                if timer:
                    timer.cancel()
            say(f"stopped; written: {tally.summary()}")
    return 0


def where_to_look(settings: Any, endpoint: Any) -> str:
    pairs = ", ".join(pair.name for pair in settings.pairs)
    addresses = " and ".join(source.ws_url for source in settings.sources)
    own = settings.source.simulated
    command = f"`pairflow questdb --dir {shlex.quote(str(settings.questdb.dir))}` shows its login"
    login = command if settings.questdb.embedded else "its login is that of your server"
    return (
        f"streaming {', '.join(settings.symbols)} from {addresses}; pairs {pairs or 'none'}\n"
        f"look: QuestDB's console http://{endpoint.host}:{endpoint.http_port} (try: SELECT * FROM signals LIMIT -20; {login}), "
        f"PostgreSQL at {endpoint.host}:{endpoint.pg_port}; Ctrl-C stops"
        + (
            f"\nthe market is simulated: its database is {settings.questdb.dir}, emptied at each start"
            if own
            else ""
        )
    )
