"""Parts of SQL statements that several dashboards and the alert rules share.

A function whose docstring begins with "SQL" returns a part of a statement. Its arguments are columns or SQL
expressions. Values of variables reach SQL only as `${name:sqlstring}`, which quotes them.
"""

# The values of a dashboard's variables, quoted.
SYMBOL = "${symbol:sqlstring}"
TIMEFRAME = "${timeframe:sqlstring}"
PAIR = "${pair:sqlstring}"
METHOD = "${method:sqlstring}"

EXTENDED, EXTREME = 2, 3  # |z| from which a pair has a signal, and from which the signal may be strong
# The end of the time range, or the present if the range ends later ("today" ends at midnight).
NOW = "least(CAST($__timeTo() AS TIMESTAMP), now())"


def sql(text: str) -> str:
    """The statement without the indentation that it has in the source."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def seconds(timeframe: str) -> str:
    """SQL: the length of a timeframe such as '30s', '5m', '1h' or '1d' in seconds.

    An empty timeframe, which a variable has while there are no data, gives a positive number.
    """
    unit = f"right({timeframe}, 1)"
    scale = (
        f"CASE WHEN {unit} = 's' THEN 1 WHEN {unit} = 'm' THEN 60 WHEN {unit} = 'h' THEN 3600 ELSE 86400 END"
    )
    return f"coalesce(CAST(left({timeframe}, length({timeframe}) - 1) AS INT), 1) * {scale}"


def recent(table: str, unit: str, length: int | str, condition: str = "") -> str:
    """SQL: a condition for the rows of the last `length` units before the newest row of the range.

    The newest row of each pair or symbol is searched only there, because a whole range may be a year. It
    counts back from the newest row, not from now, so that the rows of a stopped pipeline are still shown.
    """
    # Not `$__timeFilter(ts)`: next to its BETWEEN QuestDB accepts only constants as limits of ts.
    return f"""ts <= $__timeTo() AND ts > (
        SELECT dateadd('{unit}', -{length}, ts) FROM {table} WHERE {condition}$__timeFilter(ts) LIMIT -1)"""


def names(column: str, table: str) -> str:
    """SQL: every name that a column has in the range.

    LATEST ON reads from the end of the range until it has seen every name; DISTINCT would read the whole
    range at each refresh.
    """
    return f"""SELECT {column} FROM (
        SELECT ts, {column} FROM {table} WHERE $__timeFilter(ts) LATEST ON ts PARTITION BY {column})"""


def newest_bar() -> str:
    """SQL: one row, `age`: seconds since the newest bar closed; NULL before the first bar."""
    return f"""
        SELECT min(datediff('s', ts, now()) - {seconds("timeframe::string")}) AS age
        FROM (
        SELECT ts, timeframe FROM bars WHERE ts > (SELECT dateadd('h', -1, max(ts)) FROM bars)
        LATEST ON ts PARTITION BY timeframe
        )
    """


def freshness(ts: str, timeframe: str, complete: str, stale: str) -> str:
    """SQL: one word on whether the newest row of a pair can be trusted.

    'stale' means that the row is old; 'stale leg' that it uses an old price of one of its legs.
    """
    return f"""CASE WHEN datediff('s', {ts}, {NOW}) > 15 + 3 * {seconds(f"{timeframe}::string")} THEN 'stale'
        WHEN {stale} THEN 'stale leg' WHEN {complete} THEN 'complete' ELSE 'incomplete' END"""


def side(z: str, y: str, x: str) -> str:
    """SQL: which leg to sell and which to buy for a return of the spread to its mean, in words."""
    return f"""CASE WHEN {z} >= {EXTENDED} THEN concat('sell ', {y}, ', buy ', {x})
        WHEN {z} <= -{EXTENDED} THEN concat('buy ', {y}, ', sell ', {x})
        WHEN {z} IS NULL THEN 'window filling' ELSE 'wait: |z| < {EXTENDED}' END"""


def extreme(value: str) -> str:
    """SQL: the value of an interval that is furthest from 0. The last one would hide what lies between."""
    return f"CASE WHEN max({value}) >= -min({value}) THEN max({value}) ELSE min({value}) END"


def furthest(value: str) -> str:
    """SQL: of rows grouped by `side`, the value furthest beyond their threshold."""
    return f"""CASE WHEN side = 'below' OR (side = 'outside' AND -min({value}) > max({value}))
        THEN min({value}) ELSE max({value}) END"""


# All rows of an alert episode, also the one that closes it, carry the time of its opening as `episode`. A row
# is written at every change and every whole minute. So an episode ends at the newest of its rows, and it is
# over when that row is not active.
def episodes(columns: str, condition: str) -> str:
    """SQL: one row for each alert episode that has rows in the range.

    `columns` chooses from those of the inner statement: `since`, `until`, `seconds`, `furthest` and so on.
    """
    return f"""
        SELECT {columns} FROM (
        SELECT rule, subject, timeframe, priority, metric,
            CAST(episode AS TIMESTAMP) AS since, max(ts) AS until,
            datediff('s', CAST(episode AS TIMESTAMP), max(ts)) AS seconds, last(threshold) AS threshold,
            {furthest("value")} AS furthest, side,
            last(active) AS active, last(value) AS value, last(coint_pvalue) AS coint_pvalue,
            last(edge_bps) AS edge_bps
        FROM alerts WHERE episode IS NOT NULL AND {condition}$__timeFilter(ts)
        GROUP BY rule, subject, timeframe, priority, metric, side, episode
        )
    """


# The newest row of every alert. A pair that waits for missing trades writes no rows in the meantime.
ALERTS_NOW = f"""
    SELECT ts, rule, subject, timeframe, priority, value, threshold, active, episode, coint_pvalue, complete,
        stale, edge_bps
    FROM alerts WHERE {recent("alerts", "h", 1)} LATEST ON ts PARTITION BY rule, subject, timeframe
"""
