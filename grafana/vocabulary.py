"""What the dashboards are made of: queries, units, colours, panels on a grid of 24 columns, variables, and
the dashboard itself.

Everything a reader sees (unit, decimals, description, empty state) stands beside the query it belongs to.
Values of variables reach SQL only as `${name:sqlstring}`, which quotes them.
"""

from typing import Any

from operators.methods import OLS

Json = dict[str, Any]

QUESTDB = {"type": "grafana-postgresql-datasource", "uid": "questdb"}
POINTS = 500  # candles or points a chart shows at most; longer ranges are merged by SAMPLE BY
SPARK = 60  # those of a line within a table

# One colour per meaning, from Grafana's palette: it adapts them to the dark and the light theme.
UP, DOWN, CALM, WARN, ALARM, PLAIN, QUIET = "green", "red", "green", "orange", "red", "blue", "text"
DIM = "rgba(128, 128, 128, 0.55)"

# The values of variables, quoted.
SYMBOL = "${symbol:sqlstring}"
TIMEFRAME = "${timeframe:sqlstring}"
PAIR = "${pair:sqlstring}"
METHOD = "${method:sqlstring}"

EXTENDED, EXTREME = 2, 3  # |z| from which a signal is one, and from which it may be strong
NOW = "least(CAST($__timeTo() AS TIMESTAMP), now())"  # the end of the range, which may be the end of today


def seconds(timeframe: str) -> str:
    """SQL: the length in seconds of a timeframe such as '30s', '5m', '1h' or '1d'; of no timeframe, as while
    there are no data, 1 or so.
    """
    unit = f"right({timeframe}, 1)"
    scale = (
        f"CASE WHEN {unit} = 's' THEN 1 WHEN {unit} = 'm' THEN 60 WHEN {unit} = 'h' THEN 3600 ELSE 86400 END"
    )
    return f"coalesce(CAST(left({timeframe}, length({timeframe}) - 1) AS INT), 1) * {scale}"


def recent(table: str, unit: str, length: int | str, condition: str = "") -> str:
    """SQL: rows of the range's last time with data. What is newest is looked for there alone: a whole range
    may be a year.

    What a pipeline that stopped has left is shown, then, and not an empty page.
    """
    # not with BETWEEN: beside it QuestDB takes constants alone
    return f"ts <= $__timeTo() AND ts > (SELECT dateadd('{unit}', -{length}, ts) FROM {table} WHERE {condition}$__timeFilter(ts) LIMIT -1)"


def names(column: str, table: str) -> str:
    """SQL: every name in a column in the range. DISTINCT would read the whole range, at each refresh; this
    begins at its end.
    """
    return f"SELECT {column} FROM (SELECT ts, {column} FROM {table} WHERE $__timeFilter(ts) LATEST ON ts PARTITION BY {column})"


def newest_bar() -> str:
    """SQL: one row, `age`: seconds since the newest bar closed; NULL before the first."""
    return f"""
        SELECT min(datediff('s', ts, now()) - {seconds("timeframe::string")}) AS age
        FROM (SELECT ts, timeframe FROM bars WHERE ts > (SELECT dateadd('h', -1, max(ts)) FROM bars) LATEST ON ts PARTITION BY timeframe)
    """


def freshness(ts: str, timeframe: str, complete: str, stale: str) -> str:
    """SQL: whether a pair's newest row may be believed, in a word. Stale is the row, or in it the price of a
    leg.
    """
    return f"""CASE WHEN datediff('s', {ts}, {NOW}) > 15 + 3 * {seconds(f"{timeframe}::string")} THEN 'stale'
        WHEN {stale} THEN 'stale leg' WHEN {complete} THEN 'complete' ELSE 'incomplete' END"""


def side(z: str, y: str, x: str) -> str:
    """SQL: what a return of the spread to its mean would ask for, in words."""
    return f"""CASE WHEN {z} >= {EXTENDED} THEN concat('sell ', {y}, ', buy ', {x})
        WHEN {z} <= -{EXTENDED} THEN concat('buy ', {y}, ', sell ', {x}) WHEN {z} IS NULL THEN 'window filling' ELSE 'wait: |z| < {EXTENDED}' END"""


def sql(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def query(text: str, shape: str = "time_series", ref: str = "A") -> Json:
    return {
        "refId": ref,
        "datasource": QUESTDB,
        "format": shape,
        "rawQuery": True,
        "editorMode": "code",
        "rawSql": sql(text),
    }


def steps(*pairs: tuple[float | None, str]) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}


def fixed(color: str) -> Json:
    return {"mode": "fixed", "fixedColor": color}


