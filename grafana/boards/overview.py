"""Dashboard Overview: which pairs need attention now, and how the market around them moves."""

from grafana.boards.overview_pairs import OPEN, PAIRS, TESTS, pairs
from grafana.statements import (
    EXTENDED,
    NOW,
    TIMEFRAME,
    newest_bar,
    recent,
    seconds,
)
from grafana.vocabulary import (
    AGE_STEPS,
    ALARM,
    CALM,
    DOWN,
    PLAIN,
    QUIET,
    UP,
    WARN,
    Json,
    by_steps,
    cells,
    dashboard,
    graded,
    method_variable,
    numbers,
    opens,
    override,
    panel,
    query,
    steps,
    timeframe_variable,
)

MATRIX_BARS = 120  # log returns for each correlation of the matrix
# The time range, or the last 24 hours of a longer one.
DAY = f"$__timeFilter(ts) AND ts > dateadd('h', -24, {NOW})"


def short(symbol: str) -> str:
    """SQL: a symbol without USDT, the quote asset of most symbols."""
    return (
        f"CASE WHEN right({symbol}, 4) = 'USDT' THEN left({symbol}, length({symbol}) - 4) ELSE {symbol} END"
    )


def now() -> Json:
    return panel(
        "stat",
        "Now",
        "At the end of the time range: the number of pairs with signals, of pairs with |z| of at least 2, "
        "and how many of these also test as cointegrated; open alert episodes of pairs and symbols. Then how "
        "long ago the newest bar closed, and how many gaps in the trades are open.",
        [
            query(
                f"""
                {PAIRS}
                SELECT count() AS "Pairs",
                    sum(CASE WHEN abs(c.zscore) >= {EXTENDED} THEN 1 ELSE 0 END) AS "Beyond 2σ",
                    sum(CASE WHEN abs(c.zscore) >= {EXTENDED} AND t.stationary THEN 1 ELSE 0 END)
                        AS "and cointegrated"
                FROM chosen c
                LEFT JOIN ({TESTS}) t ON t.pair = c.pair AND t.timeframe = c.timeframe
                """,
                "table",
            ),
            query(
                f"""
                SELECT coalesce(sum(high), 0) AS "High alerts", coalesce(sum(medium), 0) AS "Medium",
                    coalesce(sum(low), 0) AS "Low"
                FROM ({OPEN})
                """,
                "table",
                "B",
            ),
            query(f'SELECT age AS "Newest bar" FROM ({newest_bar()})', "table", "C"),
            query(
                "SELECT count() AS \"Open gaps\" FROM gaps WHERE status = 'open' AND $__timeFilter(ts)",
                "table",
                "D",
            ),
        ],
        (0, 0, 24, 3),
        options=numbers(24),
        field={
            **by_steps((None, QUIET)),
            "decimals": 0,
            "unit": "none",
        },
        empty="–",
        overrides=[
            override("Beyond 2σ", thresholds=steps((None, QUIET), (1, WARN))),
            override("and cointegrated", thresholds=steps((None, QUIET), (1, CALM))),
            override(
                "High alerts",
                thresholds=steps((None, QUIET), (1, ALARM)),
                links=opens("alerts", "Alerts"),
            ),
            override("Medium", thresholds=steps((None, QUIET), (1, WARN)), links=opens("alerts", "Alerts")),
            override("Low", thresholds=steps((None, QUIET), (1, PLAIN)), links=opens("alerts", "Alerts")),
            override("Newest bar", unit="s", thresholds=AGE_STEPS, links=opens("health", "Data health")),
            override(
                "Open gaps",
                thresholds=steps((None, CALM), (1, ALARM)),
                links=opens("health", "Data health"),
            ),
        ],
    )


def symbols() -> Json:
    return panel(
        "table",
        "Symbols",
        "Each symbol that is streamed; a click on its name opens it. Price: the close of the newest bar. "
        "Change, turnover (in the quote asset) and volume: over the time range, at most over its last 24 "
        "hours, from the closed candles of the chosen timeframe.",
        [
            query(
                f"""
                SELECT s.symbol AS "Symbol", n.close AS "Price", n.close / s.open - 1 AS "Change",
                    s.quote_volume AS "Turnover", s.volume AS "Volume"
                FROM (
                SELECT symbol, first(open) AS open, sum(quote_volume) AS quote_volume, sum(volume) AS volume
                FROM bars WHERE timeframe = {TIMEFRAME} AND {DAY}
                ) s JOIN (
                SELECT symbol, close FROM bars WHERE {recent("bars", "m", 15)}
                LATEST ON ts PARTITION BY symbol
                ) n ON n.symbol = s.symbol
                ORDER BY "Turnover" DESC
                """,
                "table",
            )
        ],
        (0, 15, 8, 12),
        **cells(),
        empty="no bars of this timeframe in this range",
        overrides=[
            override(
                "Symbol",
                custom__width=105,
                links=opens("market", "Open the symbol", symbol="${__value.raw}"),
            ),
            override("Price", unit="string", custom__align="right"),  # "string" shows every digit
            graded("Change", steps((None, DOWN), (0, UP)), unit="percentunit", decimals=2),
            override("Turnover", unit="short", decimals=1),
            override("Volume", unit="short", decimals=1),
        ],
    )


def correlations() -> Json:
    newest = recent(
        "activity", "s", f"{MATRIX_BARS} * ({seconds(TIMEFRAME)})", f"timeframe = {TIMEFRAME} AND "
    )
    return panel(
        "table",
        "Correlation of returns",
        f"Pearson correlation of the log returns of every two symbols over the last {MATRIX_BARS} bars of "
        "the chosen timeframe that both symbols have; empty with fewer than 20. Names are without USDT. Look "
        "for pairs where it is high and stays high. A correlation does not show cointegration.",
        [
            query(
                f"""
                WITH returns AS (
                SELECT ts, {short("symbol::string")} AS name, log_return
                FROM activity WHERE timeframe = {TIMEFRAME} AND log_return IS NOT NULL AND {newest}
                )
                SELECT * FROM (
                SELECT a.name AS symbol, b.name AS other,
                    CASE WHEN count() >= 20 THEN corr(a.log_return, b.log_return) END AS correlation
                FROM returns a JOIN returns b ON a.ts = b.ts
                ) ORDER BY symbol, other
                """,
                "table",
            )
        ],
        (8, 15, 16, 12),
        **cells("center", 40),
        empty="no returns of this timeframe yet",
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {
                    "columnField": "other",
                    "rowField": "symbol",
                    "valueField": "correlation",
                    "emptyValue": "null",
                },
            },
        ],
        field={
            "unit": "none",
            "decimals": 2,
            "min": -1,
            "max": 1,
            **by_steps((None, DOWN), (-0.5, "transparent"), (0.5, "semi-dark-green"), (0.8, "dark-green")),
        },
        overrides=[
            override(
                r"^(?!symbol).*",
                regex=True,
                custom__cellOptions={"type": "color-background", "mode": "basic"},
            ),
            override(r"^symbol.*", regex=True, displayName=" ", custom__align="left", custom__width=56),
        ],
    )


def overview() -> Json:
    variables = [timeframe_variable("signals", "1m"), method_variable()]
    panels = [
        now(),
        pairs(),
        symbols(),
        correlations(),
    ]
    return dashboard(
        "overview",
        "Which pairs need attention now, and how the market around them moves",
        variables,
        panels,
    )
