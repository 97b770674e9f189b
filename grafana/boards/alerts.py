"""Dashboard Alerts: which alert episodes are open, which were, how often, how long and how far."""

from grafana.statements import ALERTS_NOW, NOW, episodes, furthest, newest_bar
from grafana.vocabulary import (
    AGE_STEPS,
    ALARM,
    CALM,
    DIM,
    PLAIN,
    PRIORITIES,
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
    opens,
    override,
    panel,
    query,
    steps,
)

SUBJECT = (
    """subject AS "Subject", CASE WHEN subject::string LIKE '%-%' THEN 'pair' ELSE 'market' END AS "Board" """
)
LINK = opens(
    "${__data.fields.Board}",
    "Open it",
    pair="${__value.raw}",
    symbol="${__value.raw}",
    timeframe="${__data.fields.Timeframe}",
)
LOOKS = [
    moment("Since"),
    override("Subject", links=LINK, custom__width=190),
    override("Board", custom__hideFrom__viz=True),
    colored("Priority", PRIORITIES),
    override("Value|Threshold|Furthest", regex=True, decimals=2, unit="none"),
    override("Lasted|Longest|Typical|In all", regex=True, unit="dtdurations", decimals=0),
    override("p-value", decimals=3, unit="none"),
    override("Edge", unit="suffix: bp", decimals=1),
]


def open_now() -> Json:
    return panel(
        "stat",
        "Open now",
        "Alert episodes that are open, by the priority that pipeline.yaml gives their rule, and how long ago "
        "the newest bar closed: without new bars no episode opens or closes.",
        [
            query(
                f"""
                SELECT coalesce(sum(CASE WHEN priority = 'high' THEN 1 ELSE 0 END), 0) AS "High",
                    coalesce(sum(CASE WHEN priority = 'medium' THEN 1 ELSE 0 END), 0) AS "Medium",
                    coalesce(sum(CASE WHEN priority = 'low' THEN 1 ELSE 0 END), 0) AS "Low"
                FROM ({ALERTS_NOW}) WHERE active
                """,
                "table",
            ),
            query(f'SELECT age AS "Newest bar" FROM ({newest_bar()})', "table", "B"),
        ],
        (0, 0, 8, 4),
        options=numbers(26),
        field={
            **by_steps((None, QUIET)),
            "decimals": 0,
            "unit": "none",
        },
        empty="–",
        overrides=[
            override("High", thresholds=steps((None, QUIET), (1, ALARM))),
            override("Medium", thresholds=steps((None, QUIET), (1, WARN))),
            override("Low", thresholds=steps((None, QUIET), (1, PLAIN))),
            override("Newest bar", unit="s", thresholds=AGE_STEPS),
        ],
    )


def episodes_in_range() -> Json:
    return panel(
        "stat",
        "Episodes in this range",
        "How many alert episodes there were, how many of them had high priority, how long they lasted on "
        "average (Typical), and the longest.",
        [
            query(
                episodes(
                    """count() AS "Episodes",
                    coalesce(sum(CASE WHEN priority = 'high' THEN 1 ELSE 0 END), 0) AS "High",
                    avg(seconds) AS "Typical", max(seconds) AS "Longest" """,
                    "",
                ),
                "table",
            )
        ],
        (8, 0, 8, 4),
        options=numbers(16),
        field={"color": fixed(QUIET), "thresholds": steps((None, QUIET)), "decimals": 0, "unit": "none"},
        empty="–",
        overrides=[override("Typical|Longest", regex=True, unit="dtdurations")],
    )


def episodes_opened() -> Json:
    return panel(
        "timeseries",
        "Episodes opened",
        "How many alert episodes opened in each interval, by priority.",
        [
            query(
                """
                SELECT ts AS time, priority AS metric, count() AS opened FROM alerts
                WHERE episode = ts::LONG AND active AND $__timeFilter(ts) SAMPLE BY $__interval
                """
            )
        ],
        (16, 0, 8, 4),
        options=chart("hidden"),
        field={"unit": "none", "decimals": 0, "min": 0, "displayName": "${__field.labels.metric}"},
        custom=lines(
            drawStyle="bars", fillOpacity=70, lineWidth=0, stacking={"mode": "normal", "group": "A"}
        ),
        interval="1m",
        maxDataPoints=100,
        empty="no episode opened in this range",
        overrides=[override(name, color=fixed(color)) for name, color in PRIORITIES.items()],
    )


