"""The `pairflow` command."""

import argparse
import contextlib
import io
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from flows.errors import UserError
from flows.runtime.interrupts import interruptible, stopping_on_signals

REPORT_S: Final = 10.0
REPLAY_EPOCH: Final = timedelta(seconds=10)
DEMO: Final = Path(__file__).parents[1] / "sandbox" / "demo.yaml"
DEMO_RATE: Final = 15.0  # trades a second and symbol
DEMO_HISTORY_S: Final = 7_200.0  # the market began so long ago: every window fills while one looks on
DEMO_CATCH_UP: Final = 120.0
MOST: Final = 1e6  # of any number on the command line: 11 days in seconds
CHILD_START_S: Final = 30.0
FAULTS: Final = {  # of the local exchange: what a value other than the default does. In words, for `pairflow exchange -h`
    "drop": "share of messages lost",
    "duplicate": "share sent twice",
    "shuffle": "messages out of order within so many",
    "junk": "share preceded by garbage",
    "half": "share cut in half",
    "zero": "share with price 0",
    "silent": "true: nothing comes",
    "paused": "true: the clock stands",
    "no_pings": "true: no pings",
    "handshake_delay_s": "slow connects",
    "ws_status": "connects refused with this HTTP status",
    "skew_us": "wrong exchange clock",
    "rest_delay_s": "slow REST",
    "rest_lag_us": "late REST",
    "rest_status": "REST refused with this HTTP status",
    "rest_failures": "so many times",
    "rest_endpoint": "at this one only, such as historicalTrades",
    "subscribe_failures": "so many SUBSCRIBE requests refused",
    "mute_refusals": "true: refused without an answer",
    "retry_after_s": "and its Retry-After",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 after one line that says what is wrong. To be interrupted is no mistake, but a check has then not passed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # in a locale without · and ü a name is escaped, as on standard error
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    with interruptible():
        try:
            code: int = options.verb(options)
        except UserError as error:
            print(f"pairflow: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:
            sys.stderr.close()
            return 1
        except KeyboardInterrupt:
            print("pairflow: interrupted; nothing is left half-written", file=sys.stderr)
            return 1 if options.verb is check else 0
        return code


def parser() -> argparse.ArgumentParser:
    """Every verb and its options, with the text that `-h` shows."""
    top = argparse.ArgumentParser(
        prog="pairflow",
        description="Live trades of an exchange to statistical-arbitrage signals in QuestDB, watched in Grafana.",
        epilog="examples:\n"
        "  pairflow demo                                  everything, on a simulated market; nothing to set up\n"
        "  pairflow check && pairflow run                 the pipeline on pipeline.yaml\n"
        "  pairflow replay --dir /tmp/day trades.csv.gz   recorded trades through the same flow\n"
        "  pairflow export signals --format parquet -o signals.parquet --pair BTCUSDT-ETHUSDT\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--config", type=Path, metavar="FILE", help="the configuration (default: pipeline.yaml in this directory)")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(
        name: str, function: Callable[[argparse.Namespace], int], text: str, more: str = "", last: str | None = None
    ) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip(), epilog=last)
        added.set_defaults(verb=function)
        return added

    verb("init", init, "write a pipeline.yaml to begin with", "Into this directory, or as the FILE of --config. One that is there stays.")
    run_ = verb("run", run, "the pipeline, live", "Resumes where it stopped; Ctrl-C writes what is under way and ends it.")
    run_.add_argument("--fresh", action="store_true", help="forget the recovery store and begin at the newest trade")
    add_workers(run_)
    replay_ = verb(
        "replay",
        replay,
        "recorded trades through the same flow",
        "Event time only: the speed changes no row, and a second replay changes none.",
    )
    replay_.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="recorded trades: frames, JSON, CSV, Parquet, Feather, packed or not"
    )
    replay_.add_argument("--speed", type=positive, metavar="N", help="times the market's own speed (default: as fast as possible)")
    add_dir(replay_)
    add_workers(replay_)
    demo_ = verb("demo", demo, "everything on a simulated market", "Its database is its own (.pairflow/demo) and begins empty each time.")
    demo_.add_argument("--seconds", type=positive, metavar="N", help="end by itself after N seconds of streaming")
    demo_.add_argument("--http-port", type=port, metavar="P", help="of its QuestDB (default 9000)")
    demo_.add_argument("--pg-port", type=port, metavar="P", help="of its QuestDB (default 8812)")
    add_exchange(
        verb(
            "exchange",
            exchange,
            "the local exchange alone",
            "Speaks Binance's streams and REST on one port of 127.0.0.1.",
            "faults: " + ", ".join(f"{name} ({what})" for name, what in FAULTS.items()),
        )
    )
    verb("check", check, "what is ready and what is not", "Exit code 0 when everything is.")
    export_ = verb("export", export_table, "a table to CSV or Parquet")
    export_.add_argument("table", metavar="TABLE")
    export_.add_argument("--format", choices=("csv", "parquet"), help="default: what FILE's ending says, else csv")
    export_.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="ends in .csv, .csv.gz, .csv.bz2, .csv.xz, .csv.zst or .parquet; - is standard output",
    )
    export_.add_argument("--start", metavar="TIME", help="first ts, such as 2024-08-09 or 2024-08-09T00:05:00Z")
    export_.add_argument("--end", metavar="TIME", help="ts before this time")
    for name in ("symbol", "pair", "timeframe"):
        export_.add_argument(f"--{name}")
    add_dir(export_)
    add_dir(verb("questdb", questdb, "the embedded database alone"))
    return top


