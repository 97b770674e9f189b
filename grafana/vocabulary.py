"""What the dashboards consist of: panels on a grid of 24 columns, their fields, variables, the dashboard.

Each function returns a part of the JSON that Grafana reads. What a reader sees of a panel (unit, decimals,
description, empty state) is written next to the query that it belongs to.
"""

from typing import Any

from grafana.statements import PAIR, episodes, names, seconds, sql
from operators.methods import OLS

Json = dict[str, Any]

QUESTDB = {"type": "grafana-postgresql-datasource", "uid": "questdb"}
POINTS = 500  # candles or points that a chart shows at most; SAMPLE BY merges those of longer ranges
SPARK = 60  # the same for a line within a table

# One colour per meaning, from Grafana's palette, which adapts them to the dark and the light theme.
UP, DOWN, CALM, WARN, ALARM, PLAIN, QUIET = "green", "red", "green", "orange", "red", "blue", "text"
DIM = "rgba(128, 128, 128, 0.55)"


def query(text: str, shape: str = "time_series", ref: str = "A") -> Json:
    """A statement of a panel. `shape` is "time_series" or "table", `ref` its letter within the panel."""
    return {
        "refId": ref,
        "datasource": QUESTDB,
        "format": shape,
        "rawQuery": True,
        "editorMode": "code",
        "rawSql": sql(text),
    }


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Thresholds: the colour from each value on. The first value is None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}


def by_steps(*pairs: tuple[float | None, str]) -> Json:
    """The properties of a field whose values have the colours of these steps."""
    return {"color": {"mode": "thresholds"}, "thresholds": steps(*pairs)}


def fixed(color: str) -> Json:
    return {"mode": "fixed", "fixedColor": color}


def override(name: str, /, *, regex: bool = False, **properties: Any) -> Json:
    """Properties of the field of that name. `custom__lineWidth` becomes `custom.lineWidth`."""
    matcher = {"id": "byRegexp" if regex else "byName", "options": name}
    return {
        "matcher": matcher,
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def words(colors: dict[str, str], texts: dict[str, str] | None = None) -> list[Json]:
    """Mappings of a field whose values are words: the colour of each, and the text that is shown for it."""
    shown = texts or {}
    options = {
        word: {"color": color, "index": index, **({"text": shown[word]} if word in shown else {})}
        for index, (word, color) in enumerate(colors.items())
    }
    return [{"type": "value", "options": options}]


def pattern(regex: str, text: str, color: str) -> list[Json]:
    """Mappings of a field whose values match `regex`: the text that is shown for it, and its colour."""
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
    """One panel. `at` is x, y, width and height on the grid; `empty` is the text of a panel without rows.

    `field` and `custom` are the defaults of all fields, `overrides` the properties of single fields.
    """
    x, y, w, h = at
    defaults = {"noValue": empty, **(field or {})}
    if custom is not None:
        defaults["custom"] = custom
    # In a table `empty` is the text of the whole panel; a cell without a value shows a dash.
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
    """The style of a time series: `panel(..., custom=lines())`."""
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
    """The options of a time series: `panel(..., options=chart())`."""
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
    """The options of a row of single numbers: `panel("stat", ..., options=numbers())`."""
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
    """The options and the cells of a table: `panel("table", ..., **cells())`."""
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
    """A column of numbers, each in the colour of the step of `limits` that it is in."""
    return override(
        name,
        custom__cellOptions={"type": "color-text"},
        color={"mode": "thresholds"},
        thresholds=limits,
        **properties,
    )


def opens(board: str, title: str, **variables: str) -> list[Json]:
    """The link of a cell to another dashboard (its name in BOARDS), with the same time range."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return [
        {"title": title, "url": f"/d/pairflow-{board}?${{__url_time_range}}{chosen}", "targetBlank": False}
    ]


def variable(name: str, label: str, description: str, text: str, default: str) -> Json:
    """A variable of a dashboard, whose choices are the rows of the statement `text`."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": QUESTDB,
        "query": sql(text),
        "definition": sql(text),
        "refresh": 2,  # asked again when the time range changes
        "sort": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
        "current": {"selected": True, "text": default, "value": default},
    }


def hidden(name: str, text: str) -> Json:
    """A variable that the page does not show, computed from others.

    It reaches a condition as a literal. With a literal QuestDB compiles the filter, with an expression not.
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


def annotation(name: str, color: str, *priorities: str) -> Json:
    """The alert episodes of the chosen pair with these priorities, as shaded regions of a chart."""
    chosen = ", ".join(f"'{priority}'" for priority in priorities)
    columns = """since AS time, until AS timeend, rule AS title,
        concat('threshold ', round(threshold, 4), ', furthest ', round(furthest, 4)) AS text,
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
    """The dashboard of that name in BOARDS.

    Annotations are drawn on the panels whose titles are in `annotated`; they would cover small ones.
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