def override(name: str, /, *, regex: bool = False, **properties: Any) -> Json:
    """Properties of the field of that name; `custom__lineWidth` stands for `custom.lineWidth`."""
    matcher = {"id": "byRegexp" if regex else "byName", "options": name}
    return {
        "matcher": matcher,
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def words(colors: dict[str, str], texts: dict[str, str] | None = None) -> list[Json]:
    """Mappings of a field whose values are words: the colour of each, and what is shown instead."""
    shown = texts or {}
    options = {
        word: {"color": color, "index": index, **({"text": shown[word]} if word in shown else {})}
        for index, (word, color) in enumerate(colors.items())
    }
    return [{"type": "value", "options": options}]


def pattern(regex: str, text: str, color: str) -> list[Json]:
    return [
        {"type": "regex", "options": {"pattern": regex, "result": {"text": text, "color": color, "index": 0}}}
    ]


PRIORITIES = {"high": ALARM, "medium": WARN, "low": PLAIN}
Z_STEPS = steps((None, ALARM), (-3, WARN), (-2, "transparent"), (2, WARN), (3, ALARM))
Z_COLORS = steps((None, ALARM), (-3, WARN), (-2, CALM), (2, WARN), (3, ALARM))


AGE_STEPS = steps((None, CALM), (15, WARN), (60, ALARM))  # seconds since the newest bar closed


def panel(
    kind: str,
    title: str,
    description: str,
    queries: list[Json],
    at: tuple[int, int, int, int],
    *,
    options: Json | None = None,
    field: Json | None = None,
    custom: Json | None = None,
    overrides: list[Json] | None = None,
    empty: str,
    interval: str | None = None,
    **extra: Any,
) -> Json:
    x, y, w, h = at
    defaults = {"noValue": empty, **(field or {})}
    if custom is not None:
        defaults["custom"] = custom
    # `empty` is what the whole panel says; a cell without a value has a dash
    dashes = [override(".*", regex=True, noValue="–")] if kind == "table" else []
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": QUESTDB,
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": queries,
        "maxDataPoints": POINTS,
        **({"interval": interval} if interval else {}),
        "options": options or {},
        "fieldConfig": {"defaults": defaults, "overrides": dashes + (overrides or [])},
        **extra,
    }


def lines(**changes: Any) -> Json:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 0,
        "showPoints": "never",
        "spanNulls": False,
        "axisBorderShow": False,
        "axisPlacement": "right",
        "axisSoftMin": None,
        "lineInterpolation": "linear",
        "thresholdsStyle": {"mode": "off"},
        "insertNulls": False,
        **changes,
    }


def chart(legend: str = "list", calcs: tuple[str, ...] = (), sort: str = "none") -> Json:
    return {
        "legend": {
            "displayMode": legend,
            "placement": "bottom",
            "showLegend": legend != "hidden",
            "calcs": list(calcs),
        },
        "tooltip": {"mode": "multi", "sort": sort},
    }


def numbers(size: int = 22, mode: str = "value", orientation: str = "vertical") -> Json:
    return {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": "/.*/"},
        "orientation": orientation,
        "textMode": "value_and_name",
        "wideLayout": False,
        "colorMode": mode,
        "graphMode": "none",
        "justifyMode": "center",
        "text": {"valueSize": size, "titleSize": 12},
        "showPercentChange": False,
    }


def cells(align: str = "auto", least: int = 60, **changes: Any) -> Json:
    """The options and the cells of a table: `panel(..., **cells())`."""
    return {
        "options": {"showHeader": True, "cellHeight": "sm"},
        "custom": {
            "align": align,
            "filterable": False,
            "cellOptions": {"type": "auto"},
            "minWidth": least,
            **changes,
        },
    }


def colored(
    name: str, colors: dict[str, str], /, texts: dict[str, str] | None = None, **properties: Any
) -> Json:
    """A column of words, each in its colour."""
    return override(
        name, custom__cellOptions={"type": "color-text"}, mappings=words(colors, texts), **properties
    )


def moment(name: str) -> Json:
    """A column of times, to the second."""
    return override(name, unit="time:YYYY-MM-DD HH:mm:ss", custom__width=155)


def graded(name: str, limits: Json, **properties: Any) -> Json:
    """A column of numbers, each in the colour of its grade."""
    return override(
        name,
        custom__cellOptions={"type": "color-text"},
        color={"mode": "thresholds"},
        thresholds=limits,
        **properties,
    )


