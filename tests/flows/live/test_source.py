"""The source against the local exchange, over real sockets, while that does what exchanges do."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.database.columns import Rows
from flows.errors import UserError
from flows.feed.asking import Patience
from flows.feed.feed import Feed
from flows.feed.frames import Frames, join
from flows.feed.gaps import Gap
from flows.feed.http import Limits
from flows.feed.inbox import Broken
from flows.live.socket import Timing
from flows.live.source import TRADE_SEEN, ExchangePartition, ExchangeSource, Options
from flows.live.subscriptions import Pace
from flows.replay.recordings import read
from flows.runtime.recovery import FIRST_IDS
from flows.runtime.stop import Stop
from flows.sandbox.background import Background, background
from flows.sandbox.market import record
from flows.settings.decoding import decode
from flows.settings.model import Settings
from operators.bars import BarBuilder
from operators.columns import NEVER, SECOND_US, Trades
from tests.flows.replay.recorded import replayed
from tests.line import LAST_S

START_US = 1_763_800_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
SECONDS, SPEED = 60, 30.0
QUICK = Options(
    patience=Patience(grace_s=0.3, settle_s=0.3, backoff_s=0.05, backoff_cap_s=0.3, tries=3),
    timing=Timing(
        connect_s=60.0, silence_s=30.0, backoff_s=0.05, backoff_cap_s=0.3, subscribe_s=0.05, overlap_s=0.2
    ),
    limits=Limits(connect_s=1.0, read_s=5.0, pause_s=0.1),
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "market.ndjson.gz"
    record(path, 3, SYMBOLS, START_US, SECONDS, rate=100.0)
    return path


@pytest.fixture(scope="module")
def trades(recording: Path) -> Frames:
    return join(list(read([recording], SYMBOLS)), 2)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name in ("rest", "stream")] == []


def settings_for(exchange: Background | None, directory: Path, text: str = "") -> Settings:
    ws, rest = (
        (exchange.ws_url, exchange.rest_url) if exchange else ("ws://127.0.0.1:9", "http://127.0.0.1:9")
    )
    source = f'source: {{ws_url: "{ws}", rest_url: "{rest}"{text}}}'
    return decode(f"{source}\npairs: [[BTCUSDT, ETHUSDT]]", "pipeline.yaml", directory)


class Running:
    """A partition of the source, driven as the dataflow drives it, and all that it gave."""

    def __init__(self, settings: Settings, state: Any = None, options: Options = QUICK) -> None:
        self.settings, self.stop = settings, Stop()
        source = ExchangeSource(settings, self.stop, options)
        (self.name,) = source.list_parts()
        self.partition: ExchangePartition = source.build_part("trades", self.name, state)
        self.feeds: list[Feed] = []
        self.watermark = np.full(len(settings.symbols), NEVER)

    def step(self) -> None:
        for key, feed in self.partition.next_batch():
            assert key == self.name
            trades = feed.trades
            late = trades.ts < self.watermark[trades.symbol]
            assert not late.any(), "a watermark had passed a trade that was still to come"
            assert (trades.watermark >= self.watermark).all()
            self.watermark = trades.watermark
            self.feeds.append(feed)

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + LAST_S
        while not (found := condition()):
            assert time.monotonic() < deadline, "the deadline passed"
            self.step()
        return found

    def ids(self, code: int) -> list[int]:
        return [i for feed in self.feeds for i in feed.trades.id[feed.trades.symbol == code].tolist()]

    def newest(self) -> list[int]:
        return self.partition._sequencer.last.tolist()  # type: ignore[no-any-return]

    def gaps(self) -> list[dict[str, Any]]:
        """The ledger as the table holds it: a later line replaces an earlier one of the same key."""
        lines = [line for feed in self.feeds for line in lines_of(feed.gaps)]
        return list({(line["ts"], line["symbol"], line["first_id"]): line for line in lines}.values())

    def total(self, name: str) -> int:
        return sum(int(np.sum(feed.health.columns[name])) for feed in self.feeds)  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop as a signal does."""
        self.stop.set()
        with pytest.raises(StopIteration):
            self.partition.next_batch()
        self.partition.close()  # the dataflow does so, too


