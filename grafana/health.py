"""Data health: whether what the other dashboards show can be trusted."""

from grafana.vocabulary import (
    AGE_STEPS,
    ALARM,
    CALM,
    DIM,
    QUIET,
    SYMBOL,
    WARN,
    Json,
    cells,
    chart,
    colored,
    dashboard,
    fixed,
    lines,
    moment,
    names,
    newest_bar,
    numbers,
    override,
    panel,
    query,
    recent,
    steps,
    variable,
)

TABLES = ("trades", "bars", "signals", "cointegration", "activity", "alerts", "health", "gaps", "audits")
BY_SYMBOL = {"displayName": "${__field.labels.metric}", "color": {"mode": "palette-classic"}}


def health() -> Json:
    symbol = variable(
        "symbol",
        "Symbol",
        "Whose lag and trades stand beside those of all: every symbol that has health rows in this time range",
        f"{names('symbol', 'health')} ORDER BY symbol",
        "BTCUSDT",
    )
    panels = [
        panel(
            "stat",
            "Now",
            "Of all symbols, in their newest second: the worst lag behind the exchange, trades a second, messages waiting, and the exchange's "
            "clock less the pipeline's (Lag is off by it, bars and signals are not). And how long ago the newest bar closed.",
            [
                query(f'SELECT age AS "Newest bar" FROM ({newest_bar()})', "table"),
                query(
                    f"""
                    SELECT max(lag_ms) AS "Worst lag", sum(trades) AS "Trades/s", max(queued) AS "Queued", last(skew_ms) AS "Clock skew"
                    FROM (SELECT ts, lag_ms, trades, queued, skew_ms FROM health WHERE {recent("health", "m", 15)} LATEST ON ts PARTITION BY symbol)
                    """,
                    "table",
                    "B",
                ),
            ],
            (0, 0, 12, 4),
            options=numbers(24),
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET)), "decimals": 0},
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
        ),
        panel(
            "stat",
            "In this range",
            "Holes in the trades that are still open, and those the exchange cannot fill; how often connections were made again; closed bars that "
            "differ from the exchange's own klines; suspended tables (they take rows but do not show them: see Troubleshooting in the README) "
            "and transactions that are written but not applied yet, both as of now.",
            [
                query(
                    """
                    SELECT coalesce(sum(CASE WHEN status = 'open' THEN 1 ELSE 0 END), 0) AS "Open gaps",
                        coalesce(sum(CASE WHEN status = 'unfillable' THEN 1 ELSE 0 END), 0) AS "Unfillable"
                    FROM gaps WHERE $__timeFilter(ts)
                    """,
                    "table",
                ),
                # Each row counts the reconnects of its own second.
                query(
                    'SELECT coalesce(sum(reconnects), 0) AS "Reconnects" FROM health WHERE $__timeFilter(ts)',
                    "table",
                    "B",
                ),
                query(
                    """
                    SELECT count() AS "Bars that differ" FROM (SELECT DISTINCT ts, symbol, timeframe FROM audits WHERE $__timeFilter(ts))
                    """,
                    "table",
                    "C",
                ),
                # Not those of `health`: it may be the very table that is suspended.
                query(
                    'SELECT sum(CAST(suspended AS INT)) AS "Suspended", sum(sequencerTxn - writerTxn) AS "Behind" FROM wal_tables()',
                    "table",
                    "D",
                ),
            ],
            (12, 0, 12, 4),
            options=numbers(24),
            field={
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, QUIET)),
                "decimals": 0,
                "unit": "short",
            },
            empty="–",
            overrides=[
                override("Open gaps", thresholds=steps((None, CALM), (1, ALARM))),
                override("Unfillable", thresholds=steps((None, CALM), (1, WARN))),
                override("Bars that differ", thresholds=steps((None, CALM), (1, ALARM))),
                override("Suspended", thresholds=steps((None, CALM), (1, ALARM))),
                override("Behind", thresholds=steps((None, QUIET), (1000, WARN))),
            ],
        ),
        panel(
            "timeseries",
            "Lag",
            "Time from the exchange's stamp of a trade to its arrival here (logarithmic axis): the worst of each interval, of all symbols and of $symbol. "
            "A line that rises and stays is a connection that does not keep up.",
            [
                query(
                    'SELECT ts AS time, max(lag_ms) AS "Worst of all" FROM health WHERE $__timeFilter(ts) SAMPLE BY $__interval'
                ),
                query(
                    f'SELECT ts AS time, max(lag_ms) AS "One" FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval',
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
        ),
        panel(
            "timeseries",
            "Trades a second",
            "Trades that arrived, of all symbols and of $symbol: the mean of each interval. Nothing of a symbol while others trade: its connection is lost.",
            [
                query(
                    """
                    SELECT ts AS time, 1.0 * sum(trades) / (1 + datediff('s', min(ts), max(ts))) AS "All"
                    FROM health WHERE $__timeFilter(ts) SAMPLE BY $__interval
                    """
                ),
                query(
                    f'SELECT ts AS time, avg(trades) AS "One" FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval',
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
        ),
        panel(
            "table",
            "Feed by symbol",
            "The newest second of each symbol: lag, trades a second, messages waiting; and the share of its last 60 audited bars that differ from "
            "the exchange's klines. Stream: refused while the exchange does not agree to stream the symbol. Seen: how long ago that second was.",
            [
                query(
                    f"""
                    SELECT symbol AS "Symbol", lag_ms AS "Lag", trades AS "Trades/s", queued AS "Queued", mismatch_rate AS "Mismatches",
                        CASE WHEN refused > 0 THEN 'refused' END AS "Stream", datediff('s', ts, now()) AS "Seen"
                    FROM health WHERE {recent("health", "m", 15)} LATEST ON ts PARTITION BY symbol ORDER BY symbol
                    """,
                    "table",
                )
            ],
            (0, 13, 9, 9),
            **cells(),
            empty="no health rows in this range: the pipeline did not run",
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET))},
            overrides=[
                override("Symbol", custom__width=105),
                override("Lag", unit="ms", decimals=0),
                override("Mismatches", unit="percentunit", decimals=1, custom__width=100),
                override("Seen", unit="s", decimals=0),
            ],
        ),
        panel(
            "table",
            "Gaps",
            "Holes in the exchange's trade ids, newest first: found by their numbers and asked for again over REST. Filled: nothing is "
            "missing any more. Unfillable: the exchange does not have or does not give them; the bars of that time say that they are incomplete.",
            [
                query(
                    """
                    SELECT ts AS "After", symbol AS "Symbol", trades AS "Trades", cause AS "Cause", status AS "Status",
                        datediff('s', ts, filled_at) AS "Filled after"
                    FROM gaps WHERE $__timeFilter(ts) ORDER BY ts DESC LIMIT 100
                    """,
                    "table",
                )
            ],
            (9, 13, 8, 9),
            **cells(),
            empty="no gaps in this range",
            overrides=[
                override("Symbol", custom__width=105),
                moment("After"),
                override("Filled after", unit="s", decimals=0),
                colored("Status", {"filled": CALM, "open": ALARM, "unfillable": WARN}),
            ],
        ),
        panel(
            "table",
            "Tables",
            "For every table: how long ago its newest row's own time was, and whether the database still applies what is written to it. A "
            "suspended table takes rows but does not show them: see Troubleshooting in the README. Tests are rare, and gaps should be: their age is no fault.",
            [
                query(
                    " UNION ALL ".join(
                        f"SELECT '{name}' AS \"Table\", datediff('s', max(ts), now()) AS \"Newest row\" FROM (SELECT ts FROM {name} LIMIT -1)"
                        for name in TABLES
                    ),
                    "table",
                ),
                query(
                    'SELECT name AS "Table", sequencerTxn - writerTxn AS "Behind", CAST(suspended AS INT) AS "Writes" FROM wal_tables()',
                    "table",
                    "B",
                ),
            ],
            (17, 13, 7, 9),
            **cells(),
            transformations=[{"id": "joinByField", "options": {"byField": "Table", "mode": "outer"}}],
            empty="the database has no tables yet: start the pipeline",
            overrides=[
                override("Table", custom__width=110),
                override("Newest row", unit="s", decimals=0, custom__align="right", custom__width=95),
                override("Behind", unit="short", custom__align="right", custom__width=70),
                colored(
                    "Writes", {"0": CALM, "1": ALARM}, {"0": "applied", "1": "suspended"}, custom__width=95
                ),
            ],
        ),
        panel(
            "timeseries",
            "Reconnects",
            "How often each symbol's connection was made again. Binance ends every connection after 24 h: one a day is normal, and costs nothing.",
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
            empty="no connection was made again in this range",
        ),
        panel(
            "timeseries",
            "Database and clock",
            "Transactions of all tables that are written but not applied yet (worst of each interval): a line that only rises is a database "
            "that does not keep up, or a suspended table. And the exchange's clock less the pipeline's.",
            [
                query(
                    f"""
                    SELECT ts AS time, max(wal_pending) AS "Behind", last(skew_ms) AS "Clock skew"
                    FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval
                    """
                )
            ],
            (8, 22, 8, 8),
            options=chart(),
            field={"unit": "short", "decimals": 0},
            custom=lines(),
            interval="10s",
            empty="no health rows in this range: the pipeline did not run",
            overrides=[
                override("Behind", color=fixed(DIM), custom__fillOpacity=25, custom__axisPlacement="left"),
                override("Clock skew", unit="ms", color=fixed("yellow")),
            ],
        ),
        panel(
            "table",
            "Audits",
            "Closed bars that differ from the exchange's own klines even after some waiting: what we have and what it says. "
            "Complete bars of one timeframe are audited (1m where there is one).",
            [
                query(
                    """
                    SELECT ts AS "Bar", symbol AS "Symbol", timeframe AS "Timeframe", field AS "Field", ours AS "Ours", theirs AS "Theirs"
                    FROM audits WHERE $__timeFilter(ts) ORDER BY ts DESC LIMIT 100
                    """,
                    "table",
                )
            ],
            (16, 22, 8, 8),
            **cells(),
            empty="no bar in this range differs",
            overrides=[
                override("Symbol", custom__width=105),
                moment("Bar"),
                override("Ours|Theirs", regex=True, unit="string"),  # every digit of it
            ],
        ),
    ]
    return dashboard(
        "health",
        "Whether the data behind the other dashboards is fresh, complete and right",
        [symbol],
        panels,
    )