def open_episodes() -> Json:
    return panel(
        "table",
        "Open episodes",
        "Episodes that are open now, the highest priority first. Value and edge are from the newest row of "
        "the episode (written at each change and each whole minute). The p-value is from the pair's newest "
        "Engle–Granger test: above 0.05 its z-score means little. A click on the subject opens the pair.",
        [
            query(
                f"""
                SELECT CAST(episode AS TIMESTAMP) AS "Since", rule AS "Rule", {SUBJECT},
                    timeframe AS "Timeframe", priority AS "Priority",
                    value AS "Value", threshold AS "Threshold", edge_bps AS "Edge", coint_pvalue AS "p-value",
                    CASE WHEN stale THEN 'stale' WHEN complete THEN 'complete' ELSE 'incomplete' END
                        AS "Data",
                    datediff('s', CAST(episode AS TIMESTAMP), {NOW}) AS "Lasted"
                FROM ({ALERTS_NOW}) WHERE active
                ORDER BY CASE WHEN priority = 'high' THEN 0 WHEN priority = 'medium' THEN 1 ELSE 2 END,
                    "Since" DESC
                """,
                "table",
            )
        ],
        (0, 4, 24, 8),
        **cells(filterable=True),
        empty="no alert episode is open",
        overrides=[*LOOKS, colored("Data", {"complete": CALM, "incomplete": WARN, "stale": ALARM})],
    )


def how_often() -> Json:
    return panel(
        "table",
        "How often, how long, how far",
        "The episodes of this range by rule and subject, the most frequent first: their number, their mean "
        "(Typical), longest and total duration, and the value furthest beyond the threshold among the rows "
        "that are written at each change and each whole minute. A rule that is open all day is of no use: "
        "give it a higher threshold or a lower exit.",
        [
            query(
                episodes(
                    f"""rule AS "Rule", {SUBJECT}, timeframe AS "Timeframe", priority AS "Priority",
                    count() AS "Episodes", avg(seconds) AS "Typical", max(seconds) AS "Longest",
                    sum(seconds) AS "In all", last(threshold) AS "Threshold",
                    {furthest("furthest")} AS "Furthest" """,
                    "",
                )
                + ' GROUP BY rule, subject, timeframe, priority, side ORDER BY "Episodes" DESC LIMIT 200',
                "table",
            )
        ],
        (0, 12, 24, 9),
        **cells(filterable=True),
        empty="no alert episode in this range",
        overrides=LOOKS,
    )


def history() -> Json:
    return panel(
        "table",
        "History",
        "Every episode of this range, newest first (at most 500): how long it lasted, how far it went, and "
        "what was left after costs at its newest row. Over: the rule's exit was reached.",
        [
            query(
                episodes(
                    f"""since AS "Since", rule AS "Rule", {SUBJECT}, timeframe AS "Timeframe",
                    priority AS "Priority", threshold AS "Threshold", furthest AS "Furthest",
                    edge_bps AS "Edge", coint_pvalue AS "p-value", seconds AS "Lasted",
                    CASE WHEN active THEN 'open' ELSE 'over' END AS "State" """,
                    "",
                )
                + ' ORDER BY "Since" DESC LIMIT 500',
                "table",
            )
        ],
        (0, 21, 24, 12),
        **cells(filterable=True),
        empty="no alert episode in this range",
        overrides=[*LOOKS, colored("State", {"open": ALARM, "over": DIM})],
    )


def alerts() -> Json:
    panels = [
        open_now(),
        episodes_in_range(),
        episodes_opened(),
        open_episodes(),
        how_often(),
        history(),
    ]
    return dashboard(
        "alerts", "What is open, what was, and how often, how long and how far", [], panels, since="now-24h"
    )
