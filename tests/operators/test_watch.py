"""Alert rows of a timeframe: by hand, against a plain model of one alert, and by batches, pickles and stages."""

import itertools
import pickle
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.activity import LONG_WINDOW, Activity
from operators.columns import LIVE, MINUTE_US, NEVER, SECOND_US, WARM, WARMING, Bars, Floats
from operators.results import Cointegration, Measures, Signals
from operators.watch import AlertSpec, Watch

NAN = float("nan")
TOLERATE = 0.1


@dataclass(frozen=True)
class Bar:
    """What a bar of pair 0, or of symbol 0, led to."""

    value: float = NAN  # z-score, or close
    method: int = 0
    newest_incomplete: bool = False
    incomplete: float = 0.0
    test: tuple[float, bool, float] | None = None  # p-value, stationary, incomplete
    broken: float = NAN  # of the test
    half_life: float = NAN  # of the test
    trades: int = 1
    volume_ratio: float = NAN
    edge: float = NAN
    stale: bool = False


Columns = TypeVar("Columns", Signals, Cointegration, Activity)


def columns(of: type[Columns], nothing: Floats, **given: np.ndarray) -> Columns:
    """A struct of these columns; the others are undefined."""
    return of(**({column.name: nothing for column in fields(of)} | given))


def measures(
    bars: list[Bar], first: int = 0, length: int = SECOND_US, stage: int = LIVE, settled: int = 0
) -> Measures:
    """Those of consecutive bars from the bar number `first` on; bars that tell another method share their
    number with the one before.
    """
    n = len(bars)
    index = first - 1 + np.cumsum([bar.method == 0 for bar in bars], dtype=np.int64)
    ts, zero = index * length, np.zeros(n, np.int32)
    value, nothing = np.array([bar.value for bar in bars], np.float64), np.full(n, NAN)
    method = np.array([bar.method for bar in bars], np.int32)
    newest, incomplete = (
        np.array([bar.newest_incomplete for bar in bars], np.bool_),
        np.array([bar.incomplete for bar in bars], np.float64),
    )
    of = np.array([bar.test is not None for bar in bars], np.bool_)
    pvalue, stationary, missing = (
        np.array([bar.test[k] for bar in bars if bar.test], kind)
        for k, kind in enumerate((float, bool, float))
    )
    stale = np.array([bar.stale for bar in bars], np.bool_)
    trades = np.array([bar.trades for bar in bars], np.int64)
    ratio, edge = (
        np.array([getattr(bar, name) for bar in bars], np.float64) for name in ("volume_ratio", "edge")
    )
    return Measures(
        length,
        Bars(zero, zero + length, ts, value, value, value, value, value, value, trades, value, ~newest, np.zeros(1, np.int64), stage),
        columns(
            Signals, nothing, pair=zero, method=method, ts=ts, zscore=value, edge_bps=edge, correlation=-value, complete=incomplete == 0,
            stale=stale, incomplete=incomplete, newest_incomplete=newest,
        ),
        columns(
            Cointegration, nothing[of], pair=zero[of], method=method[of], ts=ts[of], adf_pvalue=pvalue, coint_pvalue=pvalue / 2,
            stationary=stationary, incomplete=missing, **{name: np.array([getattr(bar, name) for bar in bars])[of] for name in ("broken", "half_life")},
        ),
        columns(
            Activity, nothing, symbol=zero, ts=ts, volatility_ratio=-ratio, volume_ratio=ratio, incomplete=incomplete, stale=stale,
        ),
        settled,
    )  # fmt: skip


def spec(
    metric: str = "zscore",
    side: int = 1,
    threshold: float = 2.0,
    exit: float = 1.0,
    only_stationary: bool = False,
    tested: int = 0,
) -> AlertSpec:
    return AlertSpec(5, metric, 0, side, threshold, exit, only_stationary, tested)


def watch(*specs: AlertSpec, length: int = SECOND_US) -> Watch:
    return Watch(length, specs, pairs=1, symbols=1, tolerate=TOLERATE)


Row = tuple[float, float, bool, float | None]  # seconds, value, active, episode in seconds


