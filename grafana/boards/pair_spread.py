"""Dashboard Pair: panels on the spread, the legs and the hedge ratio over time."""

from grafana.statements import (
    METHOD,
    PAIR,
    TIMEFRAME,
    extreme,
)
from grafana.vocabulary import (
    ALARM,
    DIM,
    PLAIN,
    UP,
    WARN,
    Z_STEPS,
    Json,
    by_steps,
    chart,
    fixed,
    lines,
    override,
    panel,
    query,
)

CHOSEN = f"pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = {METHOD} AND $__timeFilter(ts)"
SIGNALS = f"FROM signals WHERE {CHOSEN}"
Y, X = "${y:sqlstring}", "${x:sqlstring}"

# One row, `bps`: the factor from a deviation to basis points of y. pipeline.yaml decides for each pair
# whether its spread is of log prices or of prices, and the database does not store which. The newest signal
# and the bars of its time show it: spread = ln(y) − β·ln(x) holds for log prices only.
SCALE = f"""
    SELECT CASE WHEN abs(s.spread + s.hedge_ratio * ln(x.close) - ln(y.close)) < 0.000001
        THEN 10000.0 ELSE 10000.0 / y.close END AS bps
    FROM (SELECT ts, spread, hedge_ratio {SIGNALS} AND spread IS NOT NULL LATEST ON ts PARTITION BY pair) s
    JOIN (
    SELECT ts, close FROM bars WHERE symbol = {X} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) LIMIT -100
    ) x ON x.ts = s.ts
    JOIN (
    SELECT ts, close FROM bars WHERE symbol = {Y} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) LIMIT -100
    ) y ON y.ts = s.ts
"""


def z_score() -> Json:
    return panel(
        "timeseries",
        "z-score",
        "Deviation of the spread from its mean, in standard deviations. Above +2: y is expensive relative to "
        "x (sell y, buy x); below −2 the reverse; ±3 is extreme. It is meaningful only while the pair is "
        "cointegrated. Over long ranges, the value of each interval that is furthest from 0. Shaded: alert "
        "episodes of this pair.",
        [query(f"SELECT ts AS time, {extreme('zscore')} AS z {SIGNALS} SAMPLE BY $__interval")],
        (0, 4, 24, 10),
        options=chart("hidden"),
        field={
            "unit": "none",
            "decimals": 2,
            "color": fixed(PLAIN),
            "thresholds": Z_STEPS,
        },
        custom=lines(lineWidth=2, axisSoftMin=-3.5, axisSoftMax=3.5, thresholdsStyle={"mode": "dashed"}),
        interval="$timeframe",
        empty="no signals in this range, or the window is still filling",
    )


def deviation() -> Json:
    return panel(
        "timeseries",
        "Deviation of the spread",
        "The spread y − β·x less its mean, in basis points of y, with ±2 and ±3 standard deviations. The "
        "distance to 0, less the costs, is what can be earned.",
        [
            query(
                f"""
                SELECT time, bps * dev AS "Deviation", 2 * bps * std AS "+2σ", -2 * bps * std AS "−2σ",
                    3 * bps * std AS "+3σ", -3 * bps * std AS "−3σ"
                FROM (
                SELECT ts AS time, {extreme("deviation")} AS dev, last(spread_std) AS std {SIGNALS}
                SAMPLE BY $__interval
                )
                CROSS JOIN ({SCALE})
                ORDER BY time
                """
            )
        ],
        (0, 14, 12, 10),
        options=chart(),
        field={"unit": "suffix: bp", "decimals": 1},
        custom=lines(),
        interval="$timeframe",
        empty="no signals in this range, or the window is still filling",
        overrides=[
            override("Deviation", color=fixed(PLAIN), custom__lineWidth=2),
            override(".2σ", regex=True, color=fixed(WARN), custom__lineWidth=1),
            override(
                ".3σ", regex=True, color=fixed(ALARM), custom__lineStyle={"fill": "dash", "dash": [6, 6]}
            ),
            override("+2σ", custom__fillBelowTo="−2σ", custom__fillOpacity=6),
        ],
    )


