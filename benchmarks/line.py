"""JSON frames to bars of six timeframes to four pairs' signals: the whole flow without the database, and what
one would write without it.

The peer is the usual way with Bytewax: a dict per message, six `fold_window`s on the event clock, and per
pair and 1s bar a statsmodels fit of the window, with adfuller and coint at the same cadence. Both get the
same frames, pairs and windows, and must agree before they are timed.
"""

import gzip
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import bytewax.operators as op
import bytewax.operators.windowing as win
import numpy as np
import statsmodels.api as sm
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSink, TestingSource, run_main
from statsmodels.tsa.stattools import adfuller, coint

from flows.database.columns import Rows, Symbols
from flows.feed.frames import Frames
from flows.pipeline import pipeline
from flows.replay.source import RecordingSource
from flows.runtime.stop import Stop
from flows.sandbox.market import record
from flows.settings.decoding import decode as settings_of
from flows.settings.model import Settings
from flows.venues.binance.messages import decode

SYMBOLS: Final = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
PAIRS: Final = (
    ("BTCUSDT", "ETHUSDT"),
    ("BNBUSDT", "SOLUSDT"),
    ("BTCUSDT", "BNBUSDT"),
    ("ETHUSDT", "SOLUSDT"),
)
TIMEFRAMES: Final = {"1s": 1, "5s": 5, "10s": 10, "30s": 30, "1m": 60, "5m": 300}
HEDGE, ZSCORE, CORRELATION, ADF, EVERY = 300, 120, 60, 300, 60
BATCH: Final = 1_000
START_US: Final = 1_723_161_600_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# the event clock runs on with the system's: without it a busy moment makes trades late
LATE: Final = timedelta(seconds=10)
CONFIGURATION: Final = f"""
bars: {{timeframes: [{", ".join(TIMEFRAMES)}]}}
defaults:
  timeframes: [1s]
  hedge: {{window: {HEDGE}}}
  zscore: {{window: {ZSCORE}}}
  correlation: {{window: {CORRELATION}}}
  adf: {{window: {ADF}, every: {EVERY}}}
pairs: [{", ".join(f"[{y}, {x}]" for y, x in PAIRS)}]
"""


