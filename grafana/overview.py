"""Overview: which pairs ask for attention now, and how the market around them moves."""

from grafana.vocabulary import (
    AGE_STEPS,
    ALARM,
    ALERTS_NOW,
    CALM,
    DIM,
    DOWN,
    EXTENDED,
    EXTREME,
    METHOD,
    NOW,
    PLAIN,
    QUIET,
    SPARK,
    TIMEFRAME,
    UP,
    WARN,
    Z_COLORS,
    Json,
    cells,
    colored,
    dashboard,
    fixed,
    freshness,
    graded,
    method_variable,
    newest_bar,
    numbers,
    opens,
    override,
    panel,
    pattern,
    query,
    recent,
    seconds,
    side,
    steps,
    timeframe_variable,
    words,
)
from operators.methods import OLS

MATRIX_BARS = 120  # returns that a correlation of the matrix is of
DAY = f"$__timeFilter(ts) AND ts > dateadd('h', -24, {NOW})"
SPARK_H = 6
SPARK_MS = 3_600_000 * SPARK_H // SPARK
SPARK_STEP = f"(1000L * CASE WHEN $__interval_ms > {SPARK_MS} THEN {SPARK_MS} ELSE $__interval_ms END)"
TESTS_H = 24  # a test this old still says whether a pair is cointegrated

# One row a pair: of the chosen timeframe and method where it has them, else of its longest timeframe.
PAIRS = f"""
    WITH newest AS (
    SELECT ts, pair, timeframe, method, zscore, edge_bps, correlation, complete, stale,
        {seconds("timeframe::string")} AS length, timeframe <> {TIMEFRAME} AS elsewhere, method <> {METHOD} AS otherwise FROM signals
    WHERE {recent("signals", "h", 1)} LATEST ON ts PARTITION BY pair, timeframe, method
    ), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY pair ORDER BY elsewhere, length DESC, otherwise, method DESC) AS place FROM newest
    ), chosen AS (
    SELECT * FROM ranked WHERE place = 1
    )
"""


def strength(chosen: str, tests: str) -> str:
    """SQL: how much speaks for a signal."""
    strong = f"{tests}.stationary AND {chosen}.edge_bps > 0 AND {chosen}.complete AND NOT {chosen}.stale"
    return f"""CASE WHEN {chosen}.zscore IS NULL THEN 'window filling' WHEN abs({chosen}.zscore) < {EXTENDED} THEN 'none'
        WHEN abs({chosen}.zscore) >= {EXTREME} AND {strong} THEN 'strong' WHEN {strong} THEN 'medium' ELSE 'weak' END"""


def short(symbol: str) -> str:
    """SQL: a symbol without the quote asset that most have."""
    return (
        f"CASE WHEN right({symbol}, 4) = 'USDT' THEN left({symbol}, length({symbol}) - 4) ELSE {symbol} END"
    )


TESTS = f"""
    SELECT pair, timeframe, stationary, coint_share, half_life FROM cointegration
    WHERE method = '{OLS}' AND {recent("cointegration", "h", TESTS_H)} LATEST ON ts PARTITION BY pair, timeframe
"""
OPEN = f"""
    SELECT subject, sum(CASE WHEN priority = 'high' THEN 1 ELSE 0 END) AS high,
        sum(CASE WHEN priority = 'medium' THEN 1 ELSE 0 END) AS medium, sum(CASE WHEN priority = 'low' THEN 1 ELSE 0 END) AS low
    FROM ({ALERTS_NOW}) WHERE active GROUP BY subject
"""


