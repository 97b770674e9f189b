"""The source of grafana/dashboards/*.json: `python grafana/build.py` writes them, a test checks that they are what this makes.

A dashboard is a list of panels on a grid of 24 columns. Everything a reader sees (unit, decimals, description, empty state) stands beside
the query it belongs to. Values of variables reach SQL only as `${name:sqlstring}`, which quotes them.
"""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

QUESTDB = {"type": "grafana-postgresql-datasource", "uid": "questdb"}
GRAFANA_VERSION = "12.3.0"
POINTS = 500  # candles or points a chart shows at most; longer ranges are merged by SAMPLE BY

# One colour per meaning, from Grafana's palette: it adapts them to the dark and the light theme.
UP, DOWN, CALM, WARN, ALARM, PLAIN, QUIET = "green", "red", "green", "orange", "red", "blue", "text"
DIM = "rgba(128, 128, 128, 0.55)"


def seconds(timeframe: str) -> str:
    """SQL: the length in seconds of a timeframe such as '30s', '5m', '1h' or '1d'."""
    unit = f"right({timeframe}, 1)"
    scale = f"CASE WHEN {unit} = 's' THEN 1 WHEN {unit} = 'm' THEN 60 WHEN {unit} = 'h' THEN 3600 ELSE 86400 END"
    return f"CAST(left({timeframe}, length({timeframe}) - 1) AS INT) * {scale}"


