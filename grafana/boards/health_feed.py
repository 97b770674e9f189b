"""Dashboard Data health: panels on the trades as they arrive from the exchange."""

from grafana.statements import SYMBOL, newest_bar, recent
from grafana.vocabulary import (
    AGE_STEPS,
    ALARM,
    CALM,
    DIM,
    QUIET,
    WARN,
    Json,
    by_steps,
    cells,
    chart,
    fixed,
    lines,
    numbers,
    override,
    panel,
    query,
    steps,
)

BY_SYMBOL = {"displayName": "${__field.labels.metric}", "color": {"mode": "palette-classic"}}


def now() -> Json:
    return panel(
        "stat",
        "Now",
        "Over all symbols, in the newest second of each: the worst lag behind the exchange, trades a second, "
        "messages waiting, and the exchange's clock less the pipeline's (it falsifies Lag, but not bars and "
        "signals). Newest bar: how long ago it closed.",
        [
            query(f'SELECT age AS "Newest bar" FROM ({newest_bar()})', "table"),
            query(
                f"""
                SELECT max(lag_ms) AS "Worst lag", sum(trades) AS "Trades/s", max(queued) AS "Queued",
                    last(skew_ms) AS "Clock skew"
                FROM (
                SELECT ts, lag_ms, trades, queued, skew_ms FROM health WHERE {recent("health", "m", 15)}
                LATEST ON ts PARTITION BY symbol
                )
                """,
                "table",
                "B",
            ),
        ],
        (0, 0, 12, 4),
        options=numbers(24),
        field={**by_steps((None, QUIET)), "decimals": 0},
        empty="–",
        overrides=[
            override("Newest bar", unit="s", thresholds=AGE_STEPS),
            override("Worst lag", unit="ms", thresholds=steps((None, CALM), (500, WARN), (5000, ALARM))),
            override("Queued", unit="short", thresholds=steps((None, QUIET), (10000, WARN))),
            override("Trades/s", unit="short"),
            override(
                "Clock skew",
                unit="ms",
                thresholds=steps((None, QUIET), (-1e12, WARN), (-1000, CALM), (1000, WARN)),
            ),
        ],
    )


def lag() -> Json:
    return panel(
        "timeseries",
        "Lag",
        "Time from the exchange's timestamp of a trade to its arrival here (logarithmic axis): the worst of "
        "each interval, of all symbols and of $symbol. If the line rises and stays up, the connection does "
        "not keep up.",
        [
            query(
                """
                SELECT ts AS time, max(lag_ms) AS "Worst of all"
                FROM health WHERE $__timeFilter(ts) SAMPLE BY $__interval
                """
            ),
            query(
                f"""
                SELECT ts AS time, max(lag_ms) AS "One"
                FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval
                """,
                ref="B",
            ),
        ],
        (0, 4, 12, 9),
        options=chart(),
        field={"unit": "ms", "decimals": 0, "color": fixed("yellow")},
        custom=lines(scaleDistribution={"type": "log", "log": 10}),
        interval="10s",
        empty="no health rows in this range: the pipeline did not run",
        overrides=[
            override("Worst of all", color=fixed(WARN), custom__lineWidth=2),
            override("One", displayName="$symbol"),
        ],
    )


def trades() -> Json:
    return panel(
        "timeseries",
        "Trades a second",
        "Trades that arrived, of all symbols and of $symbol: the mean of each interval. If a symbol has none "
        "while others trade, its connection is lost.",
        [
            query(
                """
                SELECT ts AS time, 1.0 * sum(trades) / (1 + datediff('s', min(ts), max(ts))) AS "All"
                FROM health WHERE $__timeFilter(ts) SAMPLE BY $__interval
                """
            ),
            query(
                f"""
                SELECT ts AS time, avg(trades) AS "One"
                FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval
                """,
                ref="B",
            ),
        ],
        (12, 4, 12, 9),
        options=chart(),
        field={"unit": "short", "decimals": 1, "min": 0, "color": fixed("yellow")},
        custom=lines(),
        interval="10s",
        empty="no health rows in this range: the pipeline did not run",
        overrides=[
            override("All", color=fixed(DIM), custom__fillOpacity=25),
            override("One", displayName="$symbol"),
        ],
    )


def feed_by_symbol() -> Json:
    return panel(
        "table",
        "Feed by symbol",
        "The newest second of each symbol: lag, trades a second, messages waiting; and the share of its last "
        "60 audited bars that differ from the exchange's klines. Stream: refused while the exchange refuses "
        "to stream the symbol. Seen: how long ago that second was.",
        [
            query(
                f"""
                SELECT symbol AS "Symbol", lag_ms AS "Lag", trades AS "Trades/s", queued AS "Queued",
                    mismatch_rate AS "Mismatches", CASE WHEN refused > 0 THEN 'refused' END AS "Stream",
                    datediff('s', ts, now()) AS "Seen"
                FROM health WHERE {recent("health", "m", 15)} LATEST ON ts PARTITION BY symbol ORDER BY symbol
                """,
                "table",
            )
        ],
        (0, 13, 9, 9),
        **cells(),
        empty="no health rows in this range: the pipeline did not run",
        field={**by_steps((None, QUIET))},
        overrides=[
            override("Symbol", custom__width=105),
            override("Lag", unit="ms", decimals=0),
            override("Trades/s", custom__width=80),
            override("Mismatches", unit="percentunit", decimals=1, custom__width=100),
            override("Seen", unit="s", decimals=0, custom__width=58),
        ],
    )


def reconnects() -> Json:
    return panel(
        "timeseries",
        "Reconnects",
        "How often the connection of each symbol was opened again. Binance ends every connection after 24 h: "
        "one reconnect a day is normal, and loses no trades.",
        [
            query(
                "SELECT ts AS time, symbol AS metric, sum(reconnects) AS reconnects FROM health "
                "WHERE reconnects > 0 AND $__timeFilter(ts) SAMPLE BY $__interval"
            )
        ],
        (0, 22, 8, 8),
        options=chart(),
        field={"unit": "short", "decimals": 0, "min": 0, **BY_SYMBOL},
        custom=lines(drawStyle="bars", fillOpacity=60, stacking={"mode": "normal", "group": "A"}),
        interval="10s",
        empty="no reconnects in this range",
    )
