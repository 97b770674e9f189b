"""The alert rules of Grafana: grafana/provisioning/alerting/rules.yaml.

The pipeline decides which alerts are open, Grafana notifies. Table `alerts` holds the state of each rule of
pipeline.yaml for each subject, with hysteresis already applied, so a few rules of Grafana cover every pair.
A rule that is removed here must be listed under deleteRules. In queries and annotations `$` is not doubled:
Grafana does not expand variables there.
"""

from typing import Any

import yaml

from grafana.messages import SIGNAL, evaluated
from grafana.statements import seconds, sql
from grafana.vocabulary import Json
from operators.methods import OLS

EVERY = "10s"  # the shortest interval that Grafana allows: a notification is up to 10 s behind its row
FRESH_S = 60  # the rule "No new bars" fires when the next bar is overdue by more than this …
OVERDUE_FOR = "2m"  # … for this long: a cold start compiles and fetches history before its first bar
HEADER = "# Made by `python -m grafana.build` from grafana/rules.py: edit that.\n"


def data(ref: str, text: str, since_s: int = 600) -> Json:
    """A query of a rule, over the last `since_s` seconds."""
    model = {"refId": ref, "format": "table", "rawQuery": True, "editorMode": "code", "rawSql": sql(text)}
    return {
        "refId": ref,
        "relativeTimeRange": {"from": since_s, "to": 0},
        "datasourceUid": "questdb",
        "model": model,
    }


def above(level: float) -> Json:
    """The condition C of a rule: query A is above the level."""
    # Not of type `math`: NULL becomes NaN, and the rule would fire on it.
    model = {
        "refId": "C",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [level]}}],
    }
    return {"refId": "C", "datasourceUid": "__expr__", "model": model}


def rule(
    uid: str,
    title: str,
    panel: tuple[str, int],
    priority: str,
    annotations: Json,
    queries: list[Json],
    **changes: Any,
) -> Json:
    """A rule that links to a panel (uid of the dashboard, id of the panel). `changes` are further keys."""
    board, number = panel
    return {
        "uid": f"pairflow-{uid}",
        "title": title,
        "condition": "C",
        "for": "0s",
        "noDataState": "OK",
        "execErrState": "KeepLast",  # only the rule "No new bars" reports an unreachable database
        "dashboardUid": board,
        "panelId": number,
        "labels": {"priority": priority, "service": "pairflow"},
        "annotations": annotations,
        "data": queries,
        **changes,
    }


# ---------------------------------------------------------------- signals

# The pipeline writes a row at every change and every whole minute, so an older row is not about the present.
# After a start the pipeline catches up: episodes that open on the way must not be reported.
RECENT_S = 120
# A pair that waits for missing trades writes no rows. Grafana keeps its alert for this many evaluations (an
# hour); then the alert is over.
HELD_EVALUATIONS = 360
# An episode still counts as open for this long after its end, so that an evaluation sees a short one: rules
# are evaluated every 10 s, and rows arrive some seconds after their time.
SEEN_S = 15
# How long Grafana keeps an alert firing after its episode is over. At high and medium priority: Grafana would
# not report an alert that fires again within 30 s of a message. At low priority: a digest covers 15 minutes.
# An episode that opens again meanwhile belongs to the same alert.
KEEP_FIRING = {"high": "40s", "medium": "40s", "low": "15m"}
NEWEST = """
    SELECT rule, subject, timeframe, metric, coalesce(side::string, '') AS side,
        coalesce(method::string, '') AS method, {column} AS {name}
    FROM alerts WHERE priority = '{priority}' AND $__timeFilter(ts)
    LATEST ON ts PARTITION BY rule, subject, timeframe
"""
EPISODES = """
    SELECT n.rule, n.subject, n.timeframe, n.metric, n.side, n.method, {column} AS {name} FROM ({newest}) n
    LEFT JOIN (
    SELECT rule, subject, timeframe, max(episode) AS episode, max(ts) AS until FROM alerts
    WHERE priority = '{priority}' AND episode IS NOT NULL AND ts > dateadd('h', -1, now())
    GROUP BY rule, subject, timeframe
    ) e ON e.rule = n.rule AND e.subject = n.subject AND e.timeframe = n.timeframe
"""
SHARE = """
    SELECT n.rule, n.subject, n.timeframe, n.metric, n.side, n.method, t.coint_share AS share
    FROM ({newest}) n
    LEFT JOIN (
    SELECT pair, timeframe, coint_share FROM cointegration
    WHERE method = '{method}' AND ts > dateadd('d', -1, now()) LATEST ON ts PARTITION BY pair, timeframe
    ) t ON t.pair = n.subject AND t.timeframe = n.timeframe
"""


def texts(priority: str) -> dict[str, str]:
    """The statements of a signal's rule: A decides whether it fires, the others are the message's numbers.

    Grafana takes one number per query, and joins the queries by their labels; NULL becomes NaN. Every query
    needs a row for every row of A: if one has none, Grafana treats the whole rule as one without data.
    """

    def newest(name: str, column: str) -> str:
        return NEWEST.format(priority=priority, name=name, column=column)

    active = newest("active", "active")
    seen = f"CASE WHEN n.active OR e.until > dateadd('s', -{SEEN_S}, now()) THEN 1 ELSE 0 END"
    return {
        "A": EPISODES.format(priority=priority, newest=active, name="firing", column=seen),
        "B": newest("value", "value"),
        "D": newest("threshold", "threshold"),
        "E": newest("coint_pvalue", "coint_pvalue"),
        "F": newest("data", "CAST(complete AS INT) + 2 * CAST(stale AS INT)"),
        "G": newest("edge_bps", "edge_bps"),
        # in seconds since 1970
        "H": EPISODES.format(priority=priority, newest=active, name="since", column="e.episode / 1000000"),
        "I": SHARE.format(newest=active, method=OLS),
        "J": newest("active", "CAST(active AS INT)"),
    }