def lines_of(rows: Rows) -> list[dict[str, Any]]:
    columns = {
        name: [column.names[code] for code in column.codes.tolist()]
        if hasattr(column, "codes")
        else column.tolist()
        for name, column in rows.columns.items()
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


@contextmanager
def running(settings: Settings, state: Any = None, options: Options = QUICK) -> Iterator[Running]:
    live = Running(settings, state, options)
    try:
        yield live
    finally:
        live.close()


def ended(exchange: Background) -> bool:
    return bool(exchange.call(exchange.exchange.clock)["ended"])


def newest_of(trades: Frames) -> list[int]:
    return [int(trades.id[trades.symbol == code].max()) for code in range(2)]


def whole(live: Running, exchange: Background, trades: Frames) -> None:
    """Wait for the end of the recording and see that each trade came once, in order, with its columns."""
    live.until(lambda: ended(exchange))
    exchange.call(exchange.exchange.disconnect)  # what was lost last, no later message tells
    live.until(lambda: live.newest() == newest_of(trades))
    same_as(live.feeds, trades)


def same_as(feeds: list[Feed], trades: Frames) -> None:
    for code in range(2):
        theirs = trades.rows(trades.symbol == code)
        theirs = theirs.rows(np.unique(theirs.id, return_index=True)[1])
        for name in ("id", "ts", "price", "qty", "is_buyer_maker", "count"):
            ours = np.concatenate([getattr(feed.trades, name)[feed.trades.symbol == code] for feed in feeds])
            assert np.array_equal(ours, getattr(theirs, name)), name


def bars_of(batches: list[Trades]) -> dict[tuple[int, int, int], tuple[float, ...]]:
    """The bars of 1s and 5s of these batches, by symbol, timeframe and time; each may come only once."""
    builder = BarBuilder.of(2, [SECOND_US, 5 * SECOND_US])
    bars: dict[tuple[int, int, int], tuple[float, ...]] = {}
    for batch in batches:
        closed = builder.update(batch)
        keys = list(zip(closed.symbol.tolist(), closed.timeframe.tolist(), closed.ts.tolist(), strict=True))
        assert len({*keys}) == len(keys) and not {*keys} & bars.keys(), "emitted once"
        columns = [
            getattr(closed, name).tolist()
            for name in ("open", "high", "low", "close", "volume", "trades", "complete")
        ]
        bars |= dict(zip(keys, zip(*columns, strict=True), strict=True))
    return bars


@pytest.fixture
def played(recording: Path) -> Iterator[Background]:
    with background(paths=[recording], speed=SPEED) as exchange:
        yield exchange


# over real sockets


def test_every_trade_comes_once_in_order(played: Background, trades: Frames, tmp_path: Path) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert live.gaps() == []
        assert sum(feed.trades.after_hole.sum() for feed in live.feeds) == 2, "only the first of each symbol"
        live.until(lambda: live.total("trades") > 0)
        assert live.total("duplicates") == live.total("rejected") == 0


def test_dropped_doubled_and_shuffled_messages_change_nothing(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("faults", drop=0.02, duplicate=0.05, shuffle=100)
        whole(live, played, trades)
        gaps = live.gaps()
        assert (
            gaps
            and {gap["status"] for gap in gaps} == {"filled"}
            and {gap["cause"] for gap in gaps} >= {"lost"}
        )
        assert (
            sum(gap["trades"] for gap in gaps if gap["cause"] == "lost")
            <= played.stats()["counts"]["dropped"]
        )


def test_junk_and_broken_messages_are_counted_and_their_trades_asked_for(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("faults", junk=0.05, half=0.02, zero=0.02)
        whole(live, played, trades)
        zeroed = played.stats()["counts"]["zeroed"]
        live.until(lambda: live.total("rejected") >= zeroed)
        assert live.total("rejected") == zeroed


@pytest.mark.parametrize(
    ("stream", "ids"), [("trade", "contiguous"), ("aggTrade", "contiguous"), ("trade", "sparse")]
)
def test_an_outage_is_one_line_per_symbol_with_the_exact_count(
    recording: Path, tmp_path: Path, stream: str, ids: str
) -> None:
    text = f", stream: {stream}, ids: {ids}"
    with (
        background(paths=[recording], speed=SPEED) as exchange,
        running(settings_for(exchange, tmp_path, text)) as live,
    ):
        live.until(lambda: min(live.newest()) > 0)
        before = live.newest()
        exchange.call(exchange.exchange.disconnect, 0.8)
        live.until(lambda: len(live.gaps()) == 2 and {gap["status"] for gap in live.gaps()} == {"filled"})
        tapes = [exchange.exchange.source.tapes[symbol].rows(stream)["id"] for symbol in SYMBOLS]
        live.until(lambda: live.newest() == [int(tape[-1]) for tape in tapes])
        for code, gap in enumerate(sorted(live.gaps(), key=lambda gap: str(gap["symbol"]))):
            assert (gap["symbol"], gap["cause"]) == (SYMBOLS[code], "disconnect")
            assert (
                gap["first_id"] > before[code] and gap["trades"] == gap["last_id"] - gap["first_id"] + 1 > 100
            )
            assert gap["filled_at"] > START_US and START_US <= gap["ts"] < START_US + SECONDS * SECOND_US
            assert live.ids(code) == list(range(int(tapes[code][0]), int(tapes[code][-1]) + 1))
        live.until(lambda: live.total("reconnects") > 0)


def test_a_gap_of_2501_trades_is_three_pages(played: Background, trades: Frames, tmp_path: Path) -> None:
    first = int(trades.id[trades.symbol == 0][300])
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 2_500)
    # a stream that is silent alone looks like a quiet symbol
    with running(settings_for(played, tmp_path, ", quiet: 1h")) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert [(gap["first_id"], gap["trades"], gap["cause"], gap["status"]) for gap in live.gaps()] == [
            (first, 2_501, "lost", "filled")
        ]
        asked = [path for _, path, _ in played.stats()["requests"] if "historicalTrades" in path]
        assert [int(path.split("fromId=")[1].split("&")[0]) for path in asked] == [
            first,
            first + 1_000,
            first + 2_000,
        ]


@pytest.mark.parametrize("ids", ["contiguous", "sparse"])
def test_bars_wait_for_what_an_outage_across_their_ends_missed(
    played: Background, trades: Frames, tmp_path: Path, ids: str
) -> None:
    settings = settings_for(played, tmp_path, f", ids: {ids}")
    with running(settings) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.call(played.exchange.disconnect, 0.8)  # 16 s of the market
        live.until(lambda: live.newest() == newest_of(trades))
        live.until(lambda: min(live.watermark) >= trades.ts.max() - 3 * SECOND_US)
        bars = bars_of([feed.trades for feed in live.feeds])
    expected = bars_of([feed.trades for feed in replayed(settings, [trades])[0]])
    assert len(bars) > 2 * (SECONDS - 5) and {gap["cause"] for gap in live.gaps()} == {"disconnect"}
    assert bars == {key: expected[key] for key in bars}


def test_ids_that_the_exchange_denies_are_given_up_and_marked(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    first = int(trades.id[trades.symbol == 1][300])
    played.control("lose", symbol="ETHUSDT", first=first, last=first + 9)
    played.control("deny", symbol="ETHUSDT", first=first + 3, last=first + 4)
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        kept = (trades.symbol == 0) | (trades.id < first + 3) | (trades.id > first + 4)
        same_as(live.feeds, trades.rows(kept))
        marked = [i for feed in live.feeds for i in feed.trades.id[feed.trades.after_hole].tolist()]
        assert first + 5 in marked and len(marked) == 3
        ledger = [(gap["first_id"], gap["last_id"], gap["status"]) for gap in live.gaps()]
        assert ledger == [
            (first, first + 2, "filled"),
            (first + 3, first + 4, "unfillable"),
            (first + 5, first + 9, "filled"),
        ]


def test_nothing_passes_a_hole_while_the_database_lags(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    first = int(trades.id[trades.symbol == 0][1_000])
    played.control("faults", rest_lag_us=15 * SECOND_US)
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 99)
    with running(settings_for(played, tmp_path)) as live:
        live.until(
            lambda: (
                live.newest() == newest_of(trades)
                if not ended(played)
                else played.control("faults", rest_lag_us=0)
            )
        )
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert {(gap["first_id"], gap["trades"], gap["status"]) for gap in live.gaps()} == {
            (first, 100, "filled")
        }
        assert any("open" in {line["status"] for line in lines_of(feed.gaps)} for feed in live.feeds)


@pytest.mark.parametrize("status", [429, 418])
def test_no_request_comes_before_the_exchange_allows_it(
    played: Background, trades: Frames, tmp_path: Path, status: int
) -> None:
    first = int(trades.id[trades.symbol == 0][300])
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 99)
    played.control("faults", rest_status=status, rest_failures=1, retry_after_s=2)
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        times = [at for at, path, _ in played.stats()["requests"] if "historicalTrades" in path]
        assert times[1] - times[0] >= 2


def test_the_socket_keeps_flowing_while_the_exchange_allows_no_request(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    first = int(trades.id[trades.symbol == 0][300])
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 99)
    played.control("faults", rest_status=418, rest_failures=1, retry_after_s=1000)
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: live.newest()[1] == newest_of(trades)[1])
        assert live.newest()[0] == first - 1, "nothing passes the hole"
        assert len([path for _, path, _ in played.stats()["requests"] if "historicalTrades" in path]) == 1


def test_server_errors_and_refused_sockets_are_outlived(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("faults", rest_status=503, rest_failures=4, ws_status=503)
        played.call(played.exchange.disconnect)
        live.until(lambda: played.stats()["counts"].get("refused", 0) >= 3)
        played.control("faults", ws_status=0)
        whole(live, played, trades)


def test_a_silent_connection_is_replaced(played: Background, trades: Frames, tmp_path: Path) -> None:
    options = replace(QUICK, timing=replace(QUICK.timing, silence_s=0.5))
    with running(settings_for(played, tmp_path), options=options) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("faults", silent=True)
        live.until(lambda: played.stats()["counts"]["connects"] >= 2)
        played.control("faults", silent=False)
        whole(live, played, trades)
        assert {gap["cause"] for gap in live.gaps()} == {"disconnect"}


def test_a_shutdown_that_is_announced_loses_nothing(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.call(played.exchange.shutdown, 1.5)
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert played.stats()["counts"]["connects"] == 2
        assert live.gaps() == [] and live.total("reconnects") == 0, (
            "the new connection streamed before the old one ended"
        )
        assert not any("historicalTrades" in path for _, path, _ in played.stats()["requests"])


def test_a_raw_announcement_of_a_shutdown_is_heeded(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        live.partition._inbox.put(b'{"e":"serverShutdown","E":1770123456789}')
        live.until(lambda: played.stats()["counts"]["connects"] == 2 and played.stats()["connected"] == 1)
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert live.gaps() == [] and live.total("reconnects") == 0


@pytest.mark.parametrize("ids", ["contiguous", "sparse"])
def test_connections_that_are_renewed_before_their_end_lose_nothing(
    played: Background, trades: Frames, tmp_path: Path, ids: str
) -> None:
    # of two connections at once, one may be behind, or silent for a while, on a busy machine
    patience = replace(QUICK.patience, grace_s=5.0, settle_s=600.0)
    options = replace(QUICK, timing=replace(QUICK.timing, lifetime_s=0.4), patience=patience)
    with running(settings_for(played, tmp_path, f", ids: {ids}"), options=options) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        live.until(lambda: played.stats()["counts"]["connects"] >= 4)
        same_as(live.feeds, trades)
        assert live.gaps() == [] and live.total("reconnects") == 0 and live.total("duplicates") > 0
        assert not any("historicalTrades" in path for _, path, _ in played.stats()["requests"])


@pytest.mark.parametrize("ids", ["contiguous", "sparse"])
def test_a_stream_that_is_dead_on_a_live_connection_is_found_filled_and_replaced(
    played: Background, trades: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture, ids: str
) -> None:
    options = replace(QUICK, patience=replace(QUICK.patience, silence_s=0.4, pace_s=0.1))
    with running(settings_for(played, tmp_path, f", quiet: 1h, ids: {ids}"), options=options) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("mute", symbol="ETHUSDT")
        live.until(lambda: played.stats()["counts"]["connects"] == 2 and played.stats()["connected"] == 1)
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        lines = [record.getMessage() for record in caplog.records if "did not bring" in record.getMessage()]
        assert lines == [
            f"{live.name}: the exchange has trades of ETHUSDT that this connection did not bring; opening another"
        ]
        (gap,) = [gap for gap in live.gaps() if gap["trades"]]
        assert (gap["symbol"], gap["cause"], gap["status"]) == ("ETHUSDT", "lost", "filled")
        assert gap["trades"] == gap["last_id"] - gap["first_id"] + 1 > 100
        assert live.total("reconnects") == 0


def test_a_symbol_that_is_delisted_is_named_once_and_holds_no_other(
    played: Background, trades: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings_for(played, tmp_path)) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("delist", symbol="ETHUSDT")
        played.call(played.exchange.disconnect)
        live.until(lambda: live.newest()[0] == newest_of(trades)[0])
        stood = live.watermark[1]
        played.call(played.exchange.disconnect)
        live.until(lambda: live.total("reconnects") >= 4)  # counted per symbol
        live.until(lambda: len([path for _, path, _ in played.stats()["requests"] if "ETHUSDT" in path]) == 2)
        assert live.watermark[1] == stood < live.watermark[0] == trades.ts[trades.symbol == 0].max()
        named = [record.getMessage() for record in caplog.records if "ETHUSDT" in record.getMessage()]
        assert named == [
            f"{played.rest_url}: ETHUSDT: the exchange does not know it any more; the others go on"
        ]


def test_trades_flow_on_behind_a_hole_that_the_exchange_refuses_to_fill(
    played: Background, trades: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(QUICK, patience=replace(QUICK.patience, refused_s=0.5))
    with running(settings_for(played, tmp_path), options=options) as live:
        live.until(lambda: min(live.newest()) > 0)
        played.control("faults", rest_status=401, rest_endpoint="historicalTrades")
        played.call(played.exchange.disconnect)
        live.until(lambda: len(live.gaps()) and all(gap["status"] == "unfillable" for gap in live.gaps()))
        live.until(lambda: all(live.ids(code)[-1] == trades.id[trades.symbol == code][-1] for code in (0, 1)))
        lost = {
            (gap["symbol"], id_) for gap in live.gaps() for id_ in range(gap["first_id"], gap["last_id"] + 1)
        }
        for code, symbol in enumerate(SYMBOLS):
            told = trades.id[trades.symbol == code].tolist()
            kept = [id_ for id_ in told if (symbol, id_) not in lost]
            assert live.ids(code) == kept
    assert "HTTP 401 (injected), it asks for an API key there; set source.stream: aggTrade, or" in caplog.text
    assert (
        "trades that the exchange does not give: their bars are not complete, table gaps has their ids"
        in caplog.text
    )


def test_a_symbol_whose_stream_is_refused_says_so_in_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.venues.binance.venue.Binance.streams_per_request", 1)
    options = replace(
        QUICK, timing=replace(QUICK.timing, subscribe_s=0.25, answers=Pace(again_s=0.2, again_cap_s=0.5))
    )
    with background(symbols=SYMBOLS) as exchange:
        exchange.exchange.faults.unstreamed.append("ETHUSDT")
        with running(settings_for(exchange, tmp_path), options=options) as live:

            def refused(symbol: str) -> list[int]:
                return [
                    line["refused"]
                    for feed in live.feeds
                    for line in lines_of(feed.health)
                    if line["symbol"] == symbol
                ]

            live.until(lambda: 1 in refused("ETHUSDT") and live.ids(0))
            exchange.exchange.faults.unstreamed.clear()
            live.until(lambda: refused("ETHUSDT")[-1] == 0 and live.ids(1))
            assert not any(refused("BTCUSDT"))


def test_an_error_that_ends_the_connections_thread_ends_the_run_in_a_line(tmp_path: Path) -> None:
    with running(settings_for(None, tmp_path)) as live:
        live.partition._inbox.put(Broken(RuntimeError("the loop\nis gone")))
        with pytest.raises(
            UserError,
            match=r"^binance-0: the connection's thread has ended \(RuntimeError: the loop is gone\)",
        ):
            live.until(lambda: False)


def test_a_clock_that_is_wrong_and_steps_changes_no_trade_and_no_watermark(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    chance = random.Random(7)

    def wall_us() -> int:
        return time.time_ns() // 1_000 - 1_300_000 + chance.choice([-1, 0, 1]) * 3_600 * SECOND_US

    with running(settings_for(played, tmp_path), options=replace(QUICK, wall_us=wall_us)) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        live.until(
            lambda: (
                live.watermark.tolist() == [int(trades.ts[trades.symbol == code].max()) for code in range(2)]
            )
        )
        assert live.gaps() == []


def test_an_exchange_that_is_killed_and_plays_anew_gives_each_trade_once(
    recording: Path, trades: Frames, tmp_path: Path
) -> None:
    with background(paths=[recording], speed=SPEED) as exchange:
        port = exchange.port
        live = Running(settings_for(exchange, tmp_path))
        live.until(
            lambda: (
                min(live.newest()) > 0
                and exchange.call(exchange.exchange.clock)["now_us"] > START_US + 20 * SECOND_US
            )
        )
    try:
        with background(paths=[recording], speed=SPEED, port=port) as exchange:
            live.until(lambda: live.newest() == newest_of(trades))
            same_as(live.feeds, trades)
            live.until(lambda: live.total("duplicates") > 0)
            assert live.gaps() == []
    finally:
        live.close()


def test_a_queue_that_overflows_drops_the_connection_and_no_trade(
    recording: Path, trades: Frames, tmp_path: Path
) -> None:
    options = Options(QUICK.patience, QUICK.timing, QUICK.limits, queue=500)
    with (
        background(paths=[recording], speed=SPEED) as exchange,
        running(settings_for(exchange, tmp_path), options=options) as live,
    ):
        live.until(lambda: min(live.newest()) > 0)
        deadline = time.monotonic() + LAST_S
        while exchange.stats()["connected"]:  # nobody takes batches: a sink that is stalled
            assert time.monotonic() < deadline and len(live.partition._inbox) <= 500 + 5
            time.sleep(0.01)
        whole(live, exchange, trades)
        assert {gap["cause"] for gap in live.gaps()} == {"disconnect"}


def test_a_restart_resumes_at_the_exact_id(played: Background, trades: Frames, tmp_path: Path) -> None:
    settings = settings_for(played, tmp_path)
    with running(settings) as live:
        live.until(lambda: min(live.newest()) > int(trades.id[trades.symbol == 0][500]))
        state, kept = live.partition.snapshot(), list(live.feeds)
        live.until(lambda: len(live.feeds) > len(kept) + 3)  # trades after the snapshot count as not written
    with running(settings, state) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as([*kept, *live.feeds], trades)
        assert {(gap["cause"], gap["status"]) for gap in live.gaps()} == {("restart", "filled")}


def test_a_hole_that_a_crash_left_open_in_the_ledger_is_told_to_be_filled_once_it_is(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    settings = settings_for(played, tmp_path)
    with running(settings) as live:
        live.until(lambda: min(live.newest()) > int(trades.id[trades.symbol == 0][500]))
        state, reached = live.partition.snapshot(), live.newest()
    of = Gap(int(trades.ts[0]), 0, reached[0] - 5, reached[0] + 20, "disconnect", "open", 26)
    with running(settings, state, replace(QUICK, left_open=[of])) as live:
        live.until(lambda: live.newest()[0] >= of.last_id and live.gaps())
        live.until(lambda: live.newest() == newest_of(trades))
        (line,) = [line for line in live.gaps() if line["first_id"] == of.first_id]
        assert (line["ts"], line["last_id"], line["trades"], line["cause"], line["status"]) == (
            of.ts,
            of.last_id,
            26,
            "disconnect",
            "filled",
        )
        assert line["filled_at"] != NEVER


def test_a_restart_before_the_first_snapshot_begins_at_the_same_trade(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    settings = settings_for(played, tmp_path)
    with running(settings) as live:
        live.until(lambda: min(live.newest()) > 0)
        assert settings.recovery.dir is not None
        noted = json.loads((settings.recovery.dir / f"{live.name}.{FIRST_IDS}").read_text())
        first = {
            symbol: (live.ids(code)[0], int(trades.ts[trades.symbol == code][0]))
            for code, symbol in enumerate(SYMBOLS)
        }
        assert noted == {symbol: [first_id, ts, TRADE_SEEN] for symbol, (first_id, ts) in first.items()}
    with running(settings) as live:
        live.until(lambda: live.newest() == newest_of(trades))
        same_as(live.feeds, trades)
        assert sum(feed.trades.after_hole.sum() for feed in live.feeds) == 2


def test_a_quiet_symbol_follows_the_others_less_the_allowance(
    recording: Path, trades: Frames, tmp_path: Path
) -> None:
    quiet_from = int(trades.id[trades.symbol == 1][200])
    with (
        background(paths=[recording], speed=SPEED) as exchange,
        running(settings_for(exchange, tmp_path)) as live,
    ):
        tape = exchange.exchange.source.tapes["ETHUSDT"].trades
        at = tape["id"] > quiet_from
        # trades that never come
        exchange.call(lambda: tape["at"].__setitem__(at, START_US + 10 * SECONDS * SECOND_US))
        live.until(lambda: live.newest()[0] == newest_of(trades)[0])
        live.until(lambda: live.watermark[1] == trades.ts[trades.symbol == 0].max() - 3 * SECOND_US)


def test_stopping_takes_a_moment_whatever_is_under_way(
    played: Background, trades: Frames, tmp_path: Path
) -> None:
    first = int(trades.id[trades.symbol == 0][300])
    played.control("lose", symbol="BTCUSDT", first=first, last=first + 99)
    played.control("faults", rest_delay_s=4)
    live = Running(
        settings_for(played, tmp_path), options=Options(QUICK.patience, QUICK.timing, Limits(read_s=60.0))
    )
    live.until(lambda: played.stats()["used_weight"] > 0)
    live.close()
    assert not any("historicalTrades" in path for _, path, _ in played.stats()["requests"]), (
        "it did not wait for the answer"
    )


def test_stopping_without_an_exchange_takes_a_moment(tmp_path: Path) -> None:
    live = Running(settings_for(None, tmp_path))
    live.step()
    live.close()


def test_what_comes_soon_after_a_batch_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    with running(settings_for(None, tmp_path), options=replace(QUICK, wait_s=0.0, spacing_s=0.5)) as live:
        monkeypatch.setattr("flows.live.source.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
        live.partition._inbox.put(b"{}")
        live.step()  # after a silence: at once
        now[0] += 0.2
        live.step()  # with the rest of the half second
        now[0] += 0.1
        live.step()  # nothing had come: no batch to be apart from
    assert slept == [0.0, 0.3, 0.0]


def test_streams_beyond_one_connection_are_further_partitions(tmp_path: Path) -> None:
    symbols = ", ".join(f"S{k:04d}USDT" for k in range(1_500))
    source = ExchangeSource(decode(f"source: {{symbols: [{symbols}]}}", "pipeline.yaml", tmp_path), Stop())
    assert source.list_parts() == ["binance-0", "binance-1"]


def test_first_ids_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    settings = settings_for(None, tmp_path)
    assert settings.recovery.dir is not None
    settings.recovery.dir.mkdir(parents=True)
    (settings.recovery.dir / f"binance-0.{FIRST_IDS}").write_text('{"BTCUSDT": 7}')
    with pytest.raises(UserError, match=r"first_ids\.json: cannot be read .*--fresh"):
        Running(settings)
