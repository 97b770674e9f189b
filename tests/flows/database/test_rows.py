"""The results of operators become rows of the tables, with names instead of codes."""

from dataclasses import fields

import numpy as np
import pytest

from flows.database.columns import Rows, Symbols
from flows.database.encode import checked
from flows.database.rows import Tables, symbols
from flows.database.schema import tables
from flows.sandbox.market import Market
from flows.settings.decoding import decode
from flows.steps import bar_builder, measurer, watch
from operators.activity import Activity
from operators.columns import MINUTE_US, SECOND_US, Bars, Flags, Floats, Longs, Trades, stored
from operators.results import Cointegration, Signals, Watched

START_US = 1_723_161_600_000_000
SETTINGS = decode(
    """
bars: {timeframes: [1s, 1m]}
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    timeframes: [1m]
    hedge: {window: 20}
    zscore: {window: 10}
    adf: {window: 30, every: 10}
  - {legs: [BTCUSDT, SOLUSDT], timeframes: [1s]}
alerts:
  - {name: high, metric: price, symbol: BTCUSDT, above: 1, priority: low, timeframes: [1m]}
""",
    "pipeline.yaml",
)
TWO_METHODS = """
bars: {timeframes: [1m]}
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    hedge: {method: [tls, ols], window: 20}
    zscore: {window: 10}
    adf: {window: 30, every: 10}
source: {symbols: [SOLUSDT]}
alerts:
  - {name: z, metric: zscore, outside: 1}
  - {name: high, metric: price, symbol: BTCUSDT, above: 1}
"""
KINDS: dict[object, str] = {Floats: "DOUBLE", Longs: "LONG", Flags: "BOOLEAN"}
BTC, ETH, SOL = (SETTINGS.symbols.index(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))


def words(column: object) -> list[str | None]:
    assert isinstance(column, Symbols)
    return [(*column.names, None)[code] for code in column.codes]


@pytest.fixture(scope="module")
def trades() -> Trades:
    market = Market(3, SETTINGS.symbols, START_US, 0.2)
    seconds = [market.second() for _ in range(3_000)]
    columns = [
        np.concatenate([getattr(second, name) for second in seconds])
        for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker")
    ]
    n = len(columns[0])
    return Trades(
        *columns, np.ones(n, np.int64), np.zeros(n, np.bool_), np.full(3, START_US + 3_000 * SECOND_US)
    )


@pytest.fixture(scope="module")
def bars(trades: Trades) -> Bars:
    return bar_builder(SETTINGS)._builder.update(trades)


def minutes(bars: Bars) -> Bars:
    return bars.rows(bars.timeframe == MINUTE_US)


def complete(rows: Rows) -> bool:
    """Whether the rows have every column of their table, of its type."""
    return set(checked(rows).columns) == set(tables()[rows.table].columns)


OF_PAIR, OF_SYMBOL = ("ts", "pair", "timeframe", "method"), ("ts", "symbol", "timeframe")
OF_RULE = ("ts", "rule", "subject", "timeframe", "priority", "metric", "threshold", "side", "method")
# the columns that do not come from a struct's fields; codes become names
STRUCTS = {
    "trades": (Trades, ("ts", "symbol", "side")),
    "bars": (Bars, (*OF_SYMBOL, "vwap")),
    "signals": (Signals, OF_PAIR),
    "cointegration": (Cointegration, OF_PAIR),
    "activity": (Activity, OF_SYMBOL),
    "alerts": (Watched, OF_RULE),
}


@pytest.mark.parametrize("table", STRUCTS)
def test_the_fields_of_results_are_the_columns_of_their_tables_in_their_order_and_of_their_types(
    table: str,
) -> None:
    struct, keys = STRUCTS[table]
    types = {column.name: column.type for column in fields(struct)}
    found = [(name, KINDS[types[name]]) for name in stored(struct) if name not in keys]
    assert found == [(name, type_) for name, type_ in tables()[table].columns.items() if name not in keys]
    assert set(keys) <= tables()[table].columns.keys()


