"""When the exchange is asked about a silent symbol, by hand; test_sequencer_silence.py has the answers."""

import numpy as np

from flows.feed.asking import Page, Patience
from flows.feed.silence import Silence
from operators.columns import SECOND_US
from tests.flows.feed.feeding import page, ts_of

PATIENCE = Patience(silence_s=60.0, silence_cap_s=200.0, pace_s=1.0, overdue_s=5.0)
NOTHING = page(0)


def of_two_symbols() -> Silence:
    silence = Silence(2, PATIENCE)
    silence.connect(np.array([True, True]), 0.0)
    return silence


def hear(silence: Silence, symbol: int, now: float) -> None:
    silence.hear(np.array([symbol], np.int32), ts_of(0) + int(now * SECOND_US), now)


def test_a_symbol_is_asked_about_once_it_has_been_silent_for_long_while_another_streams() -> None:
    silence = of_two_symbols()
    assert silence.longest(60.0) is None, "no symbol streams"
    hear(silence, 0, 59.0)
    assert silence.longest(59.9) is None
    assert silence.longest(60.0) == 1
    silence.ask(60.0)
    assert silence.longest(300.0) is None, "one question at a time"


def test_a_symbol_without_trades_is_asked_about_ever_more_rarely_up_to_the_cap() -> None:
    silence, asked, now = of_two_symbols(), [], 0.0
    while len(asked) < 4:
        now += 1.0
        hear(silence, 0, now)
        if (symbol := silence.longest(now)) is not None:
            silence.ask(now)
            silence.answered()
            silence.put_off(symbol, NOTHING, now)
            asked.append(now)
    assert np.diff([0.0, *asked]).tolist() == [60.0, 120.0, 200.0, 200.0]


def test_only_a_trade_that_the_socket_would_have_brought_is_overdue() -> None:
    silence = of_two_symbols()
    hear(silence, 0, 10.0)  # market time: 10 s after that of id 0, which is 100 ms before that of id 1

    def is_overdue(i: int) -> bool:
        answer: Page = page(1, i)
        return silence.is_overdue(answer)

    assert is_overdue(50) and not is_overdue(51) and not silence.is_overdue(NOTHING)