def rows(watch: Watch, of: Measures) -> list[Row]:
    found = watch.update(of)
    assert (found.alert == 5).all()
    columns = (found.ts.tolist(), found.value.tolist(), found.active.tolist(), found.episode.tolist())
    return [
        (ts / SECOND_US, value, active, None if e == NEVER else e / SECOND_US)
        for ts, value, active, e in zip(*columns, strict=True)
    ]


# by hand


def test_an_alert_is_decided_at_the_close_of_the_bar() -> None:
    assert rows(watch(spec()), measures([Bar(1.9), Bar(2.1), Bar(1.5), Bar(0.9)])) == [
        (2, 2.1, True, 2),
        (4, 0.9, False, 2),
    ]


def test_correlation_is_its_own_column() -> None:
    assert rows(watch(spec("correlation", side=-1, threshold=-2.0)), measures([Bar(1.9), Bar(2.1)])) == [
        (2, -2.1, True, 2)
    ]


def test_the_first_method_is_what_an_alert_reads() -> None:
    bars = [Bar(0.0, test=(0.5, False, 0.0)), Bar(9.0, method=1, test=(0.01, True, 0.0)), Bar(2.5)]
    assert rows(watch(spec()), measures(bars)) == [(2, 2.5, True, 2)]
    assert rows(watch(spec(only_stationary=True)), measures(bars)) == []
    assert rows(watch(spec("adf_pvalue", side=-1, threshold=0.05, exit=0.05)), measures(bars)) == []


def test_the_cointegration_that_an_alert_reads_is_that_of_the_method_that_is_tested() -> None:
    bars = [
        Bar(2.5, test=(0.5, False, 0.0), broken=0.0),
        Bar(2.5, method=1, test=(0.01, True, 0.0), broken=3.0),
    ]
    assert rows(watch(spec(only_stationary=True, tested=1)), measures(bars)) == [(1, 2.5, True, 1)]
    assert rows(watch(spec("broken", tested=1)), measures(bars)) == [(1, 3.0, True, 1)]
    assert rows(
        watch(spec("coint_pvalue", side=-1, threshold=0.05, exit=0.05, tested=1)), measures(bars)
    ) == [(1, 0.005, True, 1)]
    # that of the first
    assert rows(watch(spec("adf_pvalue", side=-1, threshold=0.05, exit=0.05, tested=1)), measures(bars)) == []
    assert watch(spec(tested=1)).update(measures(bars)).coint_pvalue.tolist() == [0.005]


def test_broken_stands_from_one_test_to_the_next_and_closes_when_a_test_is_passed() -> None:
    lost = (0.5, False, 0.0)
    bars = [
        Bar(test=(0.01, True, 0.0), broken=0.0),
        Bar(test=lost, broken=2.0),
        Bar(),
        Bar(test=lost, broken=3.0),
        Bar(test=lost),
    ]
    watched = watch(spec("broken", threshold=2.0, exit=0.0))
    assert rows(watched, measures(bars)) == [(4, 3.0, True, 4)]
    assert rows(watched, measures([Bar(), Bar(test=(0.01, False, 0.0), broken=0.0)], first=5)) == [
        (7, 0.0, False, 4)
    ]


def test_an_edge_is_watched_after_costs_and_not_on_an_old_price() -> None:
    bars = [
        Bar(edge=-3.0),
        Bar(edge=4.0, stale=True),
        Bar(edge=4.0),
        Bar(edge=NAN),
        Bar(edge=-0.5, stale=True),
    ]
    assert rows(watch(spec("edge_bps", threshold=0.0, exit=0.0)), measures(bars)) == [
        (3, 4.0, True, 3),
        (5, -0.5, False, 3),
    ]
    missing = [
        Bar(edge=4.0, newest_incomplete=True),
        Bar(edge=4.0, incomplete=TOLERATE + 0.01),
        Bar(edge=4.0, incomplete=TOLERATE),
    ]
    assert rows(watch(spec("edge_bps", threshold=0.0, exit=0.0)), measures(missing)) == [(3, 4.0, True, 3)]