def add_workers(to: argparse.ArgumentParser) -> None:
    to.add_argument("--workers", type=count, default=1, metavar="N", help="worker threads (default 1: the fastest for one connection)")


def add_dir(to: argparse.ArgumentParser) -> None:
    to.add_argument("--dir", type=directory, metavar="DIR", help="an embedded database of its own in DIR")


def add_exchange(to: argparse.ArgumentParser) -> None:
    to.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings to play (default: a simulated market)")
    to.add_argument("--port", type=port, default=9443, metavar="P", help="(default 9443)")
    to.add_argument("--seed", type=int, default=1, metavar="S", help="of the simulated market and of injected faults")
    to.add_argument(
        "--begin", choices=("subscription", "now"), default="", help="when to begin (default: a recording at the first subscription)"
    )
    to.add_argument("--speed", type=positive, default=1.0, metavar="N", help="recording: times the market's own speed")
    to.add_argument("--as-fast-as-possible", action="store_const", dest="speed", const=0.0, help="recording: as fast as clients read")
    to.add_argument(
        "--since", type=seconds_or_time, metavar="T", help="recording: begin at this time, or so many seconds after its first trade"
    )
    to.add_argument("--symbols", nargs="+", metavar="SYMBOL", help="market: (default BTCUSDT ETHUSDT BNBUSDT SOLUSDT)")
    to.add_argument("--rate", type=positive, default=40.0, metavar="N", help="market: trades a second and symbol on average (default 40)")
    to.add_argument(
        "--history", type=positive, default=0.0, metavar="S", help="market: begin so many seconds ago and catch up with the clock"
    )
    to.add_argument("--catch-up", type=positive, default=90.0, metavar="N", help="market: times its own speed until then (default 90)")
    to.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="inject a fault of those below, such as drop=0.01",
    )
    to.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)  # a child of `demo` ends with it, however that ends


def positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) <= MOST:
            return value
    raise argparse.ArgumentTypeError(f"expected a number above 0 and up to {MOST:,.0f}, got {text!r}")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def directory(text: str) -> Path:
    if not text:  # a variable of the shell that is not set: the current directory would become a database
        raise argparse.ArgumentTypeError("expected a directory, got ''")
    return Path(text)