def opens(board: str, title: str, **variables: str) -> list[Json]:
    """The link of a cell: another dashboard (its name in BOARDS) at the same time, with these variables."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return [
        {"title": title, "url": f"/d/pairflow-{board}?${{__url_time_range}}{chosen}", "targetBlank": False}
    ]


def variable(name: str, label: str, description: str, text: str, default: str) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": QUESTDB,
        "query": sql(text),
        "definition": sql(text),
        "refresh": 2,  # the choice follows the time range
        "sort": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
        "current": {"selected": True, "text": default, "value": default},
    }


def hidden(name: str, text: str) -> Json:
    """A variable that nobody chooses: as a literal in a condition it lets QuestDB compile the filter, an
    expression does not.
    """
    return {**variable(name, name, "", text, ""), "hide": 2}


def timeframe_variable(table: str, default: str, description: str = "The bars the statistics count") -> Json:
    text = f"""
        SELECT timeframe FROM (
        SELECT timeframe, {seconds("timeframe::string")} AS length FROM ({names("timeframe", table)})
        ) ORDER BY length
    """
    return variable("timeframe", "Timeframe", description, text, default)


def method_variable() -> Json:
    return variable(
        "method",
        "Method",
        "How the hedge ratio is estimated",
        f"{names('method', 'signals')} ORDER BY method DESC",
        OLS,
    )


# An alert's rows of one opening carry its time as their `episode`, the row that closes it too; a row is
# written at every change and every whole minute. So an episode ends at the newest of its rows, and is over
# when that one is not active.
def episodes(columns: str, condition: str) -> str:
    """SQL: one row for each alert episode that had rows in the range, with these columns of `since`, `until`,
    `seconds`, `furthest` …
    """
    return f"""
        SELECT {columns} FROM (
        SELECT rule, subject, timeframe, priority, metric, CAST(episode AS TIMESTAMP) AS since, max(ts) AS until,
            datediff('s', CAST(episode AS TIMESTAMP), max(ts)) AS seconds, last(threshold) AS threshold,
            {furthest("value")} AS furthest, side,
            last(active) AS active, last(value) AS value, last(coint_pvalue) AS coint_pvalue, last(edge_bps) AS edge_bps
        FROM alerts WHERE episode IS NOT NULL AND {condition}$__timeFilter(ts)
        GROUP BY rule, subject, timeframe, priority, metric, side, episode
        )
    """


def extreme(value: str) -> str:
    """SQL: of an interval's values the one furthest from 0: the last one would hide what lies between."""
    return f"CASE WHEN max({value}) >= -min({value}) THEN max({value}) ELSE min({value}) END"


def furthest(value: str) -> str:
    """SQL: of rows grouped by `side`, the value furthest beyond their threshold."""
    return f"CASE WHEN side = 'below' OR (side = 'outside' AND -min({value}) > max({value})) THEN min({value}) ELSE max({value}) END"


# The newest row of every alert. A pair that is held back by a gap writes none meanwhile.
ALERTS_NOW = f"""
    SELECT ts, rule, subject, timeframe, priority, value, threshold, active, episode, coint_pvalue, complete, stale, edge_bps
    FROM alerts WHERE {recent("alerts", "h", 1)} LATEST ON ts PARTITION BY rule, subject, timeframe
"""


def annotation(name: str, color: str, *priorities: str) -> Json:
    chosen = ", ".join(f"'{priority}'" for priority in priorities)
    columns = """since AS time, until AS timeend, rule AS title, concat('threshold ', round(threshold, 4), ', furthest ', round(furthest, 4)) AS text,
        concat(priority, ',', timeframe) AS tags"""
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": QUESTDB,
        "target": query(
            episodes(columns, f"subject = {PAIR} AND priority IN ({chosen}) AND ") + " ORDER BY time",
            "table",
            "Anno",
        ),
    }


BOARDS = {
    "overview": "Overview",
    "pair": "Pair",
    "market": "Market",
    "health": "Data health",
    "alerts": "Alerts",
}


def dashboard(
    name: str,
    description: str,
    variables: list[Json],
    panels: list[Json],
    *,
    annotations: list[Json] | None = None,
    annotated: tuple[str, ...] = (),
    since: str = "now-1h",
) -> Json:
    """The dashboard of that name in BOARDS. `annotated`: the titles of the panels on which annotations are
    drawn; small ones they would hide.
    """
    for number, each in enumerate(panels, start=1):
        each["id"] = number
    numbered = {each["title"]: each["id"] for each in panels}
    for each in annotations or []:
        each["filter"] = {"exclude": False, "ids": [numbered[title] for title in annotated]}
    link = {
        "type": "link",
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
    }
    links = [
        {**link, "title": title, "url": f"/d/pairflow-{other}"}
        for other, title in BOARDS.items()
        if other != name
    ]
    return {
        "uid": f"pairflow-{name}",
        "title": BOARDS[name],
        "description": description,
        "tags": ["pairflow"],
        "schemaVersion": 42,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one crosshair over all panels
        "liveNow": False,
        "refresh": "2s",
        "time": {"from": since, "to": "now"},
        "timezone": "browser",
        "timepicker": {"refresh_intervals": ["1s", "2s", "5s", "10s", "30s", "1m", "5m"]},
        "links": links,
        "templating": {"list": variables},
        "annotations": {"list": annotations or []},
        "panels": panels,
    }
