"""Dashboard Data health: whether the data behind the other dashboards can be trusted."""

from grafana.boards.health_feed import feed_by_symbol, lag, now, reconnects, trades
from grafana.statements import SYMBOL, names
from grafana.vocabulary import (
    ALARM,
    CALM,
    DIM,
    QUIET,
    WARN,
    Json,
    by_steps,
    cells,
    chart,
    colored,
    dashboard,
    fixed,
    lines,
    moment,
    numbers,
    override,
    panel,
    query,
    steps,
    variable,
)

TABLES = ("trades", "bars", "signals", "cointegration", "activity", "alerts", "health", "gaps", "audits")


def in_range() -> Json:
    return panel(
        "stat",
        "In this range",
        "Gaps in the trades that are still open, and gaps that the exchange cannot fill; reconnects; closed "
        "bars that differ from the exchange's own klines. And, as of now: suspended tables (they accept rows "
        "but do not show them: see Troubleshooting in the README), and transactions that are written but not "
        "applied yet.",
        [
            query(
                """
                SELECT coalesce(sum(CASE WHEN status = 'open' THEN 1 ELSE 0 END), 0) AS "Open gaps",
                    coalesce(sum(CASE WHEN status = 'unfillable' THEN 1 ELSE 0 END), 0) AS "Unfillable"
                FROM gaps WHERE $__timeFilter(ts)
                """,
                "table",
            ),
            # Each row counts the reconnects of one second.
            query(
                'SELECT coalesce(sum(reconnects), 0) AS "Reconnects" FROM health WHERE $__timeFilter(ts)',
                "table",
                "B",
            ),
            query(
                """
                SELECT count() AS "Bars that differ"
                FROM (SELECT DISTINCT ts, symbol, timeframe FROM audits WHERE $__timeFilter(ts))
                """,
                "table",
                "C",
            ),
            # Not from `health`, which also has these numbers: it may be the table that is suspended.
            query(
                """
                SELECT sum(CAST(suspended AS INT)) AS "Suspended", sum(sequencerTxn - writerTxn) AS "Behind"
                FROM wal_tables()
                """,
                "table",
                "D",
            ),
        ],
        (12, 0, 12, 4),
        options=numbers(24),
        field={
            **by_steps((None, QUIET)),
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
    )


def gaps() -> Json:
    return panel(
        "table",
        "Gaps",
        "Gaps in the exchange's trade ids, newest first. The missing trades are requested over REST. Filled: "
        "nothing is missing any more. Unfillable: the exchange does not have the trades or does not give "
        "them; the bars of that time are marked as incomplete.",
        [
            query(
                """
                SELECT ts AS "After", symbol AS "Symbol", trades AS "Trades", cause AS "Cause",
                    status AS "Status", datediff('s', ts, filled_at) AS "Filled after"
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
    )


def tables() -> Json:
    return panel(
        "table",
        "Tables",
        "For every table: the age of its newest row, and whether the database still applies what is written "
        "to it. A suspended table accepts rows but does not show them: see Troubleshooting in the README. "
        "Rows of cointegration are rare, those of gaps and audits should be: their age is no fault.",
        [
            query(
                " UNION ALL ".join(
                    f"SELECT '{name}' AS \"Table\", datediff('s', max(ts), now()) AS \"Newest row\" "
                    f"FROM (SELECT ts FROM {name} LIMIT -1)"
                    for name in TABLES
                ),
                "table",
            ),
            query(
                """
                SELECT name AS "Table", sequencerTxn - writerTxn AS "Behind",
                    CAST(suspended AS INT) AS "Writes"
                FROM wal_tables()
                """,
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
            colored("Writes", {"0": CALM, "1": ALARM}, {"0": "applied", "1": "suspended"}, custom__width=95),
        ],
    )


def database_and_clock() -> Json:
    return panel(
        "timeseries",
        "Database and clock",
        "Transactions of all tables that are written but not applied yet (the most of each interval). If the "
        "line only rises, the database does not keep up, or a table is suspended. Clock skew: the exchange's "
        "clock less the pipeline's.",
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
    )


def audits() -> Json:
    return panel(
        "table",
        "Audits",
        "Closed bars that differ from the exchange's own klines, also when asked again later: our value and "
        "the exchange's. Complete bars of one timeframe are audited (1m if there is one).",
        [
            query(
                """
                SELECT ts AS "Bar", symbol AS "Symbol", timeframe AS "Timeframe", field AS "Field",
                    ours AS "Ours", theirs AS "Theirs"
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
            override("Ours|Theirs", regex=True, unit="string"),  # "string" shows every digit
        ],
    )


def health() -> Json:
    symbol = variable(
        "symbol",
        "Symbol",
        "The symbol to compare with all symbols: every symbol that has health rows in this time range",
        f"{names('symbol', 'health')} ORDER BY symbol",
        "BTCUSDT",
    )
    panels = [
        now(),
        in_range(),
        lag(),
        trades(),
        feed_by_symbol(),
        gaps(),
        tables(),
        reconnects(),
        database_and_clock(),
        audits(),
    ]
    return dashboard(
        "health",
        "Whether the data behind the other dashboards is fresh, complete and right",
        [symbol],
        panels,
    )
