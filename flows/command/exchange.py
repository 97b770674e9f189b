"""`pairflow exchange`: the local exchange alone."""

import argparse
import sys
from typing import Final

import msgspec

from flows.command.configured import load
from flows.command.telling import say
from flows.errors import UserError

# of the local exchange: what a value other than the default does. In words, for `pairflow exchange -h`
FAULTS: Final = {
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
    from flows.sandbox.background import serve
    from flows.sandbox.faults import Faults
    from flows.sandbox.market import DEFAULT_SYMBOLS
    from flows.sandbox.options import Options

    faults = {}
    for fault in options.fault:
        name, _, value = fault.partition("=")
        if name not in FAULTS:
            raise UserError(
                f"exchange: --fault {fault}: there is no fault {name!r}: choose of {', '.join(FAULTS)}"
            )
        try:
            written = value if name == "rest_endpoint" else msgspec.json.decode(value)
            faults[name] = getattr(msgspec.convert({name: written}, Faults), name)
        except msgspec.MsgspecError as error:
            why = (
                "a value after ="
                if not value
                else str(error).partition(" - at")[0].removeprefix("Expected ").replace("`", "")
            )
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
