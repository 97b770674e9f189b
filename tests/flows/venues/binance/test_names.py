from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from flows.venues.binance.names import ADDRESS_BYTES, grouped, symbols_of


@given(
    st.lists(st.text(st.characters(categories=("L", "Nd")), min_size=2, max_size=40), max_size=300),
    st.integers(1, 200),
)
def test_groups_hold_all_names_in_their_order_and_fit_into_an_address(names: list[str], most: int) -> None:
    groups = list(grouped(names, most))
    assert [name for group in groups for name in group] == names
    assert all(0 < len(group) <= most and len(quote("/".join(group))) < ADDRESS_BYTES for group in groups)


def test_two_hundred_usual_streams_stand_in_one_address() -> None:
    assert len(list(grouped([f"s{k:03}usdt@trade" for k in range(200)], 200))) == 1


def test_streams_are_named_by_their_symbols() -> None:
    assert symbols_of(["btcusdt@trade", "测试币usdt@aggTrade"]) == "BTCUSDT, 测试币USDT"
