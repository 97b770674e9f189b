"""Dashboard Pair: panels on whether the pair is cointegrated: tests, half-life, hedge ratio by method."""

from grafana.boards.pair_spread import CHOSEN
from grafana.statements import (
    PAIR,
    TIMEFRAME,
    recent,
)
from grafana.vocabulary import (
    CALM,
    DIM,
    PLAIN,
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
from operators.methods import OLS

TESTS = f"FROM cointegration WHERE {CHOSEN}"
EVERY_METHOD = f"""FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME}
    AND {recent("signals", "h", 2)} AND hedge_ratio IS NOT NULL"""


def drawn(pvalue: str) -> str:
    """SQL: the last p-value of an interval, at least 0.001: the axis is logarithmic."""
    return f"CASE WHEN last({pvalue}) < 0.001 THEN 0.001 ELSE last({pvalue}) END"


def p_values() -> Json:
    return panel(
        "timeseries",
        "Cointegration: p-values and tests passed",
        "p-values of the augmented Dickey–Fuller test on the spread and of the Engle–Granger test, y on x "
        "and reversed (logarithmic axis; the line is 0.05) and the share of the last 20 Engle–Granger tests "
        "that passed. A single p below 0.05 proves nothing: tested this often, almost any two prices pass "
        "now and then. Half of 20 tests is evidence. Values below 0.001 are drawn at 0.001.",
        [
            query(
                f"""
                SELECT ts AS time, {drawn("coint_pvalue")} AS "Engle–Granger",
                    {drawn("coint_pvalue_reversed")} AS "Reversed", {drawn("adf_pvalue")} AS "ADF",
                    last(coint_share) AS "Tests passed"
                {TESTS} SAMPLE BY $__interval
                """
            )
        ],
        (0, 33, 14, 9),
        options=chart(),
        field={
            "unit": "none",
            "min": 0.001,
            "max": 1,
            "thresholds": steps((None, CALM), (0.05, "transparent")),
        },
        custom=lines(
            lineWidth=2,
            spanNulls=True,
            scaleDistribution={"type": "log", "log": 10},
            thresholdsStyle={"mode": "dashed"},
            showPoints="auto",
        ),
        interval="$timeframe",
        empty="no test yet: the window is still filling",
        overrides=[
            override("Engle–Granger", color=fixed(PLAIN), decimals=3),
            override("Reversed", color=fixed("yellow"), decimals=3),
            override("ADF", color=fixed("purple"), decimals=3),
            override(
                "Tests passed",
                color=fixed(DIM),
                unit="percentunit",
                decimals=0,
                min=0,
                custom__scaleDistribution={"type": "linear"},
                custom__axisPlacement="left",
                custom__fillOpacity=15,
                custom__lineWidth=0,
                custom__lineInterpolation="stepAfter",
                custom__thresholdsStyle={"mode": "off"},
            ),
        ],
    )


def half_life() -> Json:
    return panel(
        "timeseries",
        "Half-life",
        "Bars until half of a deviation is gone, from the regression of the spread's change on its level. "
        "Shown for every test, but meaningful only where the pair is cointegrated. If it is longer than the "
        "window of the z-score, the spread returns too slowly for that window.",
        [query(f'SELECT ts AS time, last(half_life) AS "Half-life" {TESTS} SAMPLE BY $__interval')],
        (14, 33, 10, 9),
        options=chart("hidden"),
        field={"unit": "suffix: bars", "decimals": 1, "min": 0, "color": fixed(PLAIN)},
        custom=lines(lineWidth=2, spanNulls=True, showPoints="auto"),
        interval="$timeframe",
        empty="no test yet, or the spread does not return",
    )


def methods() -> Json:
    return panel(
        "table",
        "Hedge ratio by method",
        "The newest β of each method, its standard error, and how far β moved (highest less lowest) within "
        "the hour before. The standard error assumes independent rows, which prices are not, so it is too "
        "small: if β moved by many standard errors, trust the move.",
        [
            query(
                f"""
                SELECT n.method AS "Method",
                    last(n.hedge_ratio) AS "β", last(n.hedge_ratio_se) AS "Standard error",
                    max(s.hedge_ratio) - min(s.hedge_ratio) AS "Moved in an hour"
                FROM (
                SELECT ts, method, hedge_ratio, hedge_ratio_se {EVERY_METHOD} LATEST ON ts PARTITION BY method
                ) n
                JOIN (SELECT ts, method, hedge_ratio {EVERY_METHOD}) s ON s.method = n.method
                WHERE s.ts > dateadd('h', -1, n.ts)
                GROUP BY n.method ORDER BY n.method
                """,
                "table",
            )
        ],
        (0, 42, 10, 6),
        **cells(),
        empty="window is still filling",
        overrides=[override("β|Standard error|Moved in an hour", regex=True, decimals=4, unit="none")],
    )


def other_tests() -> Json:
    return panel(
        "stat",
        "$pair · $timeframe: both orders, Johansen, Shin",
        "The newest tests of the pair, whatever method is chosen. Engle–Granger depends on which leg is "
        "called y: the order with the lower p-value, and a p-value corrected for two tests, min(1, 2·min p). "
        "Johansen rejects the absence of cointegration at 5 % above 15.49 (trace) and 14.26 (largest "
        "eigenvalue). Shin rejects cointegration at 5 % above 0.314; no alert depends on it. Variance ratio: "
        "1 for a random walk, below 1 for a spread that returns.",
        [
            query(
                f"""
                SELECT CASE WHEN coint_pvalue IS NULL AND coint_pvalue_reversed IS NULL THEN NULL
                        WHEN coint_pvalue IS NULL OR coint_pvalue_reversed < coint_pvalue THEN 'x on y'
                        ELSE 'y on x' END AS "Better order",
                    CASE WHEN coint_pvalue IS NULL OR coint_pvalue_reversed IS NULL THEN NULL
                        WHEN least(coint_pvalue, coint_pvalue_reversed) > 0.5 THEN 1.0
                        ELSE 2.0 * least(coint_pvalue, coint_pvalue_reversed) END AS "p, both orders",
                    coint_pvalue AS "p, y on x", coint_pvalue_reversed AS "p, x on y",
                    johansen_trace AS "Johansen trace", johansen_max_eig AS "Johansen max eig",
                    shin_stat AS "Shin", variance_ratio AS "Variance ratio"
                FROM cointegration WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = '{OLS}'
                AND $__timeFilter(ts) LATEST ON ts PARTITION BY pair, timeframe, method
                """,
                "table",
            )
        ],
        (10, 42, 14, 6),
        options=numbers(16),
        field={**by_steps((None, QUIET)), "decimals": 2},
        empty="–",
        overrides=[
            override("p, both orders", decimals=3, thresholds=steps((None, CALM), (0.05, WARN))),
            override("p, y on x|p, x on y", regex=True, decimals=3),
            override("Johansen trace", thresholds=steps((None, WARN), (15.49, CALM))),
            override("Johansen max eig", thresholds=steps((None, WARN), (14.26, CALM))),
            override("Shin", decimals=3, thresholds=steps((None, CALM), (0.314, WARN))),
        ],
    )