def test_a_half_life_is_that_of_the_first_method_from_one_test_to_the_next() -> None:
    test = (0.01, True, 0.0)
    bars = [
        Bar(test=test, half_life=50.0),
        Bar(method=1, test=test, half_life=5.0),
        Bar(),
        Bar(test=test, half_life=15.0),
        Bar(),
    ]
    bars += [Bar(test=test), Bar(test=test, half_life=40.0), Bar(test=test, half_life=12.0, stale=True)]
    rule = spec("half_life", side=-1, threshold=20.0, exit=30.0)
    assert rows(watch(rule), measures(bars)) == [(3, 15.0, True, 3), (6, 40.0, False, 3), (7, 12.0, True, 7)]
    assert rows(watch(rule), measures([Bar(test=(0.01, True, TOLERATE + 0.01), half_life=15.0)])) == []


def test_a_half_life_of_a_method_that_is_not_tested_waits_for_the_one_that_is() -> None:
    other, tested = (NAN, False, 0.0), (0.01, True, 0.0)
    bars = [Bar(test=other, half_life=15.0), Bar(method=1, test=(0.5, False, 0.0), half_life=9.0)]
    bars += [Bar(test=other, half_life=14.0), Bar(method=1, test=tested, half_life=9.0)]
    rule = spec("half_life", side=-1, threshold=20.0, exit=30.0, only_stationary=True, tested=1)
    assert rows(watch(rule), measures(bars)) == [(2, 14.0, True, 2)]


def test_every_row_of_a_pair_says_the_pvalue_of_its_newest_test_and_whether_nothing_is_missing() -> None:
    watched = watch(spec())
    found = watched.update(
        measures([Bar(3.0), Bar(0.0, test=(0.5, False, 0.0)), Bar(3.0, incomplete=0.01), Bar(0.0)])
    )
    assert found.ts.tolist() == [SECOND_US * k for k in (1, 2, 3, 4)]
    assert [repr(p) for p in found.coint_pvalue.tolist()] == ["nan", "0.25", "0.25", "0.25"]
    assert found.complete.tolist() == [True, True, False, True]
    later = watched.update(measures([Bar(3.0), Bar(0.0, test=(0.02, True, 0.0))], first=4))
    assert (later.coint_pvalue.tolist(), later.complete.tolist()) == ([0.25, 0.01], [True, True])


def test_every_row_of_a_pair_says_the_edge_of_the_bar_that_decided_it() -> None:
    bars = [Bar(3.0, edge=12.5), Bar(3.0), Bar(0.0, edge=-7.0, test=(0.5, False, 0.0), broken=0.0), Bar(3.0)]
    for metric, expected in (
        ("zscore", [12.5, -7.0, NAN]),
        ("correlation", [12.5, -7.0, NAN]),
        ("adf_pvalue", [-7.0]),
    ):
        rule = spec(metric, threshold=0.0, exit=0.0) if metric == "adf_pvalue" else spec(metric, side=0)
        assert list(map(repr, watch(rule).update(measures(bars)).edge_bps.tolist())) == list(
            map(repr, expected)
        ), metric
    watched = watch(spec(side=0))
    watched.update(measures(bars))
    assert watched.update(measures([Bar(0.0, edge=2.0)], first=4)).edge_bps.tolist() == [2.0]


def test_the_edge_is_that_of_the_first_method_even_where_another_is_tested() -> None:
    bars = [Bar(0.0, edge=1.0), Bar(0.0, method=1, edge=8.0)]
    bars += [
        Bar(3.0, edge=2.0, test=(0.5, False, 0.0)),
        Bar(3.0, method=1, edge=9.0, test=(0.01, True, 0.0), broken=3.0),
    ]
    for metric in ("zscore", "broken"):
        assert watch(spec(metric, tested=1)).update(measures(bars)).edge_bps.tolist() == [2.0]


