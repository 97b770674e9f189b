"""Pair: one pair, its spread and whether it is one."""

from grafana.vocabulary import (
    ALARM,
    CALM,
    DIM,
    EXTENDED,
    METHOD,
    PAIR,
    PLAIN,
    PRIORITIES,
    QUIET,
    TIMEFRAME,
    UP,
    WARN,
    Z_COLORS,
    Z_STEPS,
    Json,
    annotation,
    cells,
    chart,
    colored,
    dashboard,
    episodes,
    extreme,
    fixed,
    freshness,
    hidden,
    lines,
    method_variable,
    moment,
    names,
    numbers,
    override,
    panel,
    pattern,
    query,
    recent,
    side,
    steps,
    timeframe_variable,
    variable,
    words,
)
from operators.methods import OLS

SIGNALS = f"FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = {METHOD} AND $__timeFilter(ts)"
TESTS = f"FROM cointegration WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = {METHOD} AND $__timeFilter(ts)"
EVERY_METHOD = f"FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND {recent('signals', 'h', 2)} AND hedge_ratio IS NOT NULL"
Y, X = "${y:sqlstring}", "${x:sqlstring}"

# A deviation is in log price or in price, as pipeline.yaml says for the pair. The bars tell which: only in
# logs is spread = ln(y) − β·ln(x). One row, of the newest signal, whose bar is among the newest: what to
# multiply by to get basis points of y.
SCALE = f"""
    SELECT CASE WHEN abs(s.spread + s.hedge_ratio * ln(x.close) - ln(y.close)) < 0.000001 THEN 10000.0 ELSE 10000.0 / y.close END AS bps
    FROM (SELECT ts, spread, hedge_ratio {SIGNALS} AND spread IS NOT NULL LATEST ON ts PARTITION BY pair) s
    JOIN (SELECT ts, close FROM bars WHERE symbol = {X} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) LIMIT -100) x ON x.ts = s.ts
    JOIN (SELECT ts, close FROM bars WHERE symbol = {Y} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) LIMIT -100) y ON y.ts = s.ts
"""