def legs() -> Json:
    return panel(
        "timeseries",
        "Both legs, rebased",
        "Change of each leg's price since the left edge of the chart.",
        [
            query(
                f"""
                SELECT time, metric,
                    close / first_value(close) OVER (
                        PARTITION BY metric ORDER BY time ROWS UNBOUNDED PRECEDING
                    ) - 1 AS change
                FROM (
                SELECT ts AS time, symbol AS metric, last(close) AS close FROM bars
                WHERE (symbol = {Y} OR symbol = {X}) AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
                SAMPLE BY $__interval
                ) ORDER BY time
                """
            )
        ],
        (12, 14, 12, 10),
        options=chart(),
        field={
            "unit": "percentunit",
            "decimals": 2,
            "displayName": "${__field.labels.metric}",
            "color": {"mode": "palette-classic"},
        },
        custom=lines(lineWidth=2, axisCenteredZero=False),
        interval="$timeframe",
        empty="no bars of these symbols in this range",
    )


def edge() -> Json:
    return panel(
        "timeseries",
        "Edge after costs",
        "The deviation in basis points of y, less a round trip's cost on both legs. There is something to "
        "earn only above 0.",
        [query(f'SELECT ts AS time, max(edge_bps) AS "Edge" {SIGNALS} SAMPLE BY $__interval')],
        (0, 24, 8, 9),
        options=chart("hidden"),
        field={
            "unit": "suffix: bp",
            "decimals": 0,
            **by_steps((None, DIM), (0, UP)),
        },
        custom=lines(axisSoftMax=0, gradientMode="scheme", thresholdsStyle={"mode": "line"}),
        interval="$timeframe",
        empty="window is still filling",
    )


def hedge_ratio() -> Json:
    return panel(
        "timeseries",
        "Hedge ratio",
        "β: the amount of x that hedges one unit of y (with log prices: of value). One line for each method "
        "of this pair. When β drifts, the two no longer move together.",
        [
            query(
                f"""
                SELECT ts AS time, method AS metric, last(hedge_ratio) AS beta
                FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
                SAMPLE BY $__interval
                """
            )
        ],
        (8, 24, 8, 9),
        options=chart(),
        field={
            "unit": "none",
            "decimals": 3,
            "displayName": "${__field.labels.metric}",
            "color": {"mode": "palette-classic"},
        },
        custom=lines(lineWidth=2),
        interval="$timeframe",
        empty="window is still filling",
    )


def correlation() -> Json:
    return panel(
        "timeseries",
        "Correlation",
        "Pearson correlation of the legs' returns over the window of pipeline.yaml. Floor: the threshold of "
        "the pair's alert on correlation, if there is one. Below it the two hardly move together.",
        [
            query(f'SELECT ts AS time, last(correlation) AS "Correlation" {SIGNALS} SAMPLE BY $__interval'),
            query(
                f"""
                SELECT ts AS time, last(threshold) AS "Floor" FROM alerts
                WHERE subject = {PAIR} AND metric = 'correlation' AND $__timeFilter(ts) SAMPLE BY $__interval
                """,
                ref="B",
            ),
        ],
        (16, 24, 8, 9),
        options=chart("hidden"),
        field={
            "unit": "none",
            "decimals": 2,
            "max": 1,
            "color": fixed(PLAIN),
        },
        custom=lines(lineWidth=2, axisSoftMin=0),
        interval="$timeframe",
        empty="window is still filling",
        overrides=[
            override(
                "Floor",
                color=fixed(ALARM),
                custom__lineWidth=1,
                custom__spanNulls=True,
                custom__lineStyle={"fill": "dash", "dash": [6, 6]},
            ),
        ],
    )
