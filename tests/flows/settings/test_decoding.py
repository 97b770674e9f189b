"""Correct pipeline.yaml files become settings; test_decoding_refusals.py has the wrong ones."""

from pathlib import Path

import msgspec
import pytest

from flows.errors import UserError
from flows.settings.decoding import decode, load
from flows.settings.model import Costs, Pair, QuestDB, Recovery, Retention, Settings, Source
from flows.settings.pairs import BUILT_IN
from flows.settings.strict_yaml import parse
from tests.flows.settings.examples import EXAMPLE, ROOT, SHORTEST, WINDOWS, alert, of


def test_the_documented_example_is_understood() -> None:
    assert of(EXAMPLE) == Settings(
        sources=(
            Source(
                exchange="binance",
                quiet_us=3_000_000,
                stale_us=60_000_000,
                stream="trade",
                ws_url="wss://data-stream.binance.vision",
                rest_url="https://api.binance.com",
            ),
        ),
        symbols=("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"),
        timeframes=("1s", "5s", "10s", "30s", "1m", "5m"),
        pairs=(
            Pair(y="BTCUSDT", x="ETHUSDT", costs=Costs(fee_bps=10, slippage_bps=1), windows=WINDOWS),
            Pair(y="BNBUSDT", x="SOLUSDT", costs=Costs(fee_bps=10, slippage_bps=1), windows=WINDOWS),
        ),
        alerts=(
            alert("z high", "zscore", "BTCUSDT-ETHUSDT", "1m", "above", 2, 1, "medium"),
            alert("z high", "zscore", "BNBUSDT-SOLUSDT", "1m", "above", 2, 1, "medium"),
            alert(
                "z extreme low", "zscore", "BTCUSDT-ETHUSDT", "1m", "below", -3, -2, "high", stationary=True
            ),
            alert(
                "z extreme low", "zscore", "BNBUSDT-SOLUSDT", "1m", "below", -3, -2, "high", stationary=True
            ),
            alert("breakdown", "correlation", "BTCUSDT-ETHUSDT", "1m", "below", 0.5, 0.5, "medium"),
            alert("breakdown", "correlation", "BNBUSDT-SOLUSDT", "1m", "below", 0.5, 0.5, "medium"),
            alert("btc", "price", "BTCUSDT", "1s", "above", 100_000, 100_000, "low"),
            alert("volume", "volume_ratio", "BNBUSDT", "1m", "above", 5, 5, "low"),
            alert("volume", "volume_ratio", "BTCUSDT", "1m", "above", 5, 5, "low"),
            alert("volume", "volume_ratio", "ETHUSDT", "1m", "above", 5, 5, "low"),
            alert("volume", "volume_ratio", "SOLUSDT", "1m", "above", 5, 5, "low"),
        ),
        alerts_tolerate=0.01,
        questdb=QuestDB(embedded=True, dir=Path(".pairflow/questdb"), http_port=9000, pg_port=8812),
        recovery=Recovery(dir=Path(".pairflow/recovery"), every_us=1_000_000),
        retention=Retention(trades="7d", bars="365d", signals="365d"),
    )


def test_what_is_left_out_has_the_documented_value() -> None:
    mine = "source: {symbols: [BNBUSDT, SOLUSDT]}\npairs: [[BTCUSDT, ETHUSDT], [BNBUSDT, SOLUSDT]]\n"
    assert of(mine) == msgspec.structs.replace(of(EXAMPLE), alerts=())
    documented = load(ROOT / "pipeline.yaml", {}, Path())
    assert msgspec.structs.replace(documented, alerts=()) == of(mine)


def test_the_file_users_edit_shows_every_key() -> None:
    shown = parse((ROOT / "pipeline.yaml").read_text(encoding="utf-8"), "pipeline.yaml").content
    assert isinstance(shown, dict)
    assert shown["defaults"] == BUILT_IN
    assert set(shown) == {
        "source",
        "bars",
        "defaults",
        "pairs",
        "alerts",
        "questdb",
        "recovery",
        "retention",
        "alerts_tolerate",
    }
    assert set(shown["source"]) == {
        "exchange",
        "quiet",
        "stale",
        "stream",
        "ids",
        "ws_url",
        "rest_url",
        "symbols",
    }