def test_a_row_decided_again_says_the_edge_of_the_bar_as_it_is_now() -> None:
    watched = watch(spec())
    watched.update(measures([Bar(0.0, edge=1.0), Bar(3.0, edge=2.0), Bar(3.0, edge=3.0)]))
    again = watched.update(measures([Bar(1.5, edge=-2.0), Bar(3.0, edge=-3.0)], first=1))
    assert (again.ts // SECOND_US).tolist() == [2, 3] and again.edge_bps.tolist() == [-2.0, -3.0]


def test_an_incomplete_test_leaves_only_the_alerts_that_look_at_it_incomplete() -> None:
    bars = [Bar(3.0, test=(0.01, True, 0.01), broken=3.0)]
    for rule, complete in ((spec(), True), (spec(only_stationary=True), False), (spec("broken"), False)):
        assert watch(rule).update(measures(bars)).complete.tolist() == [complete]


def test_a_symbol_has_no_pvalue_and_no_edge_and_its_row_says_whether_its_window_is_whole() -> None:
    bars = [Bar(3.0, volume_ratio=3.0, incomplete=0.01, test=(0.5, False, 0.0), edge=12.5)]
    for metric, complete in (("price", True), ("volume_ratio", False)):
        found = watch(spec(metric)).update(measures(bars))
        assert np.isnan([found.coint_pvalue, found.edge_bps]).tolist() == [
            [True],
            [True],
        ] and found.complete.tolist() == [complete]
    still = [Bar(1.0, edge=12.5), *[Bar(1.0, trades=0, edge=12.5)] * 3]
    found = watch(spec("staleness")).update(measures(still))
    assert np.isnan(found.edge_bps).tolist() == [True]


@pytest.mark.parametrize("cut", [1, 2])
def test_a_mark_says_what_the_close_before_it_did(cut: int) -> None:
    bars = [
        Bar(0.0, test=(0.5, False, 0.0), edge=1.0),
        Bar(0.0, test=(0.2, False, 0.0), incomplete=0.01, edge=2.0, stale=True),
        Bar(0.0),
    ]
    watched, length = watch(spec(), length=2 * MINUTE_US), 2 * MINUTE_US
    found = [watched.update(measures(bars[:cut], length=length))]
    resumed = watch(spec(), length=length)
    resumed.resume(pickle.loads(pickle.dumps(watched)))
    found.append(resumed.update(measures(bars[cut:], first=cut, length=length)))
    names = ("ts", "coint_pvalue", "complete", "edge_bps", "stale")
    ts, pvalue, complete, edge, stale = (
        np.concatenate([getattr(part, name) for part in found]) for name in names
    )
    assert (ts // MINUTE_US).tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isnan(pvalue[0]) and pvalue[1:].tolist() == [0.25, 0.25, 0.1, 0.1, 0.1]
    assert complete.tolist() == [False, True, True, False, False, True]
    assert stale.tolist() == [False, False, False, True, True, False]
    assert list(map(repr, edge.tolist())) == ["nan", "1.0", "1.0", "2.0", "2.0", "nan"]


def test_only_while_stationary_an_episode_opens_but_it_closes_at_any_time() -> None:
    bars = [
        Bar(3.0),
        Bar(3.0, test=(0.9, False, 0.0)),
        Bar(3.0, test=(0.01, True, 0.0)),
        Bar(3.0),
        Bar(0.5, test=(0.9, False, 0.0)),
        Bar(3.0),
    ]
    assert rows(watch(spec(only_stationary=True)), measures(bars)) == [(3, 3.0, True, 3), (5, 0.5, False, 3)]


def test_pvalues_stand_from_one_test_to_the_next_over_batches() -> None:
    watched = watch(spec("coint_pvalue", side=-1, threshold=0.05, exit=0.05))
    assert rows(watched, measures([Bar(), Bar(test=(0.06, False, 0.0))])) == [(2, 0.03, True, 2)]
    assert rows(watched, measures([Bar()] * 57, first=2)) == []
    assert rows(watched, measures([Bar(), Bar(test=(0.2, False, 0.0))], first=59)) == [
        (60, 0.03, True, 2),
        (61, 0.1, False, 2),
    ]


@pytest.mark.parametrize(
    "blind",
    [Bar(3.0, newest_incomplete=True), Bar(3.0, incomplete=TOLERATE + 0.01)],
    ids=["the newest bar is incomplete", "too much of a window is"],
)
def test_no_episode_opens_on_what_was_not_seen_but_one_closes(blind: Bar) -> None:
    watched = watch(spec())
    assert rows(watched, measures([blind, Bar(3.0, incomplete=TOLERATE)])) == [(2, 3.0, True, 2)]
    closing = Bar(0.0, newest_incomplete=blind.newest_incomplete, incomplete=blind.incomplete)
    assert rows(watched, measures([closing], first=2)) == [(3, 0.0, False, 2)]


@pytest.mark.parametrize("metric", ["zscore", "correlation"])
def test_no_episode_opens_on_an_old_price_of_a_leg_but_one_closes(metric: str) -> None:
    sign = -1 if metric == "correlation" else 1
    watched = watch(spec(metric))
    found = watched.update(measures([Bar(sign * 3.0, stale=True), Bar(sign * 3.0), Bar(0.0, stale=True)]))
    assert (found.ts // SECOND_US).tolist() == [2, 3]
    assert (found.active.tolist(), found.stale.tolist()) == ([True, False], [False, True])
    assert len(watched.update(measures([Bar(sign * 3.0, stale=True)] * 4, first=3)).ts) == 0


def test_a_leg_without_trades_leaves_rules_on_tests_and_on_symbols_as_they_are() -> None:
    bars = [Bar(3.0, volume_ratio=3.0, test=(0.01, True, 0.0), broken=3.0, stale=True)]
    for metric in ("adf_pvalue", "coint_pvalue", "broken", "price", "volume_ratio"):
        rule = spec(metric, side=-1, threshold=0.05, exit=0.05) if metric.endswith("pvalue") else spec(metric)
        found = watch(rule).update(measures(bars))
        assert (found.active.tolist(), found.stale.tolist()) == ([True], [True]), metric


def test_rows_of_a_leg_that_was_not_stale_after_all_are_decided_again() -> None:
    watched = watch(spec())
    assert rows(watched, measures([Bar(3.0, stale=True), Bar(3.0, stale=True)])) == []
    assert rows(watched, measures([Bar(3.0), Bar(3.0)])) == [(1, 3.0, True, 1)]
    assert rows(watched, measures([Bar(3.0, stale=True), Bar(3.0, stale=True)])) == [(1, 3.0, False, None)]


def test_what_the_tests_missed_matters_to_rules_that_look_at_them() -> None:
    bars = [Bar(3.0, test=(0.01, True, TOLERATE + 0.01)), Bar(3.0), Bar(3.0, test=(0.01, True, TOLERATE))]
    assert rows(watch(spec()), measures(bars)) == [(1, 3.0, True, 1)]
    assert rows(watch(spec(only_stationary=True)), measures(bars)) == [(3, 3.0, True, 3)]
    for metric, value in (("adf_pvalue", 0.01), ("coint_pvalue", 0.005)):
        assert rows(watch(spec(metric, side=-1, threshold=0.05, exit=0.05)), measures(bars)) == [
            (3, value, True, 3)
        ]


def test_a_price_needs_its_newest_bar_only_and_ratios_their_windows() -> None:
    bars = [
        Bar(3.0, volume_ratio=3.0, newest_incomplete=True),
        Bar(3.0, volume_ratio=3.0, incomplete=TOLERATE + 1 / LONG_WINDOW),
        Bar(3.0, volume_ratio=3.0),
    ]
    assert rows(watch(spec("price")), measures(bars)) == [(2, 3.0, True, 2)]
    assert rows(watch(spec("volume_ratio")), measures(bars)) == [(3, 3.0, True, 3)]
    assert rows(watch(spec("volatility_ratio", side=-1, threshold=-2.0)), measures(bars)) == [
        (3, -3.0, True, 3)
    ]


def test_staleness_is_counted_from_the_last_bar_with_a_trade_whatever_is_incomplete() -> None:
    watched = watch(spec("staleness", threshold=2.0, exit=0.0))
    quiet = Bar(1.0, trades=0, newest_incomplete=True, incomplete=1.0)
    assert rows(watched, measures([quiet, Bar(1.0), quiet, quiet])) == []
    assert rows(watched, measures([quiet, quiet, Bar(1.0)], first=4)) == [
        (5, 3.0, True, 5),
        (7, 0.0, False, 5),
    ]


def test_a_value_that_is_undefined_keeps_the_state() -> None:
    assert rows(watch(spec()), measures([Bar(3.0), Bar(NAN), Bar(0.0)])) == [
        (1, 3.0, True, 1),
        (3, 0.0, False, 1),
    ]


@pytest.mark.parametrize("seconds", [1, 7, 30, 53, 60, 90, 300])
def test_every_whole_minute_has_a_row_with_the_state_that_the_close_before_left(seconds: int) -> None:
    length, bars = seconds * SECOND_US, 2_000 // seconds + 3
    values = [3.0 if k % 5 in (1, 2) else 0.0 for k in range(bars)]
    found = rows(watch(spec(), length=length), measures([Bar(value) for value in values], length=length))
    minutes = {ts: (value, active) for ts, value, active, _ in found if ts % 60 == 0}
    assert sorted(minutes) == list(range(60, bars * seconds + 1, 60))
    for minute, (value, active) in minutes.items():
        closed = int(minute // seconds) - 1  # the newest bar that has closed by then
        assert active == (closed >= 0 and values[closed] == 3.0)
        assert value == values[closed] if closed >= 0 else np.isnan(value)


@pytest.mark.parametrize("stage", [WARMING, WARM])
def test_history_decides_the_states_and_writes_no_row(stage: int) -> None:
    watched = watch(spec())
    assert rows(watched, measures([Bar(0.0), Bar(3.0)], stage=stage)) == []
    assert rows(watched, measures([Bar(3.0), Bar(0.5)], first=2)) == [(4, 0.5, False, 2)]


@pytest.mark.parametrize(
    ("active", "expected"), [(True, [(4, 0.5, False, -7)]), (False, [(3, 3.0, True, 3), (4, 0.5, False, 3)])]
)
def test_history_says_nothing_about_a_state_that_was_given(active: bool, expected: list[Row]) -> None:
    watched = watch(spec())
    watched.preset(0, active, -7 * SECOND_US, 2.2)
    assert rows(watched, measures([Bar(3.0), Bar(0.0)], stage=WARMING)) == []
    assert rows(watched, measures([Bar(3.0), Bar(0.5)], first=2)) == expected


def test_tests_of_a_history_stand_where_the_state_was_given() -> None:
    watched = watch(spec(only_stationary=True))
    watched.preset(0, False, 0, NAN)
    rows(watched, measures([Bar(3.0, test=(0.01, True, 0.0))], stage=WARM))
    assert rows(watched, measures([Bar(3.0)], first=1)) == [(2, 3.0, True, 2)]


def test_a_given_state_shows_its_value_at_the_minutes_before_the_first_close() -> None:
    watched = watch(spec(), length=5 * MINUTE_US)
    watched.preset(0, True, MINUTE_US, 2.2)
    assert rows(watched, measures([Bar(3.0)], length=5 * MINUTE_US)) == [
        (60 * m, 2.2, True, 60) for m in range(1, 5)
    ] + [(300, 3.0, True, 60)]


# rows decided again


def test_a_change_that_is_taken_back_is_written_anew_and_the_episode_before_goes_on() -> None:
    watched = watch(spec())
    assert [row[2] for row in rows(watched, measures([Bar(3.0), Bar(0.0), Bar(3.0), Bar(0.0)]))] == [
        True,
        False,
        True,
        False,
    ]
    again = rows(watched, measures([Bar(1.5), Bar(1.5), Bar(0.5)], first=1))
    assert again == [(2, 1.5, True, 1), (3, 1.5, True, 1), (4, 0.5, False, 1)]


def test_a_row_that_corrected_another_is_corrected_in_turn() -> None:
    watched = watch(spec())
    rows(watched, measures([Bar(0.0), Bar(3.0), Bar(3.0)]))
    assert rows(watched, measures([Bar(3.0), Bar(3.0), Bar(3.0)])) == [(1, 3.0, True, 1), (2, 3.0, True, 1)]
    assert rows(watched, measures([Bar(0.0), Bar(0.0), Bar(0.0)])) == [
        (1, 0.0, False, None),
        (2, 0.0, False, None),
    ]


def test_tests_done_again_take_the_place_of_those_before() -> None:
    watched = watch(spec(only_stationary=True))
    rows(
        watched,
        measures([Bar(0.0, test=(0.5, False, 0.0)), Bar(0.0), Bar(0.0, test=(0.01, True, 0.0)), Bar(0.0)]),
    )
    assert rows(watched, measures([Bar(3.0), Bar(3.0, test=(0.5, False, 0.0)), Bar(3.0)], first=1)) == []
    assert rows(watched, measures([Bar(3.0, test=(0.01, True, 0.0)), Bar(3.0)], first=2)) == [
        (3, 3.0, True, 3)
    ]


def test_what_is_settled_is_let_go() -> None:
    watched = watch(spec(only_stationary=True))
    for k in range(200):
        value = 3.0 if k % 2 else 0.0
        rows(watched, measures([Bar(value, test=(0.01, True, 0.0))], first=k, settled=(k - 4) * SECOND_US))
    assert len(watched.states.recent.ts) <= 6 and len(watched.tests.ts) <= 6


# against a plain model


def plainly(bars: list[Bar], only_stationary: bool) -> list[Row]:
    """One z-score rule above 2 with exit 1, bar by bar."""
    found: list[Row] = []
    opened: int | None = None
    test: tuple[float, bool, float] = (NAN, False, 0.0)
    for close, bar in enumerate(bars, start=1):
        test = bar.test or test
        blind = bar.newest_incomplete or bar.incomplete > TOLERATE
        if only_stationary:
            blind = blind or not test[1] or test[2] > TOLERATE
        before = opened
        if opened is None and bar.value > 2.0 and not blind:
            opened = close
        elif opened is not None and bar.value <= 1.0:
            opened = None
        if opened != before or close % 60 == 0:
            found.append((close, bar.value, opened is not None, opened or before))
    return found


bars_ = st.builds(
    Bar,
    value=st.sampled_from([0.0, 1.5, 2.5, NAN]),
    newest_incomplete=st.booleans(),
    incomplete=st.sampled_from([0.0, 0.05, 0.2]),
    test=st.sampled_from([None, None, (0.5, False, 0.0), (0.01, True, 0.0), (0.01, True, 0.2)]),
)


def same(ours: list[Row], theirs: list[Row]) -> None:
    assert [tuple(map(repr, map(float, (r[0], r[1], r[2], r[3] or 0)))) for r in ours] == [
        tuple(map(repr, map(float, (r[0], r[1], r[2], r[3] or 0)))) for r in theirs
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(bars_, min_size=1, max_size=130), st.lists(st.integers(0, 130), max_size=6), st.booleans())
def test_any_batches_with_pickles_between_equal_the_plain_model(
    bars: list[Bar], cuts: list[int], only_stationary: bool
) -> None:
    watched, found = watch(spec(only_stationary=only_stationary)), []
    edges = [0, *sorted(min(cut, len(bars)) for cut in cuts), len(bars)]
    for start, end in itertools.pairwise(edges):
        found += rows(watched, measures(bars[start:end], first=start, settled=(start - 3) * SECOND_US))
        fresh = watch(spec(only_stationary=only_stationary))
        fresh.resume(pickle.loads(pickle.dumps(watched)))
        watched = fresh
    same(found, plainly(bars, only_stationary))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(bars_, min_size=2, max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.lists(bars_, min_size=40, max_size=40)), max_size=4),
)
def test_bars_decided_again_leave_the_rows_of_the_plain_model(
    bars: list[Bar], again: list[tuple[int, list[Bar]]]
) -> None:
    watched = watch(spec(only_stationary=True))
    table = {row[0]: row for row in rows(watched, measures(bars))}
    for start, new in again:
        start = min(start, len(bars) - 1)  # noqa: PLW2901
        bars = [*bars[:start], *new[: len(bars) - start]]
        table |= {row[0]: row for row in rows(watched, measures(bars[start:], first=start))}
    expected = {row[0]: row for row in plainly(bars, only_stationary=True)}
    same([table[ts] for ts in sorted(expected)], [expected[ts] for ts in sorted(expected)])
    for ts in table.keys() - expected.keys():
        before = [other for other in expected if other < ts]
        assert table[ts][2] == (expected[max(before)][2] if before else False)