def sql(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


# ---------------------------------------------------------------- vocabulary


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


# ---------------------------------------------------------------- Market

SYMBOL = "${symbol:sqlstring}"
TIMEFRAME = "${timeframe:sqlstring}"
PAIR = "${pair:sqlstring}"
METHOD = "${method:sqlstring}"

# The closed bars of the timeframe, and the 1 s bars since: no partial bar is ever stored, the candle in progress is made here.
CANDLES = f"""
    WITH closed AS (
    SELECT ts, open, high, low, close, volume, quote_volume, buy_volume, trades FROM bars
    WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
    ), progress AS (
    SELECT ts, open, high, low, close, volume, quote_volume, buy_volume, trades FROM bars
    WHERE symbol = {SYMBOL} AND timeframe = '1s' AND ts <= $__timeTo() AND ts >= (
    SELECT coalesce(max(dateadd('s', {seconds("timeframe::string")}, ts)), CAST($__timeFrom() AS TIMESTAMP)) FROM bars
    WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
    )
    ), candles AS (
    (SELECT * FROM closed UNION ALL SELECT * FROM progress) ORDER BY ts
    )
"""

NEWEST = f"""
    SELECT min(datediff('s', ts, now()) - {seconds("timeframe::string")}) AS age
    FROM (SELECT ts, timeframe FROM bars WHERE ts > dateadd('h', -1, now()) LATEST ON ts PARTITION BY timeframe)
"""


def timeframes(table: str) -> str:
    return f"""
        SELECT timeframe FROM (
        SELECT timeframe, {seconds("timeframe::string")} AS length FROM (SELECT DISTINCT timeframe FROM {table} WHERE $__timeFilter(ts))
        ) ORDER BY length
    """


def market() -> Json:
    variables = [
        variable(
            "symbol",
            "Symbol",
            "Every symbol that has bars in this time range",
            "SELECT DISTINCT symbol FROM bars WHERE $__timeFilter(ts) ORDER BY symbol",
            "BTCUSDT",
        ),
        variable(
            "timeframe", "Timeframe", "Length of a candle: every timeframe that has bars in this time range", timeframes("bars"), "10s"
        ),
    ]
    panels = [
        panel(
            "stat",
            "$symbol",
            "Price of the newest trade, and the chosen time range: change since its first candle, highest and lowest price, "
            "what changed hands, and the share of it in which the taker bought (0.5: as much bought as sold).",
            [
                query(
                    f"""
                    {CANDLES}
                    SELECT last(close) AS "Price", last(close) / first(open) - 1 AS "Change", max(high) AS "High", min(low) AS "Low",
                        sum(quote_volume) AS "Turnover", sum(trades) AS "Trades", sum(buy_volume) / sum(volume) AS "Taker buys"
                    FROM candles
                    """,
                    "table",
                )
            ],
            (0, 0, 14, 4),
            options=numbers(),
            field={"color": fixed(QUIET), "thresholds": steps((None, QUIET)), "unit": "none"},
            interval="1s",
            overrides=[
                override("Price|High|Low", regex=True, unit="string"),
                override("Price", color=fixed(PLAIN)),
                override("Change", unit="percentunit", decimals=2, color={"mode": "thresholds"}, thresholds=steps((None, DOWN), (0, UP))),
                override("Turnover", unit="currencyUSD", decimals=1),
                override("Trades", unit="short", decimals=1),
                override("Taker buys", unit="percentunit", decimals=1),
            ],
        ),
        panel(
            "stat",
            "Data health, newest second",
            "Of $symbol: how far behind the exchange its trades arrive, trades a second, messages waiting; and how often its connection "
            "was made again in this time range. Of all symbols: holes in the trades that are still open, and how long ago the newest bar "
            "closed.",
            [
                query(
                    f"""
                    SELECT lag_ms AS "Lag", trades AS "Trades/s", queued AS "Queued"
                    FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) LATEST ON ts PARTITION BY symbol
                    """,
                    "table",
                ),
                # Each row counts the reconnects of its own second.
                query(f'SELECT sum(reconnects) AS "Reconnects" FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts)', "table", "D"),
                query("SELECT count() AS \"Open gaps\" FROM gaps WHERE status = 'open' AND $__timeFilter(ts)", "table", "B"),
                query(f'SELECT age AS "Newest bar" FROM ({NEWEST})', "table", "C"),
            ],
            (14, 0, 10, 4),
            options=numbers(),
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET)), "decimals": 0},
            empty="–",
            overrides=[
                override("Lag", unit="ms", thresholds=steps((None, CALM), (500, WARN), (5000, ALARM))),
                override("Queued", unit="short", thresholds=steps((None, QUIET), (10000, WARN))),
                override("Open gaps", unit="short", thresholds=steps((None, CALM), (1, ALARM))),
                override("Newest bar", unit="s", thresholds=steps((None, CALM), (15, WARN), (60, ALARM))),
            ],
        ),
        panel(
            "candlestick",
            "$symbol · $timeframe",
            "Open, high, low and close with volume below, and the volume-weighted price (VWAP) of each candle as a line. The last candle "
            f"is the one in progress, made of its seconds so far. Over long ranges candles are merged, so that about {POINTS} remain. "
            "Empty: no bars of this symbol and timeframe in this range.",
            [
                query(
                    f"""
                    {CANDLES}
                    SELECT ts AS time, first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close,
                        sum(volume) AS volume, sum(quote_volume) / sum(volume) AS "VWAP"
                    FROM (candles) TIMESTAMP(ts) SAMPLE BY $__interval
                    """,
                    "table",
                )
            ],
            (0, 4, 18, 17),
            options={
                "mode": "candles+volume",
                "candleStyle": "candles",
                "colorStrategy": "open-close",
                "colors": {"up": UP, "down": DOWN},
                "fields": {},
                "includeAllFields": True,
                **chart("hidden"),
            },
            custom=lines(),
            interval="$timeframe",
            empty="no bars of this symbol and timeframe in this range",
            overrides=[
                override("volume", unit="short", custom__axisPlacement="hidden", custom__fillOpacity=40),
                override("VWAP", color=fixed("purple"), custom__lineWidth=1, custom__lineStyle={"fill": "dot", "dash": [2, 4]}),
            ],
        ),
        panel(
            "table",
            "Last trades of $symbol",
            "The 50 newest trades, newest first. Side is what the taker did: buy lifts the offer, sell hits the bid.",
            [
                query(
                    f"""
                    SELECT ts AS "Time", price AS "Price", qty AS "Quantity", side AS "Side"
                    FROM trades WHERE symbol = {SYMBOL} AND $__timeFilter(ts) ORDER BY ts DESC LIMIT 50
                    """,
                    "table",
                )
            ],
            (18, 8, 6, 13),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "right", "filterable": False, "cellOptions": {"type": "auto"}, "minWidth": 50},
            empty="no trades in this range",
            overrides=[
                override("Time", unit="time:HH:mm:ss.SSS", custom__width=102, custom__align="left"),
                override("Price|Quantity", regex=True, unit="string"),  # every digit of it
                override(
                    "Side",
                    custom__width=52,
                    custom__cellOptions={"type": "color-text"},
                    mappings=words({"buy": UP, "sell": DOWN}),
                ),
            ],
        ),
        panel(
            "timeseries",
            "Taker imbalance",
            "Volume in which the taker bought less that in which it sold, as a share of all: +100 % only buyers, −100 % only sellers.",
            [
                query(
                    f"""
                    SELECT ts AS time, 2 * sum(buy_volume) / sum(volume) - 1 AS "Imbalance"
                    FROM bars WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) SAMPLE BY $__interval
                    """
                )
            ],
            (0, 21, 8, 8),
            options=chart("hidden"),
            field={
                "unit": "percentunit",
                "decimals": 0,
                "min": -1,
                "max": 1,
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, DOWN), (0, UP)),
            },
            custom=lines(drawStyle="bars", fillOpacity=50, lineWidth=0, gradientMode="scheme", axisCenteredZero=True),
            interval="$timeframe",
        ),
        panel(
            "timeseries",
            "Volume and volatility against their past",
            "Volume of a bar over the mean of the 120 before, and the standard deviation of the last 20 log returns over that of the last "
            "120. At 1 nothing is unusual. Empty until 120 bars of the timeframe exist.",
            [
                query(
                    f"""
                    SELECT ts AS time, max(volume_ratio) AS "Volume ratio", last(volatility_ratio) AS "Volatility ratio"
                    FROM activity WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) SAMPLE BY $__interval
                    """
                )
            ],
            (8, 21, 8, 8),
            options=chart(),
            field={"unit": "none", "decimals": 1, "min": 0},
            custom=lines(),
            interval="$timeframe",
            empty="needs 120 bars of this timeframe",
            overrides=[
                override("Volume ratio", color=fixed(DIM), custom__drawStyle="bars", custom__fillOpacity=60, custom__lineWidth=0),
                override("Volatility ratio", color=fixed("yellow"), custom__lineWidth=2),
            ],
        ),
        panel(
            "timeseries",
            "Lag and trades a second of $symbol",
            "Time from the exchange's stamp of a trade to its arrival here (worst of each interval), and trades a second as bars.",
            [
                query(
                    f"""
                    SELECT ts AS time, max(lag_ms) AS "Lag", avg(trades) AS "Trades/s"
                    FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval
                    """
                )
            ],
            (16, 21, 8, 8),
            options=chart(),
            field={"unit": "ms", "min": 0},
            custom=lines(),
            interval="10s",
            overrides=[
                override(
                    "Trades/s",
                    unit="short",
                    color=fixed(DIM),
                    custom__drawStyle="bars",
                    custom__fillOpacity=25,
                    custom__lineWidth=0,
                    custom__axisPlacement="left",
                ),
                override("Lag", color=fixed("yellow"), custom__lineWidth=1),
            ],
        ),
        panel(
            "table",
            "Gaps",
            "Holes in the exchange's trade ids, of every symbol: found by their numbers and asked for again over REST. Filled: nothing is "
            "missing any more. Unfillable: the exchange does not have them; the bars of that time say that they are incomplete.",
            [
                query(
                    """
                    SELECT ts AS "After", symbol AS "Symbol", trades AS "Trades", cause AS "Cause", status AS "Status",
                        filled_at AS "Filled"
                    FROM gaps WHERE $__timeFilter(ts) ORDER BY ts DESC LIMIT 100
                    """,
                    "table",
                )
            ],
            (0, 29, 9, 9),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "auto", "filterable": False, "cellOptions": {"type": "auto"}, "minWidth": 60},
            empty="no gaps in this range",
            overrides=[
                override("After|Filled", regex=True, unit="time:YYYY-MM-DD HH:mm:ss", custom__width=155),
                override(
                    "Status",
                    custom__cellOptions={"type": "color-text"},
                    mappings=words({"filled": CALM, "open": ALARM, "unfillable": WARN}),
                ),
            ],
        ),
        panel(
            "table",
            "Tables",
            "For every table: how long ago its newest row's own time was, and whether the database still applies what is written to it. A "
            "suspended table takes rows but does not show them: see Troubleshooting in the README.",
            [
                query(
                    " UNION ALL ".join(
                        f"SELECT '{name}' AS \"Table\", datediff('s', max(ts), now()) AS \"Newest row\" "
                        f"FROM {name} WHERE ts > dateadd('d', -2, now())"
                        for name in ("trades", "bars", "signals", "cointegration", "activity", "alerts", "health")
                    ),
                    "table",
                ),
                query(
                    'SELECT name AS "Table", sequencerTxn - writerTxn AS "Behind", CAST(suspended AS INT) AS "Writes" FROM wal_tables()',
                    "table",
                    "B",
                ),
            ],
            (9, 29, 6, 9),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "auto", "filterable": False, "cellOptions": {"type": "auto"}},
            transformations=[
                {"id": "joinByField", "options": {"byField": "Table", "mode": "outer"}},
            ],
            overrides=[
                override("Newest row", unit="s", decimals=0, custom__align="right", noValue="no rows in two days"),
                override("Behind", unit="short", custom__align="right"),
                override(
                    "Writes",
                    custom__cellOptions={"type": "color-text"},
                    mappings=words({"0": CALM, "1": ALARM}, {"0": "applied", "1": "suspended"}),
                ),
            ],
        ),
        panel(
            "stat",
            "Data health, checks",
            "Mismatches: the share of the last 60 closed bars of $symbol that differ from the exchange's own klines. Clock skew: the "
            "exchange's clock less the pipeline's; Lag is off by it, bars and signals are not. Suspended: tables that take rows but do not "
            "show them (see Troubleshooting in the README). Behind: what was written but is not applied yet, in transactions.",
            [
                query(
                    f"""
                    SELECT mismatch_rate AS "Mismatches", skew_ms AS "Clock skew"
                    FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) LATEST ON ts PARTITION BY symbol
                    """,
                    "table",
                ),
                # Not those of `health`: it may be the very table that is suspended.
                query(
                    'SELECT sum(CAST(suspended AS INT)) AS "Suspended", sum(sequencerTxn - writerTxn) AS "Behind" FROM wal_tables()',
                    "table",
                    "B",
                ),
            ],
            (18, 4, 6, 4),
            options=numbers(18),
            field={"color": {"mode": "thresholds"}, "thresholds": steps((None, QUIET)), "decimals": 0},
            empty="–",
            overrides=[
                override("Mismatches", unit="percentunit", thresholds=steps((None, CALM), (0.001, ALARM))),
                override("Clock skew", unit="ms", thresholds=steps((None, WARN), (-1000, CALM), (1000, WARN))),
                override("Suspended", unit="short", thresholds=steps((None, CALM), (1, ALARM))),
                override("Behind", unit="short", thresholds=steps((None, QUIET), (1000, WARN))),
            ],
        ),
        panel(
            "timeseries",
            "Database and clock",
            "Transactions of all tables that are written but not applied yet (worst of each interval): a line that only rises is a database "
            "that does not keep up, or a suspended table. And the exchange's clock less the pipeline's.",
            [
                query(
                    f"""
                    SELECT ts AS time, max(wal_pending) AS "Behind", last(skew_ms) AS "Clock skew"
                    FROM health WHERE symbol = {SYMBOL} AND $__timeFilter(ts) SAMPLE BY $__interval
                    """
                )
            ],
            (15, 29, 9, 4),
            options=chart(),
            field={"unit": "short", "decimals": 0},
            custom=lines(),
            interval="10s",
            overrides=[
                override("Behind", color=fixed(DIM), custom__fillOpacity=25, custom__axisPlacement="left"),
                override("Clock skew", unit="ms", color=fixed("yellow")),
            ],
        ),
        panel(
            "table",
            "Audits",
            "Closed bars, of every symbol, that differ from the exchange's own klines even after some waiting: what we have and what it says. "
            "Complete bars of one timeframe are audited (1m where there is one).",
            [
                query(
                    """
                    SELECT ts AS "Bar", symbol AS "Symbol", timeframe AS "Timeframe", field AS "Field", ours AS "Ours", theirs AS "Theirs"
                    FROM audits WHERE $__timeFilter(ts) ORDER BY ts DESC LIMIT 100
                    """,
                    "table",
                )
            ],
            (15, 33, 9, 5),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "auto", "filterable": False, "cellOptions": {"type": "auto"}, "minWidth": 60},
            empty="no bar in this range differs",
            overrides=[
                override("Bar", unit="time:YYYY-MM-DD HH:mm:ss", custom__width=155),
                override("Ours|Theirs", regex=True, unit="string"),  # every digit of it
            ],
        ),
    ]
    return dashboard(
        "pairflow-market", "Market", "Candles, trades and the health of the data, for one symbol", variables, panels, [], "now-1h"
    )


