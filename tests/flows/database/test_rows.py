"""What operators give becomes rows that the tables take, codes under their names."""

import numpy as np
import pytest

from flows.database.columns import Rows, Symbols
from flows.database.questdb import _checked, tables
from flows.database.rows import Tables, symbols
from flows.sandbox.market import Market
from flows.settings.config import decode
from flows.steps import bar_builder, measurer, watch
from operators.columns import Bars, Trades

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
START_US = 1_723_161_600_000_000
SETTINGS = decode(
    """
bars: {timeframes: [1s, 1m]}
pairs:
  - {legs: [ETHUSDT, BTCUSDT], timeframes: [1m], hedge: {window: 20}, zscore: {window: 10}, adf: {window: 30, every: 10}}
  - {legs: [BTCUSDT, SOLUSDT], timeframes: [1s]}
alerts:
  - {name: high, metric: price, symbol: BTCUSDT, above: 1, priority: low, timeframes: [1m]}
""",
    "pipeline.yaml",
)
TWO_METHODS = """
bars: {timeframes: [1m]}
pairs:
  - {legs: [ETHUSDT, BTCUSDT], hedge: {method: [tls, ols], window: 20}, zscore: {window: 10}, adf: {window: 30, every: 10}}
source: {symbols: [SOLUSDT]}
alerts:
  - {name: z, metric: zscore, outside: 1}
  - {name: high, metric: price, symbol: BTCUSDT, above: 1}
"""
BTC, ETH, SOL = (SETTINGS.symbols.index(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))


def words(column: object) -> list[str | None]:
    assert isinstance(column, Symbols)
    return [(*column.names, None)[code] for code in column.codes]


@pytest.fixture(scope="module")
def trades() -> Trades:
    market = Market(3, SETTINGS.symbols, START_US, 0.2)
    seconds = [market.second() for _ in range(3_000)]
    columns = [
        np.concatenate([getattr(second, name) for second in seconds]) for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker")
    ]
    n = len(columns[0])
    return Trades(*columns, np.ones(n, np.int64), np.zeros(n, np.bool_), np.full(3, START_US + 3_000 * SECOND_US))


@pytest.fixture(scope="module")
def bars(trades: Trades) -> Bars:
    return bar_builder(SETTINGS)._builder.update(trades)


def minutes(bars: Bars) -> Bars:
    return bars.rows(bars.timeframe == MINUTE_US)


def complete(rows: Rows) -> bool:
    """Whether the rows have every column of their table, of its type."""
    return list(_checked(rows).columns) == list(tables()[rows.table].columns)


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
    assert {words(rows.columns[name])[0] for name in ("rule", "subject", "timeframe", "priority", "metric")} == {
        "high",
        "BTCUSDT",
        "1m",
        "low",
        "price",
    }
    assert rows.columns["active"][-1]  # type: ignore[index]


def test_an_alert_says_the_edge_on_the_row_of_its_bar_and_the_first_method_and_of_a_symbol_none(bars: Bars) -> None:
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