def signal(priority: str, panel: tuple[str, int]) -> Json:
    queries = [data(ref, text, RECENT_S) for ref, text in texts(priority).items()]
    # Without any rows no alert is known to be over: the pipeline or the database is not running. The rule
    # "No new bars" reports that.
    held = {
        "noDataState": "KeepLast",
        "missing_series_evals_to_resolve": HELD_EVALUATIONS,
        "keepFiringFor": KEEP_FIRING[priority],
    }
    return rule(
        priority, f"Signal, {priority} priority", panel, priority, SIGNAL, [*queries, above(0.5)], **held
    )


# ---------------------------------------------------------------- pipeline

# By how many seconds the next bar of the shortest timeframe is overdue. Before the first bar it has no row,
# and the rule does not fire.
OVERDUE = f"""
    SELECT datediff('s', ts, now()) - 2 * length AS overdue FROM (
    SELECT ts, {seconds("timeframe::string")} AS length FROM bars
    WHERE ts > (SELECT dateadd('m', -15, max(ts)) FROM bars) LATEST ON ts PARTITION BY timeframe
    ) ORDER BY length LIMIT 1
"""


def own(health: dict[str, int]) -> list[Json]:
    """The rules on the pipeline and its data. `health` has the ids of that dashboard's panels by title."""

    def at(title: str) -> tuple[str, int]:
        return "pairflow-health", health[title]

    link = "{{ externalURL }}d/pairflow-health"
    return [
        rule(
            "stale",
            "No new bars",
            at("Now"),
            "pipeline",
            {
                "summary": "No new bars, or the database does not answer",
                # Without an answer of QuestDB there is no value, or the value is -1.
                "description": evaluated(
                    f"{{{{ if gt $values.A.Value {FRESH_S}.0 }}}}The next bar is "
                    '{{ printf "%.0f" $values.A.Value }} s overdue: see the log of the pipeline. '
                    "{{ else }}QuestDB gave no answer: see its log. {{ end }}"
                )
                + "Signals are not renewed meanwhile; open alerts stay open.",
                "link": link,
            },
            [data("A", OVERDUE), above(FRESH_S)],
            **{
                "for": OVERDUE_FOR,
                "execErrState": "Alerting",
            },  # this rule alone reports an unreachable QuestDB
        ),
        rule(
            "suspended",
            "Table suspended",
            at("Tables"),
            "pipeline",
            {
                "summary": "Table {{ $labels.table_name }} is suspended: rows are taken but not shown",
                "description": "See the database log, then run: "
                "ALTER TABLE {{ $labels.table_name }} RESUME WAL",
                "link": link,
            },
            [
                data("A", "SELECT name AS table_name, CAST(suspended AS INT) AS suspended FROM wal_tables()"),
                above(0.5),
            ],
        ),
        rule(
            "gap",
            "Open gap",
            at("Gaps"),
            "pipeline",
            {
                "summary": evaluated('{{ printf "%.0f" $values.A.Value }} ')
                + "gap(s) in the trades of {{ $labels.symbol }} are not filled",
                "description": "The exchange has not yet handed over trades that are missing; "
                "bars and signals of this symbol wait for them.",
                "link": link,
            },
            [
                data(
                    "A",
                    """
                    SELECT symbol, count() AS gaps FROM gaps
                    WHERE status = 'open' AND $__timeFilter(ts) GROUP BY symbol
                    """,
                    86_400,
                ),
                above(0.5),
            ],
            **{"for": "1m"},  # a gap is normally filled within seconds
        ),
        rule(
            "audit",
            "Audit mismatch",
            at("Audits"),
            "pipeline",
            {
                "summary": evaluated('{{ printf "%.0f" $values.A.Value }} ')
                + "bar(s) of {{ $labels.symbol }} {{ $labels.timeframe }} in the last hour "
                "differ from the exchange's klines",
                "description": "Table audits says in which fields. "
                "Signals of pairs with this symbol rest on these bars.",
                "link": link,
            },
            [
                # The table holds only differences that remained after the exchange was asked several times.
                data(
                    "A",
                    """
                    SELECT symbol, timeframe, count_distinct(ts) AS bars FROM audits
                    WHERE $__timeFilter(ts) GROUP BY symbol, timeframe
                    """,
                    3_600,
                ),
                above(0.5),
            ],
        ),
    ]


def text_of(panels: dict[str, dict[str, int]]) -> str:
    """The text of rules.yaml. `panels` has the ids of the panels by dashboard and title."""
    signals = [
        signal(priority, ("pairflow-pair", panels["pair"]["z-score"]))
        for priority in ("high", "medium", "low")
    ]
    groups = [("signals", signals), ("pipeline", own(panels["health"]))]
    tree = {
        "apiVersion": 1,
        "groups": [
            {"orgId": 1, "name": name, "folder": "Pairflow", "interval": EVERY, "rules": rules}
            for name, rules in groups
        ],
    }
    return HEADER + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes no anchors and aliases, so that each rule can be read alone."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
