"""Market: one symbol, as it trades."""

from grafana.vocabulary import (
    ALARM,
    CALM,
    DIM,
    DOWN,
    PLAIN,
    POINTS,
    QUIET,
    SYMBOL,
    TIMEFRAME,
    UP,
    WARN,
    Json,
    chart,
    dashboard,
    fixed,
    lines,
    numbers,
    override,
    panel,
    query,
    seconds,
    steps,
    timeframes,
    variable,
    words,
)

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