def pair() -> Json:
    variables = [
        variable(
            "pair",
            "Pair",
            "Every pair that has signals in this time range: y first, then x",
            f"{names('pair', 'signals')} ORDER BY pair",
            "BTCUSDT-ETHUSDT",
        ),
        *(
            hidden(name, f"SELECT split_part({PAIR}, '-', {place})")
            for place, name in enumerate("yx", start=1)
        ),
        timeframe_variable("signals", "1s"),
        method_variable(),
    ]
    panels = [
        panel(
            "stat",
            "$pair · $timeframe · $method",
            "The newest values. Edge: the deviation in basis points less a "
            "round trip's cost on both legs; below 0 there is nothing to earn. Cointegrated: at least half of the last 20 tests passed. "
            "Half-life: bars until half of a deviation is gone, shown only while cointegrated. Stale leg: a leg has had no trade for a minute "
            "(source.stale) and three bars, so that z is measured against an old price; no alert that rests on it opens.",
            [
                query(
                    f"""
                    SELECT zscore AS "z-score",
                        edge_bps AS "Edge after costs", correlation AS "Correlation", hedge_ratio AS "Hedge ratio", r2 AS "R²",
                        {freshness("ts", "timeframe", "complete", "stale")} AS "Data"
                    {SIGNALS} LATEST ON ts PARTITION BY pair, timeframe, method
                    """,
                    "table",
                ),
                query(
                    f"""
                    SELECT CASE WHEN stationary THEN 'yes' WHEN coint_share IS NULL THEN 'not yet known' ELSE 'no' END AS "Cointegrated",
                        coint_share AS "Tests passed", CASE WHEN stationary THEN half_life END AS "Half-life"
                    {TESTS} LATEST ON ts PARTITION BY pair, timeframe, method
                    """,
                    "table",
                    "B",
                ),
            ],
            (0, 0, 19, 4),
            options=numbers(),
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET))},
            empty="–",
            overrides=[
                override("z-score", decimals=2, thresholds=Z_COLORS),
                override(
                    "Edge after costs", unit="suffix: bp", decimals=1, thresholds=steps((None, DIM), (0, UP))
                ),
                override(
                    "Correlation", decimals=2, thresholds=steps((None, ALARM), (0.5, WARN), (0.7, CALM))
                ),
                override("Hedge ratio", decimals=4),
                override("R²", decimals=3),
                override(
                    "Tests passed",
                    unit="percentunit",
                    decimals=0,
                    thresholds=steps((None, WARN), (0.5, CALM)),
                ),
                override("Half-life", unit="suffix: bars", decimals=1),
                override(
                    "Cointegrated",
                    mappings=words({"yes": CALM, "no": WARN}),
                ),
                override(
                    "Data",
                    mappings=words(
                        {"complete": CALM, "incomplete": WARN, "stale": ALARM, "stale leg": ALARM}
                    ),
                ),
            ],
        ),
        panel(
            "stat",
            "Side",
            "What a return to the mean would ask for once |z| reaches 2. Weak: the pair does not test as cointegrated, nothing is left after costs, "
            "bars miss trades, or a leg has stopped trading.",
            [
                query(
                    f"""
                    SELECT CASE WHEN s.data = 'stale' THEN 'no new bars'
                        WHEN abs(s.zscore) >= {EXTENDED} AND NOT (t.stationary AND s.edge_bps > 0 AND s.data = 'complete') THEN concat(s.side, ' (weak)')
                        ELSE s.side END AS "Side"
                    FROM (
                    SELECT pair, zscore, edge_bps, {side("zscore", Y, X)} AS side, {freshness("ts", "timeframe", "complete", "stale")} AS data
                    {SIGNALS} LATEST ON ts PARTITION BY pair, timeframe, method
                    ) s LEFT JOIN (
                    SELECT pair, stationary FROM cointegration
                    WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = '{OLS}' AND $__timeFilter(ts) LATEST ON ts PARTITION BY pair, timeframe
                    ) t ON t.pair = s.pair
                    """,
                    "table",
                )
            ],
            (19, 0, 5, 4),
            options={**numbers(18), "textMode": "value"},
            field={
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, QUIET)),
                "mappings": [
                    *pattern(r"^((sell|buy) .*\(weak\))$", "$1", QUIET),
                    *pattern("^(sell|buy) (.*)", "$1 $2", WARN),
                ],
            },
            empty="no signals in this range",
        ),
        panel(
            "timeseries",
            "z-score",
            "Deviation of the spread from its mean, in standard deviations. Above +2: y is dear relative to x (sell y, buy x); below "
            "−2 the reverse; ±3 is extreme. It means something only while the pair is cointegrated. Over long ranges the furthest of each interval. Shaded: alert episodes of this pair.",
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
        ),
        panel(
            "timeseries",
            "Deviation of the spread",
            "y less β·x less the mean of that, in basis points of y, with ±2 and ±3 standard deviations. What can be earned is what lies "
            "between here and 0, less the costs.",
            [
                query(
                    f"""
                    SELECT time, bps * dev AS "Deviation", 2 * bps * std AS "+2σ", -2 * bps * std AS "−2σ",
                        3 * bps * std AS "+3σ", -3 * bps * std AS "−3σ"
                    FROM (SELECT ts AS time, {extreme("deviation")} AS dev, last(spread_std) AS std {SIGNALS} SAMPLE BY $__interval)
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
        ),
        panel(
            "timeseries",
            "Both legs, rebased",
            "Change of each leg's price since the left edge of the chart.",
            [
                query(
                    f"""
                    SELECT time, metric,
                        close / first_value(close) OVER (PARTITION BY metric ORDER BY time ROWS UNBOUNDED PRECEDING) - 1 AS change
                    FROM (
                    SELECT ts AS time, symbol AS metric, last(close) AS close FROM bars
                    WHERE (symbol = {Y} OR symbol = {X}) AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) SAMPLE BY $__interval
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
        ),
        panel(
            "timeseries",
            "Edge after costs",
            "The deviation in basis points of y, less a round trip's cost on both legs. Only above 0 is there something to earn.",
            [query(f'SELECT ts AS time, max(edge_bps) AS "Edge" {SIGNALS} SAMPLE BY $__interval')],
            (0, 24, 8, 9),
            options=chart("hidden"),
            field={
                "unit": "suffix: bp",
                "decimals": 0,
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, DIM), (0, UP)),
            },
            custom=lines(axisSoftMax=0, gradientMode="scheme", thresholdsStyle={"mode": "line"}),
            interval="$timeframe",
            empty="window is still filling",
        ),
        panel(
            "timeseries",
            "Hedge ratio",
            "β: how much of x one unit of y is hedged with (in logs: of value). One line for each method of this pair. A β that wanders "
            "says that the two no longer move together.",
            [
                query(
                    f"""
                    SELECT ts AS time, method AS metric, last(hedge_ratio) AS beta
                    FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) SAMPLE BY $__interval
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
        ),
        panel(
            "timeseries",
            "Correlation",
            "Pearson correlation of the legs' returns over the window of pipeline.yaml, and its floor: the threshold of the pair's alert on correlation, "
            "where it has one. Below it the pair is hardly one.",
            [
                query(
                    f'SELECT ts AS time, last(correlation) AS "Correlation" {SIGNALS} SAMPLE BY $__interval'
                ),
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
        ),
        panel(
            "timeseries",
            "Cointegration: p-values and tests passed",
            "p-values of the augmented Dickey–Fuller test on the spread and of the Engle–Granger test, y on x and reversed (logarithmic axis; the line is 0.05) "
            "and the share of the last 20 Engle–Granger tests that passed. One p below 0.05 proves nothing: tested this often, almost "
            "any two prices pass now and then. Half of 20 does. Below 0.001 is drawn at 0.001.",
            [
                query(
                    f"""
                    SELECT ts AS time, CASE WHEN last(coint_pvalue) < 0.001 THEN 0.001 ELSE last(coint_pvalue) END AS "Engle–Granger",
                        CASE WHEN last(coint_pvalue_reversed) < 0.001 THEN 0.001 ELSE last(coint_pvalue_reversed) END AS "Reversed",
                        CASE WHEN last(adf_pvalue) < 0.001 THEN 0.001 ELSE last(adf_pvalue) END AS "ADF",
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
        ),
        panel(
            "timeseries",
            "Half-life",
            "Bars until half of a deviation is gone, from the regression of the spread's change on its level. Shown for every test: it means something "
            "only where the pair is cointegrated. One longer than the z-score's window is a spread that returns too slowly for it.",
            [query(f'SELECT ts AS time, last(half_life) AS "Half-life" {TESTS} SAMPLE BY $__interval')],
            (14, 33, 10, 9),
            options=chart("hidden"),
            field={"unit": "suffix: bars", "decimals": 1, "min": 0, "color": fixed(PLAIN)},
            custom=lines(lineWidth=2, spanNulls=True, showPoints="auto"),
            interval="$timeframe",
            empty="no test yet, or the spread does not return",
        ),
        panel(
            "table",
            "Hedge ratio by method",
            "The newest β of each method, its standard error, and how far β moved (highest less lowest) within the hour before. The error is that "
            "of a line through independent rows, which those of a spread are not: where β moved by many errors, believe the move.",
            [
                query(
                    f"""
                    SELECT n.method AS "Method", last(n.hedge_ratio) AS "β", last(n.hedge_ratio_se) AS "Standard error",
                        max(s.hedge_ratio) - min(s.hedge_ratio) AS "Moved in an hour"
                    FROM (SELECT ts, method, hedge_ratio, hedge_ratio_se {EVERY_METHOD} LATEST ON ts PARTITION BY method) n
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
        ),
        panel(
            "stat",
            "$pair · $timeframe: both orders, Johansen, Shin",
            "The newest tests of the pair itself. Engle–Granger depends on which leg is called y: the better of both orders, and its p-value "
            "for having tried two, min(1, 2·min p). Johansen rejects no cointegration at 5 % above 15.49 (trace) and 14.26 (largest eigenvalue). "
            "Shin rejects cointegration at 5 % above 0.314; shown, never gating. Variance ratio: 1 for a random walk, below 1 for what turns back.",
            [
                query(
                    f"""
                    SELECT CASE WHEN coint_pvalue IS NULL AND coint_pvalue_reversed IS NULL THEN NULL
                            WHEN coint_pvalue IS NULL OR coint_pvalue_reversed < coint_pvalue THEN 'x on y' ELSE 'y on x' END AS "Better order",
                        CASE WHEN coint_pvalue IS NULL OR coint_pvalue_reversed IS NULL THEN NULL
                            WHEN least(coint_pvalue, coint_pvalue_reversed) > 0.5 THEN 1.0
                            ELSE 2.0 * least(coint_pvalue, coint_pvalue_reversed) END AS "p, both orders",
                        coint_pvalue AS "p, y on x", coint_pvalue_reversed AS "p, x on y",
                        johansen_trace AS "Johansen trace", johansen_max_eig AS "Johansen max eig", shin_stat AS "Shin",
                        variance_ratio AS "Variance ratio"
                    FROM cointegration WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = '{OLS}' AND $__timeFilter(ts)
                    LATEST ON ts PARTITION BY pair, timeframe, method
                    """,
                    "table",
                )
            ],
            (10, 42, 14, 6),
            options=numbers(16),
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET)), "decimals": 2},
            empty="–",
            overrides=[
                override("p, both orders", decimals=3, thresholds=steps((None, CALM), (0.05, WARN))),
                override("p, y on x|p, x on y", regex=True, decimals=3),
                override("Johansen trace", thresholds=steps((None, WARN), (15.49, CALM))),
                override("Johansen max eig", thresholds=steps((None, WARN), (14.26, CALM))),
                override("Shin", decimals=3, thresholds=steps((None, CALM), (0.314, WARN))),
            ],
        ),
        panel(
            "table",
            "Alert episodes of $pair",
            "Every time an alert rule of pipeline.yaml opened for this pair, newest first: how long it lasted, how far it went, and what was left after costs at its newest row.",
            [
                query(
                    episodes(
                        """since AS "Since", rule AS "Rule", priority AS "Priority", timeframe AS "Timeframe", threshold AS "Threshold",
                        furthest AS "Furthest", edge_bps AS "Edge", seconds AS "Lasted", CASE WHEN active THEN 'open' ELSE 'over' END AS "State" """,
                        f"subject = {PAIR} AND ",
                    )
                    + ' ORDER BY "Since" DESC LIMIT 200',
                    "table",
                )
            ],
            (0, 48, 24, 9),
            **cells(filterable=True),
            empty="no alert episode of this pair in this range",
            overrides=[
                moment("Since"),
                override("Threshold|Furthest", regex=True, decimals=2, unit="none"),
                override("Edge", unit="suffix: bp", decimals=1),
                override("Lasted", unit="dtdurations"),
                colored("Priority", PRIORITIES),
                colored("State", {"open": ALARM, "over": DIM}),
            ],
        ),
    ]
    annotations = [
        annotation("High alerts", ALARM, "high"),
        annotation("Other alerts", WARN, "medium", "low"),
    ]
    return dashboard(
        "pair",
        "One pair: its spread, z-score, hedge ratio and cointegration",
        variables,
        panels,
        annotations=annotations,
        annotated=("z-score", "Deviation of the spread"),
    )