def test_rows_of_results_have_the_fields_that_are_stored_and_the_keys_in_the_place_of_others() -> None:
    nothing, n = np.zeros(2), np.zeros(2, np.int64)
    activity = Activity(
        n.astype(np.int32), n, *(nothing + k for k in range(len(fields(Activity)) - 4)), nothing, n == 1
    )
    rows = Rows.of(
        "activity", {"ts": n + 5, "symbol": symbols(["b", "a"]), "timeframe": symbols(["1s", "1s"])}, activity
    )
    assert list(rows.columns) == ["ts", "symbol", "timeframe", *stored(Activity)[2:]]
    assert (words(rows.columns["symbol"]), rows.columns["ts"].tolist()) == (["b", "a"], [5, 5])  # type: ignore[union-attr]
    assert rows.columns["volatility"].tolist() == [1.0, 1.0]  # type: ignore[union-attr]


def test_trades_are_told_by_symbol_and_the_takers_side(trades: Trades) -> None:
    rows = Tables(SETTINGS).trades(trades)
    assert complete(rows)
    assert words(rows.columns["symbol"]) == [SETTINGS.symbols[code] for code in trades.symbol]
    assert words(rows.columns["side"]) == ["sell" if maker else "buy" for maker in trades.is_buyer_maker]


def test_a_bar_without_volume_has_no_vwap(bars: Bars) -> None:
    rows = Tables(SETTINGS).bars(bars)
    assert complete(rows)
    quiet = bars.volume == 0
    assert quiet.any() and not quiet.all()
    np.testing.assert_array_equal(np.isnan(rows.columns["vwap"]), quiet)  # type: ignore[arg-type]
    assert set(words(rows.columns["timeframe"])) == {"1s", "1m"}


def test_measures_are_told_by_pair_timeframe_and_method(bars: Bars) -> None:
    of_minutes = minutes(bars)
    signals, tests, activity = Tables(SETTINGS).measures(measurer(SETTINGS)(of_minutes).update(of_minutes))
    assert all(complete(rows) for rows in (signals, tests, activity))
    for rows in (signals, tests):
        assert set(words(rows.columns["pair"])) == {"ETHUSDT-BTCUSDT"}  # the other pair is not measured at 1m
        assert set(words(rows.columns["method"])) == {"ols"}
        assert set(words(rows.columns["timeframe"])) == {"1m"}
    assert set(words(activity.columns["symbol"])) == set(SETTINGS.symbols)


def test_alerts_are_told_by_rule_and_subject(bars: Bars) -> None:
    of_minutes = minutes(bars)
    measures = measurer(SETTINGS)(of_minutes).update(of_minutes)
    rows = Tables(SETTINGS).alerts(watch(SETTINGS)(measures).update(measures))
    assert complete(rows) and len(rows)
    assert {
        words(rows.columns[name])[0] for name in ("rule", "subject", "timeframe", "priority", "metric")
    } == {
        "high",
        "BTCUSDT",
        "1m",
        "low",
        "price",
    }
    assert rows.columns["active"][-1]  # type: ignore[index]


def test_an_alert_says_the_edge_on_the_row_of_its_bar_and_the_first_method_and_of_a_symbol_none(
    bars: Bars,
) -> None:
    settings = decode(TWO_METHODS, "pipeline.yaml")
    of_minutes = minutes(bars)
    measures = measurer(settings)(of_minutes).update(of_minutes)
    signals = Tables(settings).measures(measures)[0].columns
    alerts = Tables(settings).alerts(watch(settings)(measures).update(measures)).columns
    rows = zip(signals["ts"], words(signals["method"]), signals["edge_bps"], strict=True)  # type: ignore[arg-type]
    edges = {ts + MINUTE_US: repr(edge) for ts, method, edge in rows if method == "tls"}
    found: dict[str | None, list[tuple[int, str]]] = {"z": [], "high": []}
    for rule, ts, edge in zip(words(alerts["rule"]), alerts["ts"], alerts["edge_bps"], strict=True):  # type: ignore[arg-type]
        found[rule].append((ts, repr(edge)))
    assert found["z"] == list(edges.items()) and len(set(edges.values())) > 10
    assert found["high"] and {edge for _, edge in found["high"]} == {repr(np.float64("nan"))}
    methods = dict(zip(words(alerts["rule"]), words(alerts["method"]), strict=True))  # type: ignore[arg-type]
    assert methods == {"z": "tls", "high": None}
    sides = {alert.rule: alert.side for alert in settings.alerts}
    assert dict(zip(words(alerts["rule"]), words(alerts["side"]), strict=True)) == sides  # type: ignore[arg-type]


def test_words_become_codes() -> None:
    assert words(symbols(["b", "a", None, "b"])) == ["b", "a", None, "b"]
    assert len(symbols([]).codes) == 0