# ---------------------------------------------------------------- Pair

SIGNALS = f"FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = {METHOD} AND $__timeFilter(ts)"
TESTS = f"FROM cointegration WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = {METHOD} AND $__timeFilter(ts)"
EVERY_METHOD = f"FROM signals WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts) AND hedge_ratio IS NOT NULL"
Y, X = f"split_part({PAIR}, '-', 1)", f"split_part({PAIR}, '-', 2)"

# A deviation is in log price or in price, as pipeline.yaml says for the pair. The bars tell which: only in logs is
# spread = ln(y) − β·ln(x). One row: what to multiply by to get basis points of y.
SCALE = f"""
    SELECT CASE WHEN abs(s.spread + s.hedge_ratio * ln(x.close) - ln(y.close)) < 0.000001 THEN 10000.0 ELSE 10000.0 / y.close END AS bps
    FROM (SELECT ts, spread, hedge_ratio {SIGNALS} AND spread IS NOT NULL LATEST ON ts PARTITION BY pair) s
    JOIN (SELECT ts, close FROM bars WHERE symbol = {X} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)) x ON x.ts = s.ts
    JOIN (SELECT ts, close FROM bars WHERE symbol = {Y} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)) y ON y.ts = s.ts
"""

Z_STEPS = steps((None, ALARM), (-3, WARN), (-2, "transparent"), (2, WARN), (3, ALARM))
Z_COLORS = steps((None, ALARM), (-3, WARN), (-2, CALM), (2, WARN), (3, ALARM))