def test_the_demo_watches_two_simulated_pairs_at_1s_and_1m() -> None:
    demo = load(ROOT / "flows" / "sandbox" / "demo.yaml", {})
    assert demo.source.exchange == "simulated"
    assert demo.symbols == ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert [[window.timeframe for window in pair.windows] for pair in demo.pairs] == [
        ["1s", "1m"],
        ["1s", "1m"],
    ]
    # minutes of history
    assert (
        max(window.hedge for pair in demo.pairs for window in pair.windows if window.timeframe == "1m") <= 90
    )


def test_symbols_may_have_letters_of_any_script_and_an_underscore() -> None:
    settings = of("pairs: [[测试币USDT, BTCUSDT_250328]]\nsource: {symbols: [BTCUSD_PERP, ΩUSDT]}\n")
    assert settings.symbols == ("BTCUSDT_250328", "BTCUSD_PERP", "ΩUSDT", "测试币USDT")
    assert settings.pairs[0].name == "测试币USDT-BTCUSDT_250328"


@pytest.mark.parametrize("pair", ["btcusdt-ethusdt", "BTC-USDT-ETH-USDT", "BTCUSDT-ETHUSDT"])
def test_a_symbol_is_the_same_in_lower_case_and_with_what_others_write_between_its_parts(pair: str) -> None:
    rules = (
        "alerts: [{name: p, metric: price, above: 1, symbol: btc/usdt}, "
        f"{{name: z, metric: zscore, above: 2, pair: {pair}}}]"
    )
    settings = of(f"pairs: [[btcusdt, ETH-USDT]]\n{rules}\n")
    assert settings == of(f"pairs: [[BTCUSDT, ETHUSDT]]\n{rules}\n")
    assert {alert.subject for alert in settings.alerts} == {"BTCUSDT", "BTCUSDT-ETHUSDT"}


def test_relative_directories_are_below_the_file_unless_another_place_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SHORTEST + "recovery: {dir: again}\nquestdb: {dir: /srv/questdb}", encoding="utf-8")
    assert load(file, {}).recovery.dir == tmp_path / "again"
    assert load(file, {}).questdb.dir == Path("/srv/questdb")
    assert load(file, {}, Path("/elsewhere")).recovery.dir == Path("/elsewhere/again")


def test_no_recovery_is_a_setting() -> None:
    assert of(SHORTEST + "recovery: false").recovery.dir is None


def test_the_environment_names_another_host_for_the_database() -> None:
    text = SHORTEST + "questdb: {http_port: 9001}"
    questdb = decode(text, "pipeline.yaml", environ={"PAIRFLOW_QUESTDB_HOST": "questdb"}).questdb
    assert (questdb.embedded, questdb.host, questdb.http_port) == (False, "questdb", 9001)
    assert decode(text, "pipeline.yaml", environ={"PAIRFLOW_QUESTDB_HOST": ""}).questdb.embedded
    with pytest.raises(
        UserError, match=r"^environment: PAIRFLOW_QUESTDB_HOST: expected a host name or address, got 'a b'$"
    ):
        decode(text, "pipeline.yaml", environ={"PAIRFLOW_QUESTDB_HOST": "a b"})


def test_numbers_and_words_are_what_they_look_like() -> None:
    content = parse(
        "{a: NO, b: 12:30:00, c: 2024-08-09, d: 017, e: 1_000, f: 0x1F, g: '12', h: on, i: 1e3, j: -2, "
        "k: .5, l: ~, m: True, n: 5.}",
        "x",
    ).content
    assert content == {
        **{
            "a": "NO",
            "b": "12:30:00",
            "c": "2024-08-09",
            "d": "017",
            "e": "1_000",
            "f": "0x1F",
            "g": "12",
            "h": "on",
        },
        **{"i": 1000.0, "j": -2, "k": 0.5, "l": None, "m": True, "n": 5.0},
    }


def test_an_exponent_is_a_number_where_a_number_is_expected() -> None:
    assert (
        of(SHORTEST + "alerts: [{name: btc, metric: price, symbol: BTCUSDT, above: 1e5}]").alerts[0].threshold
        == 100_000
    )


