"""Dashboard Pair: the spread of one pair, and whether the pair is cointegrated."""

from grafana.boards.pair_spread import SIGNALS, X, Y, correlation, deviation, edge, hedge_ratio, legs, z_score
from grafana.boards.pair_tests import TESTS, half_life, methods, other_tests, p_values
from grafana.statements import (
    EXTENDED,
    PAIR,
    TIMEFRAME,
    episodes,
    freshness,
    names,
    side,
)
from grafana.vocabulary import (
    ALARM,
    CALM,
    DIM,
    PRIORITIES,
    QUIET,
    UP,
    WARN,
    Z_COLORS,
    Json,
    annotation,
    by_steps,
    cells,
    colored,
    dashboard,
    hidden,
    method_variable,
    moment,
    numbers,
    override,
    panel,
    pattern,
    query,
    steps,
    timeframe_variable,
    variable,
    words,
)
from operators.methods import OLS


def now() -> Json:
    return panel(
        "stat",
        "$pair · $timeframe · $method",
        "The newest values. Edge: the deviation in basis points less a round trip's cost on both legs; below "
        "0 there is nothing to earn. Cointegrated: at least half of the last 20 tests passed. Half-life: "
        "bars until half of a deviation is gone, shown only while cointegrated. Stale leg: a leg has had no "
        "trade for a minute (source.stale) and three bars, so its price is old and z with it; no alert that "
        "depends on it opens meanwhile.",
        [
            query(
                f"""
                SELECT zscore AS "z-score",
                    edge_bps AS "Edge after costs", correlation AS "Correlation",
                    hedge_ratio AS "Hedge ratio", r2 AS "R²",
                    {freshness("ts", "timeframe", "complete", "stale")} AS "Data"
                {SIGNALS} LATEST ON ts PARTITION BY pair, timeframe, method
                """,
                "table",
            ),
            query(
                f"""
                SELECT CASE WHEN stationary THEN 'yes' WHEN coint_share IS NULL THEN 'not yet known'
                    ELSE 'no' END AS "Cointegrated",
                    coint_share AS "Tests passed", CASE WHEN stationary THEN half_life END AS "Half-life"
                {TESTS} LATEST ON ts PARTITION BY pair, timeframe, method
                """,
                "table",
                "B",
            ),
        ],
        (0, 0, 19, 4),
        options=numbers(),
        field={**by_steps((None, QUIET))},
        empty="–",
        overrides=[
            override("z-score", decimals=2, thresholds=Z_COLORS),
            override(
                "Edge after costs", unit="suffix: bp", decimals=1, thresholds=steps((None, DIM), (0, UP))
            ),
            override("Correlation", decimals=2, thresholds=steps((None, ALARM), (0.5, WARN), (0.7, CALM))),
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
                mappings=words({"complete": CALM, "incomplete": WARN, "stale": ALARM, "stale leg": ALARM}),
            ),
        ],
    )


def side_of_a_return() -> Json:
    return panel(
        "stat",
        "Side",
        "Which leg to sell and which to buy for a return of the spread to its mean, once |z| reaches 2. "
        "Weak: the pair does not test as cointegrated, the edge after costs is not above 0, bars miss "
        "trades, or a leg has stopped trading.",
        [
            query(
                f"""
                SELECT CASE WHEN s.data = 'stale' THEN 'no new bars'
                    WHEN abs(s.zscore) >= {EXTENDED}
                        AND NOT (t.stationary AND s.edge_bps > 0 AND s.data = 'complete')
                    THEN concat(s.side, ' (weak)')
                    ELSE s.side END AS "Side"
                FROM (
                SELECT pair, zscore, edge_bps, {side("zscore", Y, X)} AS side,
                    {freshness("ts", "timeframe", "complete", "stale")} AS data
                {SIGNALS} LATEST ON ts PARTITION BY pair, timeframe, method
                ) s LEFT JOIN (
                SELECT pair, stationary FROM cointegration
                WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = '{OLS}' AND $__timeFilter(ts)
                LATEST ON ts PARTITION BY pair, timeframe
                ) t ON t.pair = s.pair
                """,
                "table",
            )
        ],
        (19, 0, 5, 4),
        options={**numbers(18), "textMode": "value"},
        field={
            **by_steps((None, QUIET)),
            "mappings": [
                *pattern(r"^((sell|buy) .*\(weak\))$", "$1", QUIET),
                *pattern("^(sell|buy) (.*)", "$1 $2", WARN),
            ],
        },
        empty="no signals in this range",
    )


def episodes_of_pair() -> Json:
    return panel(
        "table",
        "Alert episodes of $pair",
        "Every episode of an alert rule of pipeline.yaml for this pair, newest first: how long it lasted, "
        "how far it went, and the edge after costs at its newest row.",
        [
            query(
                episodes(
                    """since AS "Since", rule AS "Rule", priority AS "Priority", timeframe AS "Timeframe",
                    threshold AS "Threshold", furthest AS "Furthest", edge_bps AS "Edge", seconds AS "Lasted",
                    CASE WHEN active THEN 'open' ELSE 'over' END AS "State" """,
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
    )


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
        now(),
        side_of_a_return(),
        z_score(),
        deviation(),
        legs(),
        edge(),
        hedge_ratio(),
        correlation(),
        p_values(),
        half_life(),
        methods(),
        other_tests(),
        episodes_of_pair(),
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