def overview() -> Json:
    variables = [timeframe_variable("signals", "1m"), method_variable()]
    panels = [
        panel(
            "stat",
            "Now",
            "Pairs that have signals; those with |z| of at least 2, and how many of these also test as cointegrated; alert episodes that are "
            "open, of pairs and symbols: all as of the end of the time range. And how long ago the newest bar closed.",
            [
                query(
                    f"""
                    {PAIRS}
                    SELECT count() AS "Pairs", sum(CASE WHEN abs(c.zscore) >= {EXTENDED} THEN 1 ELSE 0 END) AS "Beyond 2σ",
                        sum(CASE WHEN abs(c.zscore) >= {EXTENDED} AND t.stationary THEN 1 ELSE 0 END) AS "and cointegrated"
                    FROM chosen c
                    LEFT JOIN ({TESTS}) t ON t.pair = c.pair AND t.timeframe = c.timeframe
                    """,
                    "table",
                ),
                query(
                    f"""
                    SELECT coalesce(sum(high), 0) AS "High alerts", coalesce(sum(medium), 0) AS "Medium", coalesce(sum(low), 0) AS "Low"
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
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, QUIET)),
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
                override(
                    "Medium", thresholds=steps((None, QUIET), (1, WARN)), links=opens("alerts", "Alerts")
                ),
                override("Low", thresholds=steps((None, QUIET), (1, PLAIN)), links=opens("alerts", "Alerts")),
                override("Newest bar", unit="s", thresholds=AGE_STEPS, links=opens("health", "Data health")),
                override(
                    "Open gaps",
                    thresholds=steps((None, CALM), (1, ALARM)),
                    links=opens("health", "Data health"),
                ),
            ],
        ),
        panel(
            "table",
            "Pairs, most urgent first",
            "Each pair of pipeline.yaml in one row; a click on its name opens it. Sorted by open alerts (high before medium before low), then "
            "by |z|. A pair without the chosen timeframe is shown at its longest. Strength: weak is |z| of 2 or more and nothing else; medium "
            "is cointegrated, with complete data, two legs that trade and something left after costs, too; strong is all that at |z| of 3 or more. Tests passed: "
            "the share of the last 20 Engle–Granger tests; cointegrated is half of them. Edge: the deviation in basis points of y less a "
            "round trip's cost on both legs. z over time: of this range, of a longer one its last 6 hours. "
            "Half-life: in bars, shown while cointegrated. Stale: no signal for three bars; after an hour the row goes. Stale leg: a leg has "
            "had no trade for a minute (source.stale) and three bars, so that z is measured against an old price; no alert that rests on it opens.",
            [
                query(
                    f"""
                    {PAIRS}
                    SELECT c.pair AS "Pair", c.timeframe AS "Timeframe", c.method AS "Method", c.zscore AS "z-score",
                        {side("c.zscore", "split_part(c.pair::string, '-', 1)", "split_part(c.pair::string, '-', 2)")} AS "Signal",
                        {strength("c", "t")} AS "Strength",
                        CASE WHEN t.stationary THEN 'yes' WHEN t.coint_share IS NULL THEN 'not yet known' ELSE 'no' END AS "Cointegrated",
                        t.coint_share AS "Tests passed", CASE WHEN t.stationary THEN t.half_life END AS "Half-life",
                        c.correlation AS "Correlation", c.edge_bps AS "Edge",
                        CASE WHEN o.high > 0 THEN concat(o.high, ' high') WHEN o.medium > 0 THEN concat(o.medium, ' medium')
                        WHEN o.low > 0 THEN concat(o.low, ' low') ELSE 'none' END AS "Alerts",
                        {freshness("c.ts", "c.timeframe", "c.complete", "c.stale")} AS "Data",
                        1000000 * coalesce(o.high, 0) + 10000 * coalesce(o.medium, 0) + 100 * coalesce(o.low, 0) + coalesce(abs(c.zscore), 0) AS "Urgency"
                    FROM chosen c
                    LEFT JOIN ({TESTS}) t ON t.pair = c.pair AND t.timeframe = c.timeframe
                    LEFT JOIN ({OPEN}) o ON o.subject = c.pair
                    ORDER BY "Urgency" DESC
                    """,
                    "table",
                ),
                query(
                    f"""
                    {PAIRS}
                    SELECT CAST(s.bucket * {SPARK_STEP} AS TIMESTAMP) AS time, s.pair AS "Pair", s.z FROM (
                    SELECT ts::LONG / {SPARK_STEP} AS bucket, pair, timeframe, method, last(zscore) AS z FROM signals
                    WHERE $__timeFilter(ts) AND ts > dateadd('h', -{SPARK_H}, {NOW}) GROUP BY bucket, pair, timeframe, method
                    ) s JOIN chosen c ON c.pair = s.pair AND c.timeframe = s.timeframe AND c.method = s.method
                    ORDER BY time
                    """,
                    ref="B",
                ),
            ],
            (0, 3, 24, 12),
            **cells(least=85),
            maxDataPoints=SPARK,
            interval="$timeframe",
            empty="no signals in this range",
            transformations=[
                {"id": "timeSeriesTable", "options": {"B": {"stat": "lastNotNull"}}},
                {"id": "joinByField", "options": {"byField": "Pair", "mode": "outer"}},
                {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "Urgency", "desc": True}]}},
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Urgency": True},
                        "indexByName": {
                            name: index
                            for index, name in enumerate(
                                (
                                    *(
                                        "Pair",
                                        "z-score",
                                        "Trend #B",
                                        "Signal",
                                        "Strength",
                                        "Edge",
                                        "Cointegrated",
                                        "Tests passed",
                                    ),
                                    *("Half-life", "Correlation", "Alerts", "Data", "Timeframe", "Method"),
                                )
                            )
                        },
                        "renameByName": {"Trend #B": "z over time"},
                    },
                },
            ],
            overrides=[
                override(
                    "Pair",
                    custom__width=170,
                    links=opens(
                        "pair",
                        "Open the pair",
                        pair="${__value.raw}",
                        timeframe="${__data.fields.Timeframe}",
                        method="${__data.fields.Method}",
                    ),
                ),
                graded("z-score", Z_COLORS, decimals=2, unit="none", custom__width=75),
                override(
                    "z over time",
                    custom__cellOptions={
                        "type": "sparkline",
                        "hideValue": True,
                        "lineWidth": 1,
                        "fillOpacity": 10,
                        "lineInterpolation": "linear",
                    },
                    custom__width=150,
                    color=fixed(PLAIN),
                    min=-4,
                    max=4,
                ),
                override(
                    "Signal",
                    custom__width=215,
                    custom__cellOptions={"type": "color-text"},
                    color=fixed(DIM),
                    mappings=pattern("^(sell|buy) (.*)", "$1 $2", WARN),
                ),
                colored(
                    "Strength",
                    {"strong": ALARM, "medium": WARN, "weak": PLAIN, "none": DIM, "window filling": DIM},
                ),
                graded("Edge", steps((None, DIM), (0, UP)), unit="suffix: bp", decimals=1),
                colored("Cointegrated", {"yes": CALM, "no": WARN, "not yet known": DIM}, custom__width=115),
                override(
                    "Tests passed",
                    unit="percentunit",
                    decimals=0,
                    min=0,
                    max=1,
                    custom__cellOptions={"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
                    color={"mode": "thresholds"},
                    thresholds=steps((None, WARN), (0.5, CALM)),
                    custom__width=110,
                ),
                override("Half-life", unit="suffix: bars", decimals=1),
                graded(
                    "Correlation",
                    steps((None, ALARM), (0.5, WARN), (0.7, CALM)),
                    custom__width=105,
                    unit="none",
                    decimals=2,
                ),
                override(
                    "Alerts",
                    custom__cellOptions={"type": "color-text"},
                    mappings=[
                        *pattern("^(.*high)$", "$1", ALARM),
                        *pattern("^(.*medium)$", "$1", WARN),
                        *pattern("^(.*low)$", "$1", PLAIN),
                        *words({"none": DIM}),
                    ],
                ),
                colored("Data", {"complete": CALM, "incomplete": WARN, "stale": ALARM, "stale leg": ALARM}),
                override("Timeframe", custom__width=100),
            ],
        ),
        panel(
            "table",
            "Symbols",
            "Each symbol that is streamed; a click on its name opens it. Price: the close of the newest bar. Change, turnover (in the quote asset) and "
            "volume: over the time range, of a longer one over its last 24 hours, by the closed candles of the chosen timeframe.",
            [
                query(
                    f"""
                    SELECT s.symbol AS "Symbol", n.close AS "Price", n.close / s.open - 1 AS "Change", s.quote_volume AS "Turnover", s.volume AS "Volume"
                    FROM (SELECT symbol, first(open) AS open, sum(quote_volume) AS quote_volume, sum(volume) AS volume FROM bars
                    WHERE timeframe = {TIMEFRAME} AND {DAY}) s
                    JOIN (SELECT symbol, close FROM bars WHERE {recent("bars", "m", 15)} LATEST ON ts PARTITION BY symbol) n ON n.symbol = s.symbol
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
                override("Price", unit="string", custom__align="right"),  # every digit of it
                graded("Change", steps((None, DOWN), (0, UP)), unit="percentunit", decimals=2),
                override("Turnover", unit="short", decimals=1),
                override("Volume", unit="short", decimals=1),
            ],
        ),
        panel(
            "table",
            "Correlation of returns",
            f"Pearson correlation of the log returns of every two symbols over the last {MATRIX_BARS} bars of the chosen timeframe, of the bars that both "
            "have; empty with fewer than 20. Names are without USDT. Pairs worth watching are found where it is high and stays so; it says "
            "nothing about cointegration.",
            [
                query(
                    f"""
                    WITH returns AS (
                    SELECT ts, {short("symbol::string")} AS name, log_return FROM activity WHERE timeframe = {TIMEFRAME} AND log_return IS NOT NULL
                        AND {recent("activity", "s", f"{MATRIX_BARS} * ({seconds(TIMEFRAME)})", f"timeframe = {TIMEFRAME} AND ")}
                    )
                    SELECT * FROM (
                    SELECT a.name AS symbol, b.name AS other, CASE WHEN count() >= 20 THEN corr(a.log_return, b.log_return) END AS correlation
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
                "color": {"mode": "thresholds"},
                "thresholds": steps(
                    (None, DOWN), (-0.5, "transparent"), (0.5, "semi-dark-green"), (0.8, "dark-green")
                ),
            },
            overrides=[
                override(
                    r"^(?!symbol).*",
                    regex=True,
                    custom__cellOptions={"type": "color-background", "mode": "basic"},
                ),
                override(r"^symbol.*", regex=True, displayName=" ", custom__align="left", custom__width=56),
            ],
        ),
    ]
    return dashboard(
        "overview",
        "Which pairs ask for attention now, and how the market around them moves",
        variables,
        panels,
    )
