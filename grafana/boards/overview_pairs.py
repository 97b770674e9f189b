"""Dashboard Overview: the table of the pairs, the most urgent first."""

from grafana.statements import (
    ALERTS_NOW,
    EXTENDED,
    EXTREME,
    METHOD,
    NOW,
    TIMEFRAME,
    freshness,
    recent,
    seconds,
    side,
)
from grafana.vocabulary import (
    ALARM,
    CALM,
    DIM,
    PLAIN,
    SPARK,
    UP,
    WARN,
    Z_COLORS,
    Json,
    cells,
    colored,
    fixed,
    graded,
    opens,
    override,
    panel,
    pattern,
    query,
    steps,
    words,
)
from operators.methods import OLS

# The line "z over time": at most the last SPARK_H hours, with SPARK points.
SPARK_H = 6
SPARK_MS = 3_600_000 * SPARK_H // SPARK
SPARK_STEP = f"(1000L * CASE WHEN $__interval_ms > {SPARK_MS} THEN {SPARK_MS} ELSE $__interval_ms END)"
TESTS_H = 24  # a test up to this old still decides whether a pair is shown as cointegrated

# One row a pair: its newest signal of the chosen timeframe and method. A pair that does not have them is
# shown at its longest timeframe, or with another method.
PAIRS = f"""
    WITH newest AS (
    SELECT ts, pair, timeframe, method, zscore, edge_bps, correlation, complete, stale,
        {seconds("timeframe::string")} AS length, timeframe <> {TIMEFRAME} AS elsewhere,
        method <> {METHOD} AS otherwise
    FROM signals WHERE {recent("signals", "h", 1)} LATEST ON ts PARTITION BY pair, timeframe, method
    ), ranked AS (
    SELECT *,
        row_number() OVER (PARTITION BY pair ORDER BY elsewhere, length DESC, otherwise, method DESC) AS place
    FROM newest
    ), chosen AS (
    SELECT * FROM ranked WHERE place = 1
    )
"""
TESTS = f"""
    SELECT pair, timeframe, stationary, coint_share, half_life FROM cointegration
    WHERE method = '{OLS}' AND {recent("cointegration", "h", TESTS_H)}
    LATEST ON ts PARTITION BY pair, timeframe
"""
OPEN = f"""
    SELECT subject, sum(CASE WHEN priority = 'high' THEN 1 ELSE 0 END) AS high,
        sum(CASE WHEN priority = 'medium' THEN 1 ELSE 0 END) AS medium,
        sum(CASE WHEN priority = 'low' THEN 1 ELSE 0 END) AS low
    FROM ({ALERTS_NOW}) WHERE active GROUP BY subject
"""
COLUMNS = (
    *("Pair", "z-score", "Trend #B", "Signal", "Strength", "Edge", "Cointegrated", "Tests passed"),
    *("Half-life", "Correlation", "Alerts", "Data", "Timeframe", "Method"),
)


def leg(place: int) -> str:
    """SQL: the symbol of the first (y) or second (x) leg of the pair."""
    return f"split_part(c.pair::string, '-', {place})"


def strength(chosen: str, tests: str) -> str:
    """SQL: the strength of a signal in a word, as the description of the table explains it.

    `chosen` and `tests` are the aliases of PAIRS and TESTS.
    """
    strong = f"{tests}.stationary AND {chosen}.edge_bps > 0 AND {chosen}.complete AND NOT {chosen}.stale"
    return f"""CASE WHEN {chosen}.zscore IS NULL THEN 'window filling'
        WHEN abs({chosen}.zscore) < {EXTENDED} THEN 'none'
        WHEN abs({chosen}.zscore) >= {EXTREME} AND {strong} THEN 'strong'
        WHEN {strong} THEN 'medium' ELSE 'weak' END"""


def pairs() -> Json:
    return panel(
        "table",
        "Pairs, most urgent first",
        "Each pair of pipeline.yaml in one row; a click on its name opens it. Sorted by open alerts (high "
        "before medium before low), then by |z|. A pair without the chosen timeframe is shown at its longest "
        "one. Strength: weak means |z| of 2 or more; medium means that the pair is also cointegrated, its "
        "data are complete, both legs trade, and the edge after costs is above 0; strong means all this with "
        "|z| of 3 or more. Tests passed: the share of the last 20 Engle–Granger tests that passed; from half "
        "of them on the pair counts as cointegrated. Edge: the deviation in basis points of y less a round "
        "trip's cost on both legs. z over time: over the time range, at most its last 6 hours. Half-life: in "
        "bars, shown while cointegrated. Stale: no signal for three bars; after an hour without signals the "
        "row disappears. Stale leg: a leg has had no trade for a minute (source.stale) and three bars, so "
        "its price is old and z with it; no alert that depends on it opens meanwhile.",
        [
            query(
                f"""
                {PAIRS}
                SELECT c.pair AS "Pair", c.timeframe AS "Timeframe", c.method AS "Method",
                    c.zscore AS "z-score",
                    {side("c.zscore", leg(1), leg(2))} AS "Signal",
                    {strength("c", "t")} AS "Strength",
                    CASE WHEN t.stationary THEN 'yes' WHEN t.coint_share IS NULL THEN 'not yet known'
                        ELSE 'no' END AS "Cointegrated",
                    t.coint_share AS "Tests passed",
                    CASE WHEN t.stationary THEN t.half_life END AS "Half-life",
                    c.correlation AS "Correlation", c.edge_bps AS "Edge",
                    CASE WHEN o.high > 0 THEN concat(o.high, ' high')
                        WHEN o.medium > 0 THEN concat(o.medium, ' medium')
                        WHEN o.low > 0 THEN concat(o.low, ' low') ELSE 'none' END AS "Alerts",
                    {freshness("c.ts", "c.timeframe", "c.complete", "c.stale")} AS "Data",
                    1000000 * coalesce(o.high, 0) + 10000 * coalesce(o.medium, 0)
                        + 100 * coalesce(o.low, 0) + coalesce(abs(c.zscore), 0) AS "Urgency"
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
                SELECT ts::LONG / {SPARK_STEP} AS bucket, pair, timeframe, method, last(zscore) AS z
                FROM signals WHERE $__timeFilter(ts) AND ts > dateadd('h', -{SPARK_H}, {NOW})
                GROUP BY bucket, pair, timeframe, method
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
                    "indexByName": {name: index for index, name in enumerate(COLUMNS)},
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
    )
