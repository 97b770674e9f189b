"""Row 4: the exchange says the ids do not exist.

docs/faults.md says what Pairflow promises in this case.
"""

from flows.database.connection import Endpoint
from flows.feed.frames import Frames
from flows.sandbox.background import Background
from flows.settings.model import Settings
from flows.settings.timeframes import timeframe_us
from tests.faults.stage import QUICK, SYMBOLS, Tables, asked, ids_at, ledger, live, records, same, tables


def test_ids_that_do_not_exist_are_given_up_their_bars_marked_and_the_flow_goes_on(
    settings: Settings, played: Background, database: Endpoint, r: Tables, trades: Frames
) -> None:
    first = ids_at(trades, "ETHUSDT", 90)
    denied = range(first + 3, first + 5)
    played.control("lose", symbol="ETHUSDT", first=first, last=first + 9)
    played.control("deny", symbol="ETHUSDT", first=denied[0], last=denied[-1])
    with live(settings, database) as line:
        line.has(len(r["trades"]) - len(denied))
    found = tables(database)
    assert [(gap["first_id"], gap["last_id"], gap["status"]) for gap in ledger(database)] == [
        (first, first + 2, "filled"),
        (denied[0], denied[-1], "unfillable"),
        (first + 5, first + 9, "filled"),
    ]
    assert (
        len([path for _, path, _ in asked(played) if f"fromId={denied[0]}&" in path]) == QUICK.patience.tries
    )
    kept = [row for row in r["trades"] if (row[1], row[2]) not in {("ETHUSDT", id_) for id_ in denied}]
    same(found, {"trades": kept}, ["trades"])
    ts = dict(
        zip(
            trades.id[trades.symbol == SYMBOLS.index("ETHUSDT")],
            trades.ts[trades.symbol == SYMBOLS.index("ETHUSDT")],
            strict=True,
        )
    )
    before, after = int(ts[denied[0] - 1]), int(ts[denied[-1] + 1])

    def spanned(bar: dict[str, object]) -> bool:
        us, opening = timeframe_us(str(bar["timeframe"])), int(str(bar["ts"]))
        return bar["symbol"] == "ETHUSDT" and before // us * us <= opening <= after

    ours, theirs = records(found["bars"], "bars"), records(r["bars"], "bars")
    assert [bar["complete"] for bar in ours] == [bar["complete"] and not spanned(bar) for bar in theirs]
    assert [bar for bar in ours if not spanned(bar)] == [bar for bar in theirs if not spanned(bar)]
    assert [row[:4] for row in found["signals"]] == [row[:4] for row in r["signals"]]
