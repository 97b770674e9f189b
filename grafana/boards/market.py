"""Dashboard Market: how one symbol trades."""

from grafana.statements import SYMBOL, TIMEFRAME, names, seconds
from grafana.vocabulary import (
    DIM,
    DOWN,
    PLAIN,
    POINTS,
    QUIET,
    UP,
    Json,
    by_steps,
    chart,
    dashboard,
    fixed,
    lines,
    numbers,
    override,
    panel,
    query,
    steps,
    timeframe_variable,
    variable,
    words,
)

LENGTH = f"({seconds(TIMEFRAME)})"
# A drawn candle spans whole bars: as many of them as fill the interval of the chart.
STEP = f"(1000000L * {LENGTH} * (($__interval_ms / 1000 + {LENGTH} - 1) / {LENGTH}))"
CLOSED = f"FROM bars WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)"
# The 1 s bars after the last closed bar of the timeframe. They make the candle in progress, because the
# database holds closed bars only.
PROGRESS = f"""
    FROM bars WHERE symbol = {SYMBOL} AND timeframe = '1s' AND ts <= $__timeTo() AND ts >= (
    SELECT coalesce(max(until), CAST($__timeFrom() AS TIMESTAMP))
    FROM (SELECT dateadd('s', {LENGTH}, ts) AS until {CLOSED} LATEST ON ts PARTITION BY symbol, timeframe)
    )
"""
SUMS = """first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close,
    sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(buy_volume) AS buy_volume,
    sum(trades) AS trades"""


def now() -> Json:
    return panel(
        "stat",
        "$symbol",
        "Price: the close of the newest bar. Over the chosen time range: change since its first candle, "
        "highest and lowest price, turnover (in the quote asset), trades, and the share of the volume in "
        "which the taker bought (50 %: takers bought as much as they sold).",
        [
            query(
                f"""
                SELECT last_not_null(close) AS "Price",
                    last_not_null(close) / first_not_null(open) - 1 AS "Change",
                    max(high) AS "High", min(low) AS "Low", sum(quote_volume) AS "Turnover",
                    sum(trades) AS "Trades", sum(buy_volume) / sum(volume) AS "Taker buys"
                FROM ((SELECT {SUMS} {CLOSED}) UNION ALL (SELECT {SUMS} {PROGRESS}))
                """,
                "table",
            )
        ],
        (0, 0, 24, 4),
        options=numbers(),
        field={"color": fixed(QUIET), "thresholds": steps((None, QUIET)), "unit": "none"},
        interval="1s",
        empty="–",
        overrides=[
            override("Price|High|Low", regex=True, unit="string"),
            override("Price", color=fixed(PLAIN)),
            override(
                "Change",
                unit="percentunit",
                decimals=2,
                color={"mode": "thresholds"},
                thresholds=steps((None, DOWN), (0, UP)),
            ),
            override("Turnover", unit="short", decimals=1),
            override("Trades", unit="short", decimals=1),
            override("Taker buys", unit="percentunit", decimals=1),
        ],
    )


def candles() -> Json:
    return panel(
        "candlestick",
        "$symbol · $timeframe",
        "Open, high, low and close with volume below, and the volume-weighted price (VWAP) of each candle as "
        "a line. The last candle is the one in progress, made of its seconds so far. Over long ranges "
        f"candles are merged, so that about {POINTS} remain. Empty: no bars of this symbol and timeframe in "
        "this range.",
        [
            query(
                f"""
                SELECT CAST(bucket * {STEP} AS TIMESTAMP) AS time,
                    first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close,
                    sum(volume) AS volume, sum(quote_volume) / sum(volume) AS "VWAP"
                FROM (
                (SELECT ts::LONG / {STEP} AS bucket, {SUMS} {CLOSED})
                UNION ALL (SELECT ts::LONG / {STEP} AS bucket, {SUMS} {PROGRESS})
                ) GROUP BY bucket ORDER BY bucket
                """,
                "table",
            )
        ],
        (0, 4, 17, 17),
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
            override("VWAP", color=fixed("purple"), custom__lineWidth=1),
        ],
    )


