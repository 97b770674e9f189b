"""The statements of dashboard Pair."""

import pytest

from tests.grafana.rows import Stack, named, wait


@pytest.mark.parametrize("prices", ["log", "raw"])
def test_the_deviation_is_in_basis_points_whatever_prices_the_pair_uses(filled: Stack, prices: str) -> None:
    query = named("Pair, panel Deviation of the spread, A")
    if prices == "log":
        last = filled.connection.execute(
            "SELECT deviation, spread_std FROM signals ORDER BY ts DESC LIMIT 1"
        ).fetchone()
        assert last is not None
        shown = filled.rows(query)[-1]
        assert shown["Deviation"] == pytest.approx(1e4 * last[0])
        assert shown["+3σ"] == pytest.approx(3e4 * last[1])
    else:
        filled.connection.execute(
            "INSERT INTO signals (ts, pair, timeframe, method, hedge_ratio, spread, spread_std, deviation) "
            "SELECT y.ts, 'BTCUSDT-ETHUSDT', '1m', 'tls', 20.0, y.close - 20.0 * x.close, 10.0, 30.0 "
            "FROM (SELECT ts, close FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m') y "
            "JOIN (SELECT ts, close FROM bars WHERE symbol = 'ETHUSDT' AND timeframe = '1m') x ON x.ts = y.ts"
        )
        wait(filled, "signals", "method = 'tls'")
        close = filled.connection.execute(
            "SELECT close FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m' ORDER BY ts DESC LIMIT 1"
        ).fetchone()
        assert close is not None
        assert filled.rows(query, method="tls")[-1]["Deviation"] == pytest.approx(30 / close[0] * 1e4)


def test_both_legs_start_at_zero(filled: Stack) -> None:
    rows = filled.rows(named("Pair, panel Both legs, rebased, A"))
    firsts = {row["metric"]: row["change"] for row in reversed(rows)}
    assert firsts == {"BTCUSDT": 0, "ETHUSDT": 0}


def test_an_episode_is_one_region_that_ends_where_its_rule_ends(filled: Stack) -> None:
    regions = filled.rows(named("Pair, annotation Other alerts"))
    assert {
        (region["title"], (region["timeend"] - region["time"]).total_seconds()) for region in regions
    } == {
        ("z high", 600),
        ("z low", 600),
    }
    assert len(filled.rows(named("Pair, annotation High alerts"))) == 1
    states = {
        row["Rule"]: row["State"] for row in filled.rows(named("Pair, panel Alert episodes of $pair, A"))
    }
    assert states == {"z high": "over", "z low": "over", "z extreme": "open"}


def test_the_better_order_of_the_legs_is_named_with_the_pvalue_of_having_tried_both(filled: Stack) -> None:
    query = named("Pair, panel $pair · $timeframe: both orders, Johansen, Shin, A")
    (row,) = filled.rows(query)
    assert (row["Better order"], row["p, both orders"]) == ("y on x", pytest.approx(0.004))
    assert (row["Johansen trace"], row["Johansen max eig"], row["Shin"]) == (25.0, 20.0, 0.1)
    newest = (
        "INSERT INTO cointegration (ts, pair, timeframe, method, coint_pvalue, coint_pvalue_reversed) VALUES "
    )
    at = int(filled.until.timestamp()) - 30
    filled.connection.execute(
        f"{newest}(CAST({at * 1_000_000} AS TIMESTAMP), 'BTCUSDT-ETHUSDT', '1m', 'ols', 0.9, 0.7)".encode()
    )
    wait(filled, "cointegration", "coint_pvalue = 0.9")
    (row,) = filled.rows(query)
    assert (row["Better order"], row["p, both orders"]) == ("x on y", 1.0)
    # The tests are of the pair, so they are shown whatever method is chosen.
    assert filled.rows(query, method="kalman") == [row]


def test_how_far_the_hedge_ratio_moved_is_shown_with_its_standard_error(filled: Stack) -> None:
    last = int(filled.until.timestamp()) - 40
    insert = "INSERT INTO signals (ts, pair, timeframe, method, hedge_ratio, hedge_ratio_se) VALUES "
    for ago, beta in ((7_200, 9.0), (1_800, 0.5), (0, 1.5)):
        at = f"CAST({(last - ago) * 1_000_000} AS TIMESTAMP)"
        filled.connection.execute(f"{insert}({at}, 'BTCUSDT-ETHUSDT', '1m', 'huber', {beta}, 0.02)".encode())
    wait(filled, "signals", "method = 'huber' AND hedge_ratio = 1.5")
    shown = {row["Method"]: row for row in filled.rows(named("Pair, panel Hedge ratio by method, A"))}
    assert set(shown) == {"ols", "huber"}
    assert (shown["huber"]["β"], shown["huber"]["Standard error"], shown["huber"]["Moved in an hour"]) == (
        1.5,
        0.02,
        1.0,
    )
    assert (shown["ols"]["β"], shown["ols"]["Standard error"], shown["ols"]["Moved in an hour"]) == (
        0.8,
        0.01,
        0.0,
    )
