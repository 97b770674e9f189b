"""The made-up week fits the tables as they are, with every column that was appended to them."""

from benchmarks import week
from flows.database.connection import Endpoint, connect

END_S = 1_763_856_000  # a midnight, UTC


def test_every_table_is_filled_until_the_end_and_no_further(database: Endpoint) -> None:
    week.fill(
        database,
        END_S,
        2 * week.GAP_EVERY_S,
        lambda _: None,
        week.Installation(week.SYMBOLS[:4], week.PAIRS[:2], 0, 8),
    )
    with connect(database) as connection:
        for table in ("trades", "bars", "signals", "cointegration", "activity", "alerts", "gaps", "health"):
            (count, last) = connection.execute(f"SELECT count(), max(ts)::LONG FROM {table}").fetchone()
            assert count > 0 and last < END_S * 1_000_000, table