def last_trades() -> Json:
    return panel(
        "table",
        "Last trades of $symbol",
        "The 50 newest trades, newest first. Side is what the taker did: buy lifts the offer, sell hits the "
        "bid.",
        [
            query(
                f"""
                SELECT ts AS "Time", price AS "Price", qty AS "Quantity", side AS "Side"
                FROM trades WHERE symbol = {SYMBOL} AND $__timeFilter(ts) ORDER BY ts DESC LIMIT 50
                """,
                "table",
            )
        ],
        (17, 4, 7, 17),
        options={"showHeader": True, "cellHeight": "sm"},
        custom={"align": "right", "filterable": False, "cellOptions": {"type": "auto"}, "minWidth": 50},
        empty="no trades in this range",
        overrides=[
            override("Time", unit="time:HH:mm:ss.SSS", custom__width=102, custom__align="left"),
            override("Price|Quantity", regex=True, unit="string"),  # "string" shows every digit
            override(
                "Side",
                custom__width=52,
                custom__cellOptions={"type": "color-text"},
                mappings=words({"buy": UP, "sell": DOWN}),
            ),
        ],
    )


def taker_imbalance() -> Json:
    return panel(
        "timeseries",
        "Taker imbalance",
        "(volume in which the taker bought − volume in which the taker sold) / volume. +100 %: all takers "
        "bought; −100 %: all takers sold.",
        [
            query(
                f"""
                SELECT ts AS time, 2 * sum(buy_volume) / sum(volume) - 1 AS "Imbalance"
                {CLOSED} SAMPLE BY $__interval
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
            **by_steps((None, DOWN), (0, UP)),
        },
        custom=lines(
            drawStyle="bars", fillOpacity=50, lineWidth=0, gradientMode="scheme", axisCenteredZero=True
        ),
        interval="$timeframe",
        empty="no bars of this symbol and timeframe in this range",
    )


def volatility() -> Json:
    return panel(
        "timeseries",
        "Volatility",
        "Volatility of one bar, in basis points: the standard deviation of the last 20 log returns, and the "
        "Garman–Klass estimate from the open, high, low and close of the same bars. The latter is as precise "
        "with fewer bars, but does not see jumps between bars.",
        [
            query(
                f"""
                SELECT ts AS time, 10000 * last(volatility) AS "Close to close",
                    10000 * last(volatility_gk) AS "Garman–Klass"
                FROM activity WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
                SAMPLE BY $__interval
                """
            )
        ],
        (8, 21, 8, 8),
        options=chart(),
        field={"unit": "suffix: bp", "decimals": 1, "min": 0},
        custom=lines(lineWidth=2),
        interval="$timeframe",
        empty="needs 20 bars of this timeframe",
        overrides=[
            override("Close to close", color=fixed("yellow")),
            override("Garman–Klass", color=fixed("purple")),
        ],
    )


def against_the_past() -> Json:
    return panel(
        "timeseries",
        "Volume and volatility against their past",
        "Volume of a bar divided by the mean volume of the 120 bars before it, and the standard deviation of "
        "the last 20 log returns divided by that of the last 120. 1 is usual. Empty until there are 120 bars "
        "of the timeframe.",
        [
            query(
                f"""
                SELECT ts AS time, max(volume_ratio) AS "Volume ratio",
                    last(volatility_ratio) AS "Volatility ratio"
                FROM activity WHERE symbol = {SYMBOL} AND timeframe = {TIMEFRAME} AND $__timeFilter(ts)
                SAMPLE BY $__interval
                """
            )
        ],
        (16, 21, 8, 8),
        options=chart(),
        field={"unit": "none", "decimals": 1, "min": 0},
        custom=lines(),
        interval="$timeframe",
        empty="needs 120 bars of this timeframe",
        overrides=[
            override(
                "Volume ratio",
                color=fixed(DIM),
                custom__drawStyle="bars",
                custom__fillOpacity=60,
                custom__lineWidth=0,
            ),
            override("Volatility ratio", color=fixed("yellow"), custom__lineWidth=2),
        ],
    )


def market() -> Json:
    variables = [
        variable(
            "symbol",
            "Symbol",
            "Every symbol that has bars in this time range",
            f"{names('symbol', 'bars')} ORDER BY symbol",
            "BTCUSDT",
        ),
        timeframe_variable(
            "bars", "10s", "Length of a candle: every timeframe that has bars in this time range"
        ),
    ]
    panels = [
        now(),
        candles(),
        last_trades(),
        taker_imbalance(),
        volatility(),
        against_the_past(),
    ]
    return dashboard("market", "One symbol: candles, trades, volume and volatility", variables, panels)