def when(text: str) -> int:
    """A time as µs since the epoch; without a zone it is UTC."""
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2024-08-09T00:05:00Z, got {text!r}") from None
    return round((time_ if time_.tzinfo else time_.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def seconds_or_time(text: str) -> int:
    """A time, or a number of seconds, in µs."""
    try:
        seconds = float(text)
    except ValueError:
        return when(text)
    if not abs(seconds) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a time, or up to {MOST:,.0f} seconds, got {text!r}")
    return round(seconds * 1_000_000)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load(options: argparse.Namespace) -> Any:
    from flows.settings.decoding import load as load_settings

    return load_settings(options.config or Path("pipeline.yaml"))


def init(options: argparse.Namespace) -> int:
    from importlib.resources import files

    path = options.config or Path("pipeline.yaml")
    try:
        with path.open("xb") as file:
            file.write((files("flows.settings") / "pipeline.yaml").read_bytes())
    except FileExistsError:
        raise UserError(f"init: {path} is there already: edit it, or name another file with --config") from None
    except OSError as error:
        raise UserError(f"init: {path} cannot be written ({error.strerror}): name another file with --config") from None
    print(f"{path}: written. Edit its pairs, then `pairflow check` says what is ready and `pairflow run` starts")
    return 0


def run(options: argparse.Namespace) -> int:
    from flows.runtime.running import of_its_own

    settings = of_its_own(load(options))
    if settings.source.exchange != "simulated":
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
    from flows.feed.proxies import proxy_for
    from flows.history.history import Beginning, left_open
    from flows.live.source import ExchangeSource, Options
    from flows.pipeline import pipeline
    from flows.runtime.compiling import telling_of_compiling
    from flows.runtime.running import compare_recovery, execute, forget_recovery, open_recovery, own_recovery, refuse_unforgettable
    from flows.runtime.stop import Stop
    from flows.steps import warm_up
    from flows.venues.binance.readiness import refuse_unready
    from flows.venues.binance.rest import Api, Budget
    from flows.watchers.audit import Auditor
    from flows.watchers.monitor import Monitor

    heartbeat = os.environ.get("PAIRFLOW_HEARTBEAT")
    stop, tally = Stop(), Tally()
    with own_recovery(settings):
        refuse_unforgettable(settings) if fresh else compare_recovery(settings)
        refuse_unready(settings.source.rest_url, settings.symbols, settings.source.stream)
        proxy_for(settings.source.ws_url)  # refused here where its variable names none
        with running(settings.questdb, say) as endpoint:
            prepare(endpoint)
            set_retention(endpoint, **msgspec.to_builtins(settings.retention))
            with telling_of_compiling(say):
                warm_up(settings)
            if fresh:
                forget_recovery(settings)  # not before all else is ready: a start that fails leaves it
            recovery = open_recovery(settings)
            say(where_to_look(settings, endpoint))
            budget, vitals = Budget(), Vitals(settings.symbols)

            def api() -> Api:
                return Api(settings.source.rest_url, budget=budget)

            beginning = Beginning(settings, endpoint, api(), say, lambda: bool(stop))
            source = ExchangeSource(
                settings, stop, Options(budget=budget, vitals=vitals, left_open=left_open(settings, endpoint)), beginning
            )
            sink = QuestDBSink(lambda: Writer(endpoint, log=say, stop=stop), tally, Path(heartbeat) if heartbeat else None)
            flow = pipeline(settings, source, sink, lambda: beginning.states)
            timer = threading.Timer(seconds, stop.set) if seconds else None
            if timer:
                timer.start()
            try:
                with (
                    stopping_on_signals(stop),
                    tally.reported(say, REPORT_S),
                    Monitor(settings, endpoint, api(), vitals),
                    Auditor(settings, endpoint, api(), vitals),
                ):
                    execute(flow, recovery=recovery, every=timedelta(microseconds=settings.recovery.every_us), workers=workers)
            finally:
                if timer:
                    timer.cancel()
            say(f"stopped; written: {tally.summary()}")
    return 0


def where_to_look(settings: Any, endpoint: Any) -> str:
    pairs = ", ".join(pair.name for pair in settings.pairs)
    own = settings.source.exchange == "simulated"
    command = f"`pairflow questdb --dir {shlex.quote(str(settings.questdb.dir))}` shows its login"
    login = command if settings.questdb.embedded else "its login is that of your server"
    return (
        f"streaming {', '.join(settings.symbols)} from {settings.source.ws_url}; pairs {pairs or 'none'}\n"
        f"look: QuestDB's console http://{endpoint.host}:{endpoint.http_port} (try: SELECT * FROM signals LIMIT -20; {login}), "
        f"PostgreSQL at {endpoint.host}:{endpoint.pg_port}; Ctrl-C stops"
        + (f"\nthe market is simulated: its database is {settings.questdb.dir}, emptied at each start" if own else "")
    )


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
            QuestDBSink(lambda: Writer(endpoint, log=say, stop=stop), tally, awaited=() if options.speed is None else AWAITED),
        )
        began = time.monotonic()
        with stopping_on_signals(stop), tally.reported(say, REPORT_S) if options.speed else contextlib.nullcontext():
            execute(flow, recovery=None, every=REPLAY_EPOCH, workers=options.workers)
        settle(endpoint)
        took, summary = time.monotonic() - began, source.summary
        if not stop and not tally.rows["trades"]:
            raise UserError(f"replay: no trade was left of the recordings{summary.left_out()}: nothing was written; correct the recordings")
        print(
            f"{'interrupted' if stop else 'replayed'}: {tally.summary()} in {took:.1f} s "
            f"({tally.rows['trades'] / took:,.0f} trades/s){summary.left_out()}"
        )
        for line in filter(None, (summary.cut_off(), summary.advice)):
            print(line)
        if settings.questdb.embedded:
            where = f" --dir {shlex.quote(str(options.dir))}" if options.dir is not None else ""
            print(
                f"look: the database is in {settings.questdb.dir}; `pairflow questdb{where}` serves it, `pairflow export TABLE -o FILE{where}` writes it"
            )
    return 0


def recorded(options: argparse.Namespace, settings: Any) -> tuple[Any, Any]:
    """The settings of a replay and its recording, in order; says what one has and the other has not."""
    from flows.replay.recordings import Recording, symbols_in

    look = symbols_in(options.files, progress(sys.stderr, "looking"))
    known = set(look.symbols) & set(settings.symbols)
    if not known:
        raise UserError(
            f"replay: the recordings hold {', '.join(look.symbols[:5]) or 'no symbol'}, the configuration {', '.join(settings.symbols)}: "
            "add the pair or source.symbols to the configuration"
        )
    if left := sorted(set(look.symbols) - known):
        say(f"left out, not in the configuration: {', '.join(left)}")
    if absent := [symbol for symbol in settings.symbols if symbol not in known]:
        pairs = [pair.name for pair in settings.pairs if not {pair.y, pair.x} <= known]
        say(f"not in the recordings: {', '.join(absent)}" + (f"; no signals of {', '.join(pairs)}" if pairs else ""))
    if not look.ids:
        say("the trades have no ids: numbered 1, 2, 3 … in the order of time, price, quantity and side")
    if sideless := [file.path.name for file in look.files if not file.sides]:
        say(f"nothing says who took the trades of {', '.join(sideless[:3])}: side, buy_volume and what is computed from them stay NULL")
    settings = msgspec.structs.replace(
        settings,
        source=msgspec.structs.replace(settings.source, stream=look.stream),
        questdb=in_dir(settings.questdb, options.dir),
    )
    beside = settings.questdb.dir.parent if settings.questdb.embedded else None
    reading = None if options.speed else progress(sys.stderr, "replaying")
    return settings, Recording(look, settings.symbols, beside, say, progress(sys.stderr, "sorting"), reading)


def in_dir(database: Any, directory: Path | None) -> Any:
    """The database, or (--dir) an embedded one in a directory of its own, on ports that are free."""
    if directory is None:
        return database
    from flows.database.embedded import free_ports

    http_port, pg_port = free_ports(database.http_port, database.pg_port)
    return msgspec.structs.replace(database, embedded=True, dir=directory.absolute(), http_port=http_port, pg_port=pg_port)


def progress(to: TextIO, what: str) -> Callable[[int, int], None]:
    """A line on a terminal that shows how far a long work has come; nothing where nobody watches."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if to.isatty() and percent != shown:
            shown = percent
            print(f"\r{what} {percent} %", end="\n" if done >= total else "", file=to, flush=True)

    return show


def demo(options: argparse.Namespace) -> int:
    from flows.settings.decoding import load as load_settings

    settings = load_settings(options.config or DEMO, directory=Path.cwd())
    home = Path.cwd() / ".pairflow" / "demo"
    database = msgspec.structs.replace(
        settings.questdb,
        embedded=True,
        dir=home / "questdb",
        http_port=options.http_port or settings.questdb.http_port,
        pg_port=options.pg_port or settings.questdb.pg_port,
    )
    if database.http_port == database.pg_port:
        raise UserError(f"demo: port {database.http_port} is wanted for both HTTP and PostgreSQL: give --http-port and --pg-port two ports")
    settings = msgspec.structs.replace(
        settings,
        questdb=database,
        recovery=msgspec.structs.replace(settings.recovery, dir=None),
        source=msgspec.structs.replace(settings.source, exchange="simulated"),
    )
    erase(database)
    with simulated(settings) as settings:
        return stream(settings, 1, options.seconds)


def erase(database: Any) -> None:
    """Empty the database of a simulated market, which differs on every run. Its passwords stay."""
    import shutil

    from flows.database.credentials import passwords_file
    from flows.database.embedded import in_use
    from flows.database.keeper import users_lock

    where = database.dir
    if in_use(where):
        raise UserError(f"questdb: {where}: another simulated market or `pairflow questdb` is running on it: stop that first")
    if not where.exists():
        return
    ours, kept = users_lock(where), passwords_file(where)
    if not ours.exists() and any(where.iterdir()):
        raise UserError(f"questdb: {where} is to be emptied for a simulated market, but holds other things: move them, or set questdb.dir")
    for path in where.iterdir():
        if path != ours.parent:  # last, for it says whose the directory is
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kept.exists():  # a Grafana that was given them goes on
        for path in ours.parent.iterdir():
            if path not in (ours, kept):
                path.unlink()
    else:
        shutil.rmtree(where)


@contextlib.contextmanager
def simulated(settings: Any) -> Iterator[Any]:
    """The settings, pointed at a simulated market that a child process plays for the length of the block."""
    import socket
    import subprocess

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port_ = probe.getsockname()[1]
    market = ["--symbols", *settings.symbols, "--rate", str(DEMO_RATE), "--history", str(DEMO_HISTORY_S), "--catch-up", str(DEMO_CATCH_UP)]
    command = [sys.executable, "-m", "flows.command", "exchange", "--port", str(port_), "--until-eof", *market]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + CHILD_START_S
        while not answers(port_):
            if child.poll() is not None or time.monotonic() > deadline:
                raise UserError("exchange: the simulated market did not start; `pairflow exchange` says why")
            time.sleep(0.05)
        source = msgspec.structs.replace(settings.source, ws_url=f"ws://127.0.0.1:{port_}", rest_url=f"http://127.0.0.1:{port_}")
        yield msgspec.structs.replace(settings, source=source)
    finally:
        child.terminate()
        child.wait()
        if child.stdin:
            child.stdin.close()


def answers(port_: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port_), timeout=1).close()
    except OSError:
        return False
    return True


def named(symbol: str) -> str:
    from flows.settings.symbols import symbol_name

    name = symbol_name(symbol)
    if name is None:
        raise UserError(f"exchange: --symbols: {symbol}: expected letters, digits and _, such as BTCUSDT")
    return name


def exchange(options: argparse.Namespace) -> int:
    import os
    import signal
    import threading

    if options.config:
        load(options)  # not needed, but a wrong one is a mistake all the same
    from flows.sandbox.exchange import Faults, Options, serve
    from flows.sandbox.market import DEFAULT_SYMBOLS

    faults = {}
    for fault in options.fault:
        name, _, value = fault.partition("=")
        if name not in FAULTS:
            raise UserError(f"exchange: --fault {fault}: there is no fault {name!r}: choose of {', '.join(FAULTS)}")
        try:
            written = value if name == "rest_endpoint" else msgspec.json.decode(value)
            faults[name] = getattr(msgspec.convert({name: written}, Faults), name)
        except msgspec.MsgspecError as error:
            why = "a value after =" if not value else str(error).partition(" - at")[0].removeprefix("Expected ").replace("`", "")
            raise UserError(f"exchange: --fault {fault}: expected {why}, got {value!r}") from None
    injected = Faults(**faults)
    symbols = list(dict.fromkeys(named(symbol) for symbol in options.symbols or DEFAULT_SYMBOLS))
    if options.until_eof:

        def watch() -> None:
            sys.stdin.read()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, daemon=True).start()
    serve(
        Options(
            paths=options.files,
            port=options.port,
            seed=options.seed,
            speed=options.speed,
            since_us=options.since,
            begin=options.begin,
            symbols=tuple(symbols),
            rate=options.rate,
            history_s=options.history,
            catch_up=options.catch_up,
            faults=injected,
        ),
        say,
    )
    return 0


def questdb(options: argparse.Namespace) -> int:
    from flows.database.embedded import serve

    database = load(options).questdb if options.dir is None else in_dir(known_ports(options), options.dir)
    if not database.embedded:
        raise UserError("questdb: the configuration names a server elsewhere (questdb.embedded: false): start that one")
    return serve(database, say)


def known_ports(options: argparse.Namespace) -> Any:
    """A database on the ports of the configuration, if there is one: with --dir nothing else of it matters."""
    from flows.settings.model import QuestDB

    if options.config is None and not Path("pipeline.yaml").exists():
        return QuestDB()
    try:
        return load(options).questdb
    except UserError as error:
        if options.config:
            raise
        say(f"pipeline.yaml is left out, so its ports are not used: {error}")
        return QuestDB()


def export_table(options: argparse.Namespace) -> int:
    from flows.database.embedded import running
    from flows.database.export import export, refuse_wrong
    from flows.database.prepare import prepare

    chosen = {name: getattr(options, name) for name in ("start", "end", "symbol", "pair", "timeframe")}
    refuse_wrong(options.table, options.format, options.output, **chosen)
    if options.dir is not None and not (options.dir / "db").is_dir():
        raise UserError(f"export: --dir {options.dir}: no database is there: give that of a replay, or the demo's (.pairflow/demo/questdb)")
    with running(exported(options), say) as endpoint:
        prepare(endpoint)
        export(
            endpoint,
            options.table,
            options.format,
            options.output,
            **chosen,
            progress=say,
        )
    return 0


def exported(options: argparse.Namespace) -> Any:
    """The database that an export reads: that of --dir, for which no configuration is needed, else the configured one."""
    from flows.settings.model import QuestDB

    if options.dir is None or options.config:
        settings = load(options)
        if options.dir is None:
            return settings.questdb
    return in_dir(QuestDB(http_port=0, pg_port=0), options.dir)  # any free ports: nobody looks at them


def check(options: argparse.Namespace) -> int:
    from flows.command.check import report

    return report(options.config or Path("pipeline.yaml"))
