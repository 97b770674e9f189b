"""Days of an installation in Pairflow's own tables, made by the server itself: by default a busy one of 20
symbols and 20 pairs.

Only names, counts, times and keys are as the pipeline writes them; prices and statistics are waves with
noise. Every statement makes one day of one table in the order of time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flows.database.connection import Endpoint, connect
from flows.database.wal import settle

DAY_S: Final = 86_400
SETTLE_S: Final = 1_800.0
COINS: Final = (
    "BTC, ETH, BNB, SOL, XRP, DOGE, ADA, TRX, AVAX, LINK, TON, SUI, XLM, HBAR, BCH, LTC, DOT, UNI, NEAR, APT"
)
SYMBOLS: Final = tuple(f"{coin}USDT" for coin in COINS.split(", "))
PAIRS: Final = tuple(f"{y}-{x}" for y, x in zip(SYMBOLS, SYMBOLS[1:] + SYMBOLS[:1], strict=True))
BARS: Final = {"1s": 1, "5s": 5, "10s": 10, "30s": 30, "1m": 60, "5m": 300}
TESTS_EVERY: Final = {"1s": 60, "1m": 15 * 60}  # seconds
GAP_EVERY_S, AUDIT_EVERY_S = 1_800, 7_200
OPEN_GAPS: Final = 3
# rule: timeframe, metric, priority, threshold, value while active and about which value otherwise, and
# seconds from one episode to the next
PAIR_RULES: Final = {
    "z high": ("1m", "zscore", "medium", 2.0, 2.6, 1.0, 3_600),
    "z low": ("1m", "zscore", "medium", -2.0, -2.6, -1.0, 4_200),
    "z extreme high": ("1m", "zscore", "high", 3.0, 3.3, 1.0, 14_400),
    "z extreme low": ("1m", "zscore", "high", -3.0, -3.3, -1.0, 16_200),
    "breakdown": ("1m", "correlation", "medium", 0.5, 0.45, 0.8, 7_200),
    "lost": ("1m", "broken", "medium", 5.0, 7.0, 0.0, 21_600),
}
SYMBOL_RULES: Final = {
    "volume": ("1m", "volume_ratio", "low", 5.0, 5.2, 1.0, 5_400),
    "stale": ("1s", "staleness", "medium", 60.0, 61.0, 1.0, 43_200),
}
EPISODE_S: Final = 600


@dataclass(frozen=True, slots=True)
class Installation:
    """What is streamed and measured; `kalman_pairs`: so many pairs have a second method; `trades_s`: a
    second, of all symbols.
    """

    symbols: tuple[str, ...]
    pairs: tuple[str, ...]
    kalman_pairs: int
    trades_s: int


BUSY: Final = Installation(SYMBOLS, PAIRS, kalman_pairs=len(PAIRS) // 2, trades_s=2 * len(SYMBOLS))


def pick(index: str, values: tuple[object, ...]) -> str:
    """SQL: the value at a place, counted from 0."""
    cases = " ".join(f"WHEN {k} THEN {value!r}" for k, value in enumerate(values))
    return f"CASE {index} {cases} END"


def slots(count: int, begin_s: int, seconds: int, where: str = "true") -> str:
    """SQL: `count` rows for each second, `slot` from 0; in the order of time."""
    return f"(SELECT {begin_s}L + (x - 1) / {count} AS second, (x - 1) % {count} AS slot FROM long_sequence({seconds * count}L)) WHERE {where}"


def statements(begin_s: int, until_s: int, end_s: int, of: Installation = BUSY) -> dict[str, str]:
    """Table to the statement that makes its rows of the seconds from `begin_s` until `until_s`; nothing is
    known of `end_s` and after.
    """
    seconds = until_s - begin_s
    first_open_s = end_s - OPEN_GAPS * GAP_EVERY_S
    at = "CAST(second * 1000000L AS TIMESTAMP)"
    symbols, pairs = len(of.symbols), len(of.pairs)
    name = pick(f"slot % {symbols}", of.symbols)
    timeframe = pick(f"slot / {symbols}", tuple(BARS))
    length = pick(f"slot / {symbols}", tuple(BARS.values()))
    level = f"50_000 / power(3, slot % {min(symbols, 20)})"
    price = f"{level} * exp(0.02 * sin(second / 9000.0 + slot % {symbols}))"
    closed = slots(
        symbols * len(BARS), begin_s, seconds, f"second % {length} = 0 AND second + {length} <= {end_s}L"
    )
    trades = -(-of.trades_s // symbols)  # of a symbol in a second, at most

    methods = pairs + of.kalman_pairs
    pair = pick(f"slot % {methods} % {pairs}", of.pairs)
    method = f"CASE WHEN slot % {methods} < {pairs} THEN 'ols' ELSE 'kalman' END"
    of_signals = f"CASE WHEN slot < {methods} THEN '1s' ELSE '1m' END"
    measured = slots(
        2 * methods, begin_s, seconds, f"slot < {methods} OR (second % 60 = 0 AND second + 60 <= {end_s}L)"
    )
    every = f"CASE WHEN slot < {methods} THEN {TESTS_EVERY['1s']} ELSE {TESTS_EVERY['1m']} END"
    tested = slots(2 * methods, begin_s, seconds, f"second % {every} = 0")

    rules = PAIR_RULES | SYMBOL_RULES
    of_pairs = len(PAIR_RULES) * pairs
    of_rule, metric, priority, threshold, active, calm, period = (
        pick("rule_", column) for column in zip(*rules.values(), strict=True)
    )
    subject = f"CASE WHEN slot < {of_pairs} THEN {pick(f'slot % {pairs}', of.pairs)} ELSE {pick(f'(slot - {of_pairs}) % {symbols}', of.symbols)} END"
    rule = f"CASE WHEN slot < {of_pairs} THEN slot / {pairs} ELSE {len(PAIR_RULES)} + (slot - {of_pairs}) / {symbols} END"
    minutes = f"(SELECT second, slot, {rule} AS rule_ FROM {slots(of_pairs + len(SYMBOL_RULES) * symbols, begin_s, seconds, 'second % 60 = 0')})"
    return {
        "trades": f"""
            SELECT CAST(second * 1000000L + slot * {1_000_000 // of.trades_s} AS TIMESTAMP), {name}, second * {trades} + slot / {symbols},
                {price}, rnd_double(), CASE WHEN rnd_boolean() THEN 'buy' ELSE 'sell' END
            FROM {slots(of.trades_s, begin_s, seconds)}""",
        "bars": f"""
            SELECT {at}, {name}, {timeframe}, price, price * (1 + 0.0002 * rnd_double()), price * (1 - 0.0002 * rnd_double()),
                price * (1 + 0.0002 * (rnd_double() - 0.5)), volume, volume * price, price, {trades} * {length}, volume * rnd_double(), rnd_double() > 0.001
            FROM (SELECT second, slot, {price} AS price, {length} * (0.1 + rnd_double()) AS volume FROM {closed})""",
        "signals": f"""
            SELECT {at}, {pair}, {of_signals}, {method}, 0.8 + 0.1 * sin(second / 20000.0 + slot), 1.0, 0.9 + 0.1 * rnd_double(),
                0.01 + 0.001 * z, 0.01, 0.001, 0.001 * z, z, 10 * abs(z) - 40, 0.9 - 0.3 * rnd_double(), rnd_double() > 0.001, 0.01, rnd_double(), rnd_double() > 0.999
            FROM (SELECT second, slot, 2.5 * sin(second / 700.0 + slot) + rnd_double() - 0.5 AS z FROM {measured})""",
        "cointegration": f"""
            SELECT {at}, {pair}, {of_signals}, {method}, -3 - rnd_double(), 0.1 * rnd_double(), 1, -3 - rnd_double(), 0.1 * rnd_double(),
                rnd_double(), 10 + 20 * rnd_double(), rnd_boolean(), 0.1 * rnd_double(), 20 * rnd_double(), 15 * rnd_double(), rnd_double(), rnd_double()
            FROM {tested}""",
        "activity": f"""
            SELECT {at}, {name}, {timeframe}, 0.0002 * (rnd_double() - 0.5), 0.0001 * rnd_double(), 2 * rnd_double(), 3 * rnd_double(),
                0.0001 * rnd_double(), 2 * rnd_double() - 1, rnd_double()
            FROM {closed}""",
        "alerts": f"""
            SELECT {at}, {pick("rule_", tuple(rules))}, {subject}, {of_rule}, {priority}, {metric},
                CASE WHEN age < {EPISODE_S} THEN {active} ELSE {calm} * (0.8 + 0.4 * rnd_double()) END, {threshold},
                age < {EPISODE_S}, CASE WHEN age <= {EPISODE_S} THEN (second - age) * 1000000L END,
                CASE WHEN slot < {of_pairs} THEN 0.1 * rnd_double() END, rnd_double() > 0.001,
                CASE WHEN slot < {of_pairs} THEN 20 * rnd_double() - 15 END,
                CASE WHEN {active} < {threshold} THEN 'below' ELSE 'above' END, CASE WHEN slot < {of_pairs} THEN 'ols' END, false
            FROM (SELECT second, slot, rule_, (second + 7 * 60 * slot) % {period} AS age FROM {minutes})""",
        "gaps": f"""
            SELECT {at}, {pick(f"second / {GAP_EVERY_S} % {symbols}", of.symbols)}, second, second + 9, 10, 'disconnect',
                CASE WHEN second >= {first_open_s} THEN 'open' WHEN second / {GAP_EVERY_S} % 7 = 0 THEN 'unfillable' ELSE 'filled' END,
                CASE WHEN second < {first_open_s} AND second / {GAP_EVERY_S} % 7 != 0 THEN CAST((second + 4) * 1000000L AS TIMESTAMP) END
            FROM {slots(1, begin_s, seconds, f"second % {GAP_EVERY_S} = 0")}""",
        "audits": f"""
            SELECT {at}, {pick(f"second / {AUDIT_EVERY_S} % {symbols}", of.symbols)}, '1m', 'volume', 10.5, 10.0
            FROM {slots(1, begin_s, seconds, f"second % {AUDIT_EVERY_S} = 0")}""",
        "health": f"""
            SELECT {at}, {name}, {trades}, 5 + 40 * rnd_double(), rnd_long(0, 9, 0), 0, 0, CASE WHEN rnd_double() > 0.9999 THEN 1 ELSE 0 END,
                rnd_double() - 3, rnd_long(0, 3, 0), 0, 60, 0, 0.0, 0
            FROM {slots(symbols, begin_s, seconds)}""",
    }


def fill(
    endpoint: Endpoint, end_s: int, seconds: int, say: Callable[[str], None], of: Installation = BUSY
) -> None:
    """All tables, from so many seconds before `end_s` (since the epoch) until then."""
    days = range(end_s - seconds, end_s, DAY_S)
    with connect(endpoint) as connection:
        for day, begin_s in enumerate(days, start=1):
            say(f"filling the tables: day {day} of {len(days)}")
            for table, select in statements(begin_s, min(begin_s + DAY_S, end_s), end_s, of).items():
                connection.execute(f"INSERT INTO {table} {select}".encode())
    say("waiting until all rows are visible")
    settle(endpoint, SETTLE_S)
