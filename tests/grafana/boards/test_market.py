"""The statements of dashboard Market."""

from tests.grafana.rows import Stack, named


def test_the_last_candle_is_the_one_in_progress(filled: Stack) -> None:
    candles = filled.rows(named("Market, panel $symbol · $timeframe, A"))
    closed = filled.connection.execute(
        "SELECT max(ts), count() FROM bars WHERE symbol = 'BTCUSDT' AND timeframe = '1m'"
    ).fetchone()
    seconds = filled.connection.execute(
        "SELECT first(open), max(high), min(low), last(close), sum(volume) FROM bars WHERE symbol = "
        "'BTCUSDT' AND timeframe = '1s'"
    ).fetchone()
    assert closed is not None
    assert len(candles) == closed[1] + 1
    last = candles[-1]
    assert (last["time"] - closed[0]).total_seconds() == 60
    assert (last["open"], last["high"], last["low"], last["close"], last["volume"]) == seconds


def test_a_symbol_without_a_closed_candle_yet_has_the_one_in_progress(filled: Stack) -> None:
    candles = filled.rows(named("Market, panel $symbol · $timeframe, A"), timeframe="5m")
    assert [candle["volume"] for candle in candles][-1] > 0
    assert sum(candle["volume"] for candle in candles) == 40  # 20 seconds of 2