def test_anchors_and_aliases_share_what_they_name() -> None:
    pairs = of("pairs: [{legs: [A1, B1], zscore: &z {window: 99}}, {legs: [A1, C1], zscore: *z}]").pairs
    assert [pair.windows[0].zscore for pair in pairs] == [99, 99]


def test_aliases_of_aliases_take_no_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)
    ]
    with pytest.raises(UserError, match="unknown key 'a0'"):
        of("\n".join(lines))
    nested = "&a0 [x, x]"
    for i in range(1, 60):
        nested = f"&a{i} [{nested}, *a{i - 1}, *a{i - 1}]"
    with pytest.raises(
        UserError, match=r"pairs\[0\]: expected a pair such as .*, got \[\[…\], \[…\], \[…\]\]$"
    ):
        of(f"pairs: [{nested}]")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file: name one with --config"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match=r": cannot be read: Is a directory$"):
        load(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"pairs: \xff\xfe")
    with pytest.raises(UserError, match=r"image\.yaml: byte 7 is not UTF-8 text"):
        load(tmp_path / "image.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_text(SHORTEST, encoding="utf-8-sig")
    assert load(tmp_path / "bom.yaml", {}).symbols == ("BTCUSDT", "ETHUSDT")


DESIGNED = """
source:
  exchange: binance
  quiet: 3s
  stream: trade
  ws_url: wss://data-stream.binance.vision
  rest_url: https://data-api.binance.vision
  symbols: [BNBUSDT, SOLUSDT]
bars: {timeframes: [1s, 5s, 10s, 30s, 1m, 5m]}
defaults:
  timeframes: [1s, 1m]
  prices: log
  hedge: {method: ols, window: {1s: 1800, 1m: 1440}}
  zscore: {window: {1s: 300, 1m: 240}}
  correlation: {window: {1s: 120, 1m: 20}, of: returns}
  adf: {window: {1s: 1800, 1m: 1440}, every: {1s: 60, 1m: 15}, lags: aic}
  costs: {fee_bps: 10, slippage_bps: 1}
pairs:
  - [BTCUSDT, ETHUSDT]
  - {legs: [BNBUSDT, SOLUSDT], hedge: {method: [ols, kalman]}}
alerts:
  - {name: z high,         metric: zscore, above: 2,  exit: 1,  priority: medium}
  - {name: z low,          metric: zscore, below: -2, exit: -1, priority: medium}
  - {name: z extreme high, metric: zscore, above: 3,  exit: 2,  priority: high}
  - {name: z extreme low,  metric: zscore, below: -3, exit: -2, priority: high}
  - {name: breakdown, metric: correlation, below: 0.5, priority: medium}
  - {name: btc,       metric: price,       symbol: BTCUSDT, above: 100000, priority: low}
  - {name: volume,    metric: volume_ratio, above: 5, priority: low}
questdb: {embedded: true, dir: .pairflow/questdb, http_port: 9000, pg_port: 8812}
recovery: {dir: .pairflow/recovery, every: 1s}
retention: {trades: 7d, bars: 365d, signals: 365d}
alerts_tolerate: 0.01
"""


def test_the_file_of_the_design_is_taken() -> None:
    settings = of(DESIGNED)
    assert {pair.name: pair.methods for pair in settings.pairs} == {
        "BTCUSDT-ETHUSDT": ("ols",),
        "BNBUSDT-SOLUSDT": ("ols", "kalman"),
    }
    assert [
        (w.timeframe, w.hedge, w.zscore, w.correlation, w.adf, w.adf_every) for w in settings.pairs[1].windows
    ] == [
        ("1s", 1800, 300, 120, 1800, 60),
        ("1m", 1440, 240, 20, 1440, 15),
    ]
    assert [alert.only_stationary for alert in settings.alerts if alert.rule == "z extreme high"] == [
        True,
        True,
    ]
    assert settings.symbols == ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.mark.filterwarnings("ignore:adfuller currently returns:FutureWarning")
def test_a_directory_at_home_of_a_user_without_one_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("flows.settings.fields.Path.home", homeless)
    with pytest.raises(
        UserError, match=r"recovery\.dir: this user has no home directory: write all of the path, got '~/r'$"
    ):
        decode(SHORTEST + "recovery: {dir: ~/r}\n", "pipeline.yaml")
