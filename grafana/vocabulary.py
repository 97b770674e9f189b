"""What the dashboards are made of: queries, units, colours, panels on a grid of 24 columns, variables, and the dashboard itself.

Everything a reader sees (unit, decimals, description, empty state) stands beside the query it belongs to. Values of variables reach SQL
only as `${name:sqlstring}`, which quotes them.
"""

from typing import Any

Json = dict[str, Any]

QUESTDB = {"type": "grafana-postgresql-datasource", "uid": "questdb"}
GRAFANA_VERSION = "12.3.0"
POINTS = 500  # candles or points a chart shows at most; longer ranges are merged by SAMPLE BY

# One colour per meaning, from Grafana's palette: it adapts them to the dark and the light theme.
UP, DOWN, CALM, WARN, ALARM, PLAIN, QUIET = "green", "red", "green", "orange", "red", "blue", "text"
DIM = "rgba(128, 128, 128, 0.55)"

# The values of variables, quoted.
SYMBOL = "${symbol:sqlstring}"
TIMEFRAME = "${timeframe:sqlstring}"
PAIR = "${pair:sqlstring}"
METHOD = "${method:sqlstring}"


def seconds(timeframe: str) -> str:
    """SQL: the length in seconds of a timeframe such as '30s', '5m', '1h' or '1d'."""
    unit = f"right({timeframe}, 1)"
    scale = f"CASE WHEN {unit} = 's' THEN 1 WHEN {unit} = 'm' THEN 60 WHEN {unit} = 'h' THEN 3600 ELSE 86400 END"
    return f"CAST(left({timeframe}, length({timeframe}) - 1) AS INT) * {scale}"


def timeframes(table: str) -> str:
    return f"""
        SELECT timeframe FROM (
        SELECT timeframe, {seconds("timeframe::string")} AS length FROM (SELECT DISTINCT timeframe FROM {table} WHERE $__timeFilter(ts))
        ) ORDER BY length
    """


def sql(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def query(text: str, shape: str = "time_series", ref: str = "A") -> Json:
    return {"refId": ref, "datasource": QUESTDB, "format": shape, "rawQuery": True, "editorMode": "code", "rawSql": sql(text)}


def steps(*pairs: tuple[float | None, str]) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}


def fixed(color: str) -> Json:
    return {"mode": "fixed", "fixedColor": color}


def override(name: str, /, *, regex: bool = False, **properties: Any) -> Json:
    """Properties of the field of that name; `custom__lineWidth` stands for `custom.lineWidth`."""
    matcher = {"id": "byRegexp" if regex else "byName", "options": name}
    return {"matcher": matcher, "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]}


def words(colors: dict[str, str], texts: dict[str, str] | None = None) -> list[Json]:
    """Mappings of a field whose values are words: the colour of each, and what is shown instead."""
    shown = texts or {}
    options = {
        word: {"color": color, "index": index, **({"text": shown[word]} if word in shown else {})}
        for index, (word, color) in enumerate(colors.items())
    }
    return [{"type": "value", "options": options}]


def pattern(regex: str, text: str, color: str) -> list[Json]:
    return [{"type": "regex", "options": {"pattern": regex, "result": {"text": text, "color": color, "index": 0}}}]


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
    empty: str = "nothing in this range",
    interval: str | None = None,
    **extra: Any,
) -> Json:
    x, y, w, h = at
    defaults = {"noValue": empty, **(field or {})}
    if custom is not None:
        defaults["custom"] = custom
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
        "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
        **extra,
    }


def row(title: str, y: int) -> Json:
    return {"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}


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
        "legend": {"displayMode": legend, "placement": "bottom", "showLegend": legend != "hidden", "calcs": list(calcs)},
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


def annotation(name: str, color: str, *priorities: str) -> Json:
    # A row is written at every change and every whole minute. The end of an episode is the next row of its rule, whether or not that row
    # still carries the episode's number; an episode that is still open ends at its newest row.
    chosen = ", ".join(f"'{priority}'" for priority in priorities)
    text = f"""
        SELECT min(ts) AS time, max(until) AS timeend, rule AS title,
            concat('threshold ', threshold, ', furthest ', CASE WHEN first(value) < threshold THEN min(value) ELSE max(value) END) AS text,
            concat(priority, ',', timeframe) AS tags
        FROM (
            SELECT ts, rule, priority, timeframe, threshold, value, active, episode,
                coalesce(lead(ts) OVER (PARTITION BY rule, subject, timeframe ORDER BY ts), ts) AS until
            FROM alerts
            WHERE subject = ${{pair:sqlstring}} AND priority IN ({chosen}) AND $__timeFilter(ts)
        )
        WHERE active
        GROUP BY rule, priority, timeframe, threshold, episode
        ORDER BY time
    """
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": QUESTDB,
        "target": query(text, "table", "Anno"),
    }


def dashboard(
    uid: str, title: str, description: str, variables: list[Json], panels: list[Json], annotations: list[Json], since: str
) -> Json:
    for number, each in enumerate(panels, start=1):
        each["id"] = number
    numbered = {each["title"]: each["id"] for each in panels}
    for each in annotations:  # on these panels only: on small ones the regions hide what is drawn
        each["filter"] = {"exclude": False, "ids": [numbered[title] for title in ("z-score", "Deviation of the spread")]}
    link = {"type": "link", "icon": "dashboard", "includeVars": False, "keepTime": True, "targetBlank": False, "tooltip": ""}
    links = [
        {**link, "title": name, "url": f"/d/{other}"}
        for other, name in (("pairflow-market", "Market"), ("pairflow-pair", "Pair"))
        if other != uid
    ]
    if not annotations:  # the toolbar of the other is full
        links.append({**link, "title": "Alerts", "icon": "bell", "url": "/alerting/list?search=folder:Pairflow", "keepTime": False})
    return {
        "uid": uid,
        "title": title,
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
        "annotations": {"list": annotations},
        "panels": panels,
    }
