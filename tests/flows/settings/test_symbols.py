import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.settings.symbols import LONGEST, symbol_name


@pytest.mark.parametrize("text", ["BTCUSDT", "btcusdt", "BtcUsdt", "BTC/USDT", "btc-usdt", " BTCUSDT\n"])
def test_one_market_has_one_name_however_it_is_written(text: str) -> None:
    assert symbol_name(text) == "BTCUSDT"


@pytest.mark.parametrize(
    "text", ["BTCUSDT_250328", "BTCUSD_PERP", "1000SATSUSDT", "测试币USDT", "ТЕСТUSDT", "हिन्दीUSDT", "A_"]
)
def test_letters_and_digits_of_any_script_and_the_underscore_are_kept(text: str) -> None:
    assert symbol_name(text) == text


def test_two_encodings_of_one_letter_are_one_name() -> None:
    assert symbol_name("cafe\u0301usdt") == symbol_name("CAFÉUSDT") == "CAFÉUSDT"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "42",
        "__",
        "BTC USDT",
        "BTC--USDT",
        "-BTC",
        "BTC-",
        "BTC/USDT:USDT",
        "BTC.P",
        "x' OR 1=1--",
        "a\nb",
        "\ud800\udc00a",
        "A" * 41,
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    assert symbol_name(text) is None


@given(st.text(st.characters(), max_size=LONGEST + 2))
def test_a_name_is_its_own_name(text: str) -> None:
    name = symbol_name(text)
    assert name is None or symbol_name(name) == name