def frames(seconds: int, rate: float) -> list[bytes]:
    """Recorded messages of a simulated market, the same ones each time."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "market.ndjson.gz"
        record(path, 1, SYMBOLS, START_US, seconds, rate)
        return gzip.decompress(path.read_bytes()).splitlines()


class Kept(StatelessSinkPartition[Any]):
    def __init__(self, rows: list[Rows] | None) -> None:
        self._rows = rows

    def write_batch(self, items: list[Any]) -> None:
        if self._rows is not None:
            self._rows.extend(rows for _, rows in items)


class Keeping(DynamicSink[Any]):
    """A sink that keeps the rows, or with None drops them."""

    def __init__(self, rows: list[Rows] | None) -> None:
        self._rows = rows

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Kept:
        return Kept(self._rows)


def ours(messages: list[bytes], rows: list[Rows] | None = None) -> None:
    """The pipeline as it is, from bytes to rows."""
    settings: Settings = settings_of(CONFIGURATION, "benchmark")
    codes = {symbol: code for code, symbol in enumerate(settings.symbols)}

    def decoded() -> Iterator[Frames]:
        for i in range(0, len(messages), BATCH):
            yield decode(messages[i : i + BATCH], codes, "trade")

    run_main(pipeline(settings, RecordingSource(settings, decoded(), Stop()), Keeping(rows)))


def trade_of(message: bytes) -> tuple[str, dict[str, Any]]:
    trade = json.loads(message)["data"]
    return trade["s"], {
        "us": trade["T"] * 1_000,
        "price": float(trade["p"]),
        "qty": float(trade["q"]),
        "id": trade["t"],
    }


def folded(bar: dict[str, float], trade: dict[str, Any]) -> dict[str, float]:
    price, qty = trade["price"], trade["qty"]
    if not bar:
        return {"us": trade["us"], "open": price, "high": price, "low": price, "close": price, "volume": qty}
    bar["high"], bar["low"], bar["close"] = max(bar["high"], price), min(bar["low"], price), price
    bar["volume"] += qty
    return bar


class PairFits:
    """Closes of both legs, filled forward, and a fit per row."""

    def __init__(self) -> None:
        self.closes: dict[str, list[float]] = {}
        self.first: dict[str, int] = {}
        self.done: int | None = None

    def on(self, leg: str, second: int, close: float, legs: tuple[str, str]) -> list[dict[str, float]]:
        own = self.closes.setdefault(leg, [])
        first = self.first.setdefault(leg, second)
        own.extend([own[-1]] * (second - first - len(own)) if own else [])
        own.append(np.log(close))
        if len(self.closes) < len(legs):
            return []
        start = max(self.first.values())
        end = min(self.first[name] + len(self.closes[name]) for name in legs)
        self.done = start if self.done is None else self.done
        rows = [row for now in range(self.done, end) if (row := self.fit(now, start, legs))]
        self.done = max(self.done, end)
        return rows

    def fit(self, now: int, start: int, legs: tuple[str, str]) -> dict[str, float] | None:
        def window(name: str, rows: int) -> np.ndarray[Any, Any]:
            end = now - self.first[name] + 1
            return np.array(self.closes[name][end - rows : end])

        if now - start + 1 < HEDGE:
            return None
        y, x = (window(name, HEDGE) for name in legs)
        fit = sm.OLS(y, sm.add_constant(x)).fit()
        intercept, hedge_ratio = fit.params
        spread = y[-ZSCORE:] - hedge_ratio * x[-ZSCORE:]
        row = {
            "second": now,
            "hedge_ratio": hedge_ratio,
            "intercept": intercept,
            "r2": fit.rsquared,
            "zscore": (spread[-1] - spread.mean()) / spread.std(ddof=1),
            "correlation": np.corrcoef(np.diff(y[-CORRELATION - 1 :]), np.diff(x[-CORRELATION - 1 :]))[0, 1],
        }
        if now % EVERY == 0:
            row["adf_pvalue"] = adfuller(y - hedge_ratio * x, autolag="AIC", result_object=False)[1]
            row["coint_pvalue"] = coint(y, x)[1]
        return row


def peer(messages: list[bytes], into: dict[str, list[Any]] | None = None) -> None:
    """The same line on `fold_window`s and fits."""
    kept: dict[str, list[Any]] = {name: [] for name in (*TIMEFRAMES, "signals")}
    flow = Dataflow("peer")
    trades = op.map("trade", op.input("frames", flow, TestingSource(messages, batch_size=BATCH)), trade_of)
    clock: Any = EventClock(
        lambda trade: EPOCH + timedelta(microseconds=trade["us"]), wait_for_system_duration=LATE
    )
    bars = {}
    for name, seconds in TIMEFRAMES.items():
        windower = TumblingWindower(length=timedelta(seconds=seconds), align_to=EPOCH)
        bars[name] = win.fold_window(name, trades, clock, windower, dict, folded, lambda a, b: a | b).down
        op.output(f"{name}_out", bars[name], TestingSink(kept[name]))

    def to_pairs(keyed: tuple[str, tuple[int, dict[str, float]]]) -> list[tuple[str, tuple[str, int, float]]]:
        leg, (_, bar) = keyed
        return [
            (f"{y}-{x}", (leg, int(bar["us"]) // 1_000_000, bar["close"])) for y, x in PAIRS if leg in (y, x)
        ]

    def fit_of(pair: tuple[str, str]) -> Any:
        return lambda state, leg: ((state := state or PairFits()), state.on(*leg, pair))

    of_pairs = op.flat_map("pairs", bars["1s"], to_pairs)
    for pair in PAIRS:
        name = "-".join(pair)
        of_pair = op.filter(f"only_{name}", of_pairs, lambda keyed, name=name: keyed[0] == name)  # type: ignore[misc]
        op.output(
            f"{name}_out", op.stateful_map(f"fit_{name}", of_pair, fit_of(pair)), TestingSink(kept["signals"])
        )
    run_main(flow)
    if into is not None:
        into.update(kept)


def disagreements(messages: list[bytes]) -> list[str]:
    """Where the two sides differ: bars of closed windows, signals of each row."""
    rows: list[Rows] = []
    ours(messages, rows)
    theirs: dict[str, list[Any]] = {}
    peer(messages, theirs)
    found = []
    for name, seconds in TIMEFRAMES.items():
        expected = {
            (symbol, int(bar["us"]) // 1_000_000 // seconds * seconds): bar
            for symbol, (_, bar) in theirs[name]
        }
        mine = bars_of(rows, name)
        compared = [(bar, expected[key]) for key, bar in mine.items() if key in expected]
        if len(compared) < len(expected) - len(SYMBOLS):
            found.append(f"{name}: {len(compared)} bars of {len(expected)}")
        found += [
            f"{name}: {column}"
            for column in ("open", "high", "low", "close", "volume")
            if not np.allclose([a[column] for a, _ in compared], [b[column] for _, b in compared], rtol=1e-9)
        ]
    signals = signals_of(rows)
    fits = [(pair, row) for pair, made in theirs["signals"] for row in made]
    if not fits:
        found.append("signals: none")
    for column in ("hedge_ratio", "zscore", "correlation"):
        pairs = [
            (signals[pair, row["second"]][column], row[column])
            for pair, row in fits
            if (pair, row["second"]) in signals
        ]
        if len(pairs) < 0.9 * len(fits) or not np.allclose(*zip(*pairs, strict=True), rtol=1e-6, atol=1e-6):
            found.append(f"signals: {column}")
    return found


def bars_of(rows: list[Rows], timeframe: str) -> dict[tuple[str, int], dict[str, float]]:
    found = {}
    for part in (part for part in rows if part.table == "bars"):
        columns: dict[str, Any] = dict(part.columns)
        symbol, of = columns["symbol"], columns["timeframe"]
        assert isinstance(symbol, Symbols)
        for i in np.flatnonzero(of.codes == of.names.index(timeframe)).tolist():
            bar = {name: float(columns[name][i]) for name in ("open", "high", "low", "close", "volume")}
            found[symbol.names[symbol.codes[i]], int(columns["ts"][i]) // 1_000_000] = bar
    return found


def signals_of(rows: list[Rows]) -> dict[tuple[str, int], dict[str, float]]:
    found = {}
    for part in (part for part in rows if part.table == "signals"):
        columns: dict[str, Any] = dict(part.columns)
        pair = columns["pair"]
        for i in range(len(part)):
            row = {name: float(columns[name][i]) for name in ("hedge_ratio", "zscore", "correlation")}
            found[pair.names[pair.codes[i]], int(columns["ts"][i]) // 1_000_000] = row
    return found