def pair() -> Json:
    in_range = "FROM signals WHERE $__timeFilter(ts)"
    variables = [
        variable(
            "pair",
            "Pair",
            "Every pair that has signals in this time range: y first, then x",
            f"SELECT DISTINCT pair {in_range} ORDER BY pair",
            "BTCUSDT-ETHUSDT",
        ),
        variable("timeframe", "Timeframe", "The bars the statistics count", timeframes("signals"), "1s"),
        variable(
            "method",
            "Method",
            "How the hedge ratio is estimated",
            f"SELECT DISTINCT method {in_range} ORDER BY method DESC",
            "ols",
        ),
    ]
    panels = [
        panel(
            "stat",
            "$pair · $timeframe · $method",
            "The newest values. Edge: the deviation in basis points less a "
            "round trip's cost on both legs; below 0 there is nothing to earn. Cointegrated: at least half of the last 20 tests passed. "
            "Half-life: bars until half of a deviation is gone, shown only while cointegrated.",
            [
                query(
                    f"""
                    SELECT zscore AS "z-score",
                        edge_bps AS "Edge after costs", correlation AS "Correlation", hedge_ratio AS "Hedge ratio", r2 AS "R²",
                        CASE WHEN complete THEN 'complete' ELSE 'incomplete' END AS "Data"
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
                override("Edge after costs", unit="suffix: bp", decimals=1, thresholds=steps((None, DIM), (0, UP))),
                override("Correlation", decimals=2, thresholds=steps((None, ALARM), (0.5, WARN), (0.7, CALM))),
                override("Hedge ratio", decimals=4),
                override("R²", decimals=3),
                override("Tests passed", unit="percentunit", decimals=0, thresholds=steps((None, WARN), (0.5, CALM))),
                override("Half-life", unit="suffix: bars", decimals=1),
                override(
                    "Cointegrated",
                    mappings=words({"yes": CALM, "no": WARN}),
                ),
                override(
                    "Data",
                    mappings=words({"complete": CALM, "incomplete": WARN}),
                ),
            ],
        ),
        panel(
            "stat",
            "Side",
            "What a return to the mean would ask for once |z| reaches 2. Look at the edge and at whether the pair is cointegrated first.",
            [
                query(
                    f"""
                    SELECT CASE WHEN zscore >= 2 THEN concat('sell ', {Y}, ', buy ', {X})
                        WHEN zscore <= -2 THEN concat('buy ', {Y}, ', sell ', {X})
                        WHEN zscore IS NULL THEN 'window filling' ELSE 'wait: |z| < 2' END AS "Side"
                    {SIGNALS} LATEST ON ts PARTITION BY pair, timeframe, method
                    """,
                    "table",
                )
            ],
            (19, 0, 5, 4),
            options={**numbers(18), "textMode": "value"},
            field={
                "color": {"mode": "thresholds"},
                "thresholds": steps((None, QUIET)),
                "mappings": pattern("^(sell|buy) (.*)", "$1 $2", WARN),
            },
            empty="no signals in this range",
        ),
        panel(
            "timeseries",
            "z-score",
            "Deviation of the spread from its mean, in standard deviations. Above +2: y is dear relative to x (sell y, buy x); below "
            "−2 the reverse; ±3 is extreme. It means something only while the pair is cointegrated. Shaded: alert episodes of this pair.",
            [query(f'SELECT ts AS time, last(zscore) AS "z" {SIGNALS} SAMPLE BY $__interval')],
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
                    FROM (SELECT ts AS time, last(deviation) AS dev, last(spread_std) AS std {SIGNALS} SAMPLE BY $__interval)
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
                override(".3σ", regex=True, color=fixed(ALARM), custom__lineStyle={"fill": "dash", "dash": [6, 6]}),
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
            field={"unit": "percentunit", "decimals": 2, "displayName": "${__field.labels.metric}", "color": {"mode": "palette-classic"}},
            custom=lines(lineWidth=2, axisCenteredZero=False),
            interval="$timeframe",
            empty="no bars of these symbols in this range",
        ),
        panel(
            "timeseries",
            "Edge after costs",
            "The deviation in basis points of y, less a round trip's cost on both legs. Only above 0 is there something to earn.",
            [query(f'SELECT ts AS time, last(edge_bps) AS "Edge" {SIGNALS} SAMPLE BY $__interval')],
            (0, 24, 6, 9),
            options=chart("hidden"),
            field={"unit": "suffix: bp", "decimals": 0, "color": {"mode": "thresholds"}, "thresholds": steps((None, DIM), (0, UP))},
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
            (6, 24, 6, 9),
            options=chart(),
            field={"unit": "none", "decimals": 3, "displayName": "${__field.labels.metric}", "color": {"mode": "palette-classic"}},
            custom=lines(lineWidth=2),
            interval="$timeframe",
            empty="window is still filling",
        ),
        panel(
            "timeseries",
            "Correlation",
            "Pearson correlation of the legs' returns over the window of pipeline.yaml. Below 0.5 a pair is no longer one.",
            [query(f'SELECT ts AS time, last(correlation) AS "Correlation" {SIGNALS} SAMPLE BY $__interval')],
            (12, 24, 6, 9),
            options=chart("hidden"),
            field={
                "unit": "none",
                "decimals": 2,
                "max": 1,
                "color": fixed(PLAIN),
                "thresholds": steps((None, ALARM), (0.5, "transparent")),
            },
            custom=lines(lineWidth=2, axisSoftMin=0, thresholdsStyle={"mode": "dashed+area"}),
            interval="$timeframe",
            empty="window is still filling",
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
            (18, 24, 6, 9),
            options=chart(),
            field={"unit": "none", "min": 0.001, "max": 1, "thresholds": steps((None, CALM), (0.05, "transparent"))},
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
            (0, 33, 10, 6),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "auto", "filterable": False, "cellOptions": {"type": "auto"}},
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
                            WHEN coint_pvalue IS NULL OR coint_pvalue_reversed < coint_pvalue THEN concat({X}, ' on ', {Y})
                            ELSE concat({Y}, ' on ', {X}) END AS "Better order",
                        CASE WHEN coint_pvalue IS NULL OR coint_pvalue_reversed IS NULL THEN NULL
                            WHEN least(coint_pvalue, coint_pvalue_reversed) > 0.5 THEN 1.0
                            ELSE 2.0 * least(coint_pvalue, coint_pvalue_reversed) END AS "p, both orders",
                        coint_pvalue AS "p, y on x", coint_pvalue_reversed AS "p, x on y",
                        johansen_trace AS "Johansen trace", johansen_max_eig AS "Johansen max eig", shin_stat AS "Shin",
                        variance_ratio AS "Variance ratio"
                    FROM cointegration WHERE pair = {PAIR} AND timeframe = {TIMEFRAME} AND method = 'ols' AND $__timeFilter(ts)
                    LATEST ON ts PARTITION BY pair, timeframe, method
                    """,
                    "table",
                )
            ],
            (10, 33, 14, 6),
            options=numbers(18),
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
            "Every time an alert rule of pipeline.yaml became active for this pair, newest first: how long it lasted and how far it went.",
            [
                query(
                    f"""
                    SELECT min(ts) AS "Since", rule AS "Rule", priority AS "Priority", timeframe AS "Timeframe", threshold AS "Threshold",
                        CASE WHEN first(value) < threshold THEN min(value) ELSE max(value) END AS "Furthest",
                        datediff('s', min(ts), max(until)) AS "Lasted", CASE WHEN bool_or(newest) THEN 'active' ELSE 'over' END AS "State"
                    FROM (
                    SELECT ts, rule, priority, timeframe, threshold, value, active, episode,
                        coalesce(lead(ts) OVER (PARTITION BY rule, subject, timeframe ORDER BY ts), ts) AS until,
                        lead(ts) OVER (PARTITION BY rule, subject, timeframe ORDER BY ts) IS NULL AS newest
                    FROM alerts WHERE subject = {PAIR} AND $__timeFilter(ts)
                    ) WHERE active
                    GROUP BY rule, priority, timeframe, threshold, episode
                    ORDER BY "Since" DESC LIMIT 200
                    """,
                    "table",
                )
            ],
            (0, 39, 24, 9),
            options={"showHeader": True, "cellHeight": "sm"},
            custom={"align": "auto", "filterable": True, "cellOptions": {"type": "auto"}},
            empty="no alert episode of this pair in this range",
            overrides=[
                override("Threshold|Furthest", regex=True, decimals=2, unit="none"),
                override("Lasted", unit="dtdurations"),
                override(
                    "Priority",
                    custom__cellOptions={"type": "color-text"},
                    mappings=words({"high": ALARM, "medium": WARN, "low": PLAIN}),
                ),
                override(
                    "State",
                    custom__cellOptions={"type": "color-text"},
                    mappings=words({"active": ALARM, "over": QUIET}),
                ),
            ],
        ),
    ]
    annotations = [
        annotation("High alerts", ALARM, "high"),
        annotation("Other alerts", WARN, "medium", "low"),
    ]
    return dashboard(
        "pairflow-pair", "Pair", "One pair: its spread, z-score, hedge ratio and cointegration", variables, panels, annotations, "now-1h"
    )


DASHBOARDS = {"market": market, "pair": pair}


def text_of(name: str) -> str:
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    folder = Path(__file__).parent / "dashboards"
    folder.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
