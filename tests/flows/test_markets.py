import pytest

import flows.markets
from flows.errors import UserError
from flows.markets import BINANCE, CONTIGUOUS, TRADE, Market, market_of, native
from flows.replay.recordings import market_in
from flows.settings.decoding import decode

OTHER = Market(
    name="other",
    title="Another venue",
    ws_url="wss://other.example",
    rest_url="https://other.example",
    streams=(TRADE,),
    ids=CONTIGUOUS,
)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second venue in the list."""
    monkeypatch.setitem(flows.markets.MARKETS, OTHER.name, OTHER)  # type: ignore[arg-type]


def test_symbols_of_binance_spot_have_no_suffix() -> None:
    assert (BINANCE.suffix, OTHER.suffix) == ("", ".other")
    assert market_of("BTCUSDT") is BINANCE and native("BTCUSDT") == "BTCUSDT"


@pytest.mark.usefixtures("two")
def test_a_pair_across_venues_has_a_source_for_each_leg() -> None:
    both = "sources: [{exchange: binance}, {exchange: other, symbols: [SOLUSDT]}]\n"
    settings = decode(both + "pairs: [[BTCUSDT.other, btc-usdt]]", "test")
    assert settings.symbols == ("BTCUSDT", "BTCUSDT.other", "SOLUSDT.other")
    assert settings.pairs[0].name == "BTCUSDT.other-BTCUSDT"
    spot, other = settings.sources
    assert (settings.codes_of(spot), settings.codes_of(other)) == ([0], [1, 2])
    assert settings.natives_of(other) == ["BTCUSDT", "SOLUSDT"]
    assert settings.source_of("SOLUSDT.other") is other
    assert (other.ws_url, other.rest_url) == (OTHER.ws_url, OTHER.rest_url)


@pytest.mark.usefixtures("two")
def test_with_one_source_the_suffix_may_be_left_out_in_alerts_too() -> None:
    settings = decode(
        "source: {exchange: other}\npairs: [[BTCUSDT, ETHUSDT.other]]\n"
        "alerts: [{name: z, metric: zscore, above: 2, pair: BTCUSDT-ETHUSDT, timeframes: [1m]}]",
        "test",
    )
    assert settings.symbols == ("BTCUSDT.other", "ETHUSDT.other")
    assert settings.alerts[0].subject == "BTCUSDT.other-ETHUSDT.other"


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pairs: [[BTCUSDT.other, ETHUSDT]]", "no source brings symbols of other: add {exchange: other}"),
        (
            "sources: [{exchange: binance}, {exchange: other}]\npairs: [[BTCUSDT, ETHUSDT]]",
            "no symbol comes from other: use one, or remove the source",
        ),
        (
            "sources: [{exchange: binance, symbols: [BTCUSDT.other]}, {exchange: other}]",
            "a symbol of other among those of binance: list it there",
        ),
    ],
)
def test_a_symbol_without_a_source_and_a_source_without_a_symbol_are_refused(text: str, line: str) -> None:
    with pytest.raises(UserError) as refused:
        decode(text, "test")
    assert line in str(refused.value)


@pytest.mark.usefixtures("two")
def test_the_name_of_a_recording_may_say_its_venue() -> None:
    assert market_in("2025-01-01.other.jsonl.gz") is OTHER
    assert market_in("other-trades.jsonl") is None and market_in("BTCUSDT.csv") is None
