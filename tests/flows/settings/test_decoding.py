"""pipeline.yaml is decoded strictly: what is right becomes settings, what is wrong one line."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.stattools import adfuller

from flows.errors import UserError
from flows.settings.alerts import largest_zscore
from flows.settings.decoding import decode, load
from flows.settings.fingerprint import differences, settings_fingerprint
from flows.settings.model import Alert, Costs, Pair, QuestDB, Recovery, Retention, Settings, Source, Window, stale_after
from flows.settings.pairs import BUILT_IN
from flows.settings.strict_yaml import either, parse
from flows.settings.timeframes import timeframe_us
from flows.steps import pair_specs
from operators.methods import METHODS, OPTIONS, Method, Option
from operators.metrics import METRICS

ROOT = Path(__file__).parents[3]
SHORTEST = "pairs: [[BTCUSDT, ETHUSDT]]\n"
EXAMPLE = """\
source:
  exchange: binance              # binance | simulated
  quiet: 3s
  stream: trade                  # trade | aggTrade
  ws_url: wss://data-stream.binance.vision
  rest_url: https://api.binance.com
  symbols: [BNBUSDT, SOLUSDT]    # beyond the legs of the pairs
bars: {timeframes: [1s, 5s, 10s, 30s, 1m, 5m]}
defaults:                        # for every pair, overridable in each; a window is a number, or one per timeframe
  timeframes: [1s, 1m]
  prices: log                    # log | raw
  hedge: {method: ols, window: {1s: 1800, 1m: 1440}}
  zscore: {window: {1s: 300, 1m: 240}}
  correlation: {window: {1s: 120, 1m: 20}, of: returns}
  adf: {window: {1s: 1800, 1m: 1440}, every: {1s: 60, 1m: 15}, lags: aic}
  costs: {fee_bps: 10, slippage_bps: 1}
pairs:
  - [BTCUSDT, ETHUSDT]
  - {legs: [BNBUSDT, SOLUSDT], hedge: {method: [ols]}}
alerts:
  - {name: z high,         metric: zscore, above: 2,  exit: 1,  priority: medium}
  - {name: z extreme low,  metric: zscore, below: -3, exit: -2, priority: high}      # `outside: 3` is both in one
  - {name: breakdown, metric: correlation, below: 0.5, priority: medium}
  - {name: btc,       metric: price,       symbol: BTCUSDT, above: 100000, priority: low}
  - {name: volume,    metric: volume_ratio, above: 5, priority: low}
questdb: {embedded: true, dir: .pairflow/questdb, http_port: 9000, pg_port: 8812}
recovery: {dir: .pairflow/recovery, every: 1s}
retention: {trades: 7d, bars: 365d, signals: 365d}
alerts_tolerate: 0.01            # share of incomplete bars in a window above which no alert episode opens
"""
WINDOWS = (
    Window(timeframe="1s", hedge=1800, zscore=300, correlation=120, adf=1800, adf_every=60),
    Window(timeframe="1m", hedge=1440, zscore=240, correlation=20, adf=1440, adf_every=15),
)


def of(text: str) -> Settings:
    return decode(text, "pipeline.yaml")


def alert(
    rule: str, metric: str, subject: str, timeframe: str, side: str, threshold: float, exit: float, priority: str, stationary: bool = False
) -> Alert:
    return Alert(
        rule=rule,
        metric=metric,
        subject=subject,
        timeframe=timeframe,
        side=side,
        threshold=threshold,
        exit=exit,
        priority=priority,
        only_stationary=stationary,
    )


# --- by hand ------------------------------------------------------------------------------------------------------------------


def test_the_documented_example_is_understood() -> None:
    assert of(EXAMPLE) == Settings(
        source=Source(
            exchange="binance",
            quiet_us=3_000_000,
            stale_us=60_000_000,
            stream="trade",
            ws_url="wss://data-stream.binance.vision",
            rest_url="https://api.binance.com",
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
            alert("z extreme low", "zscore", "BTCUSDT-ETHUSDT", "1m", "below", -3, -2, "high", stationary=True),
            alert("z extreme low", "zscore", "BNBUSDT-SOLUSDT", "1m", "below", -3, -2, "high", stationary=True),
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
    assert set(shown) == {"source", "bars", "defaults", "pairs", "alerts", "questdb", "recovery", "retention", "alerts_tolerate"}
    assert set(shown["source"]) == {"exchange", "quiet", "stale", "stream", "ids", "ws_url", "rest_url", "symbols"}


def test_the_demo_watches_two_simulated_pairs_at_1s_and_1m() -> None:
    demo = load(ROOT / "flows" / "sandbox" / "demo.yaml", {})
    assert demo.source.exchange == "simulated"
    assert demo.symbols == ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert [[window.timeframe for window in pair.windows] for pair in demo.pairs] == [["1s", "1m"], ["1s", "1m"]]
    assert max(window.hedge for pair in demo.pairs for window in pair.windows if window.timeframe == "1m") <= 90  # minutes of history


def test_symbols_may_have_letters_of_any_script_and_an_underscore() -> None:
    settings = of("pairs: [[测试币USDT, BTCUSDT_250328]]\nsource: {symbols: [BTCUSD_PERP, ΩUSDT]}\n")
    assert settings.symbols == ("BTCUSDT_250328", "BTCUSD_PERP", "ΩUSDT", "测试币USDT")
    assert settings.pairs[0].name == "测试币USDT-BTCUSDT_250328"


@pytest.mark.parametrize("pair", ["btcusdt-ethusdt", "BTC-USDT-ETH-USDT", "BTCUSDT-ETHUSDT"])
def test_a_symbol_is_the_same_in_lower_case_and_with_what_others_write_between_its_parts(pair: str) -> None:
    rules = f"alerts: [{{name: p, metric: price, above: 1, symbol: btc/usdt}}, {{name: z, metric: zscore, above: 2, pair: {pair}}}]"
    settings = of(f"pairs: [[btcusdt, ETH-USDT]]\n{rules}\n")
    assert settings == of(f"pairs: [[BTCUSDT, ETHUSDT]]\n{rules}\n")
    assert {alert.subject for alert in settings.alerts} == {"BTCUSDT", "BTCUSDT-ETHUSDT"}


def test_a_pair_overrides_key_by_key_and_a_window_as_a_whole() -> None:
    text = "defaults: {hedge: {window: 500}, correlation: {of: prices}}\npairs: [{legs: [A1, B1], timeframes: [1m, 5s], prices: raw, %s}]"
    pair = of(text % "zscore: {window: {5s: 60, 1m: 40}}, correlation: {window: 9}, adf: {window: 50, every: 2, lags: 3}").pairs[0]
    assert (pair.prices, pair.methods, pair.correlation_of, pair.adf_lags) == ("raw", ("ols",), "prices", 3)
    assert pair.windows == (
        Window(timeframe="5s", hedge=500, zscore=60, correlation=9, adf=50, adf_every=2),
        Window(timeframe="1m", hedge=500, zscore=40, correlation=9, adf=50, adf_every=2),
    )


def test_without_1s_and_1m_among_the_bars_the_default_timeframes_are_what_is_left() -> None:
    windows = of("bars: {timeframes: [1m, 5m]}\n" + SHORTEST).pairs[0].windows
    assert [window.timeframe for window in windows] == ["1m"]


@pytest.mark.parametrize(
    ("own", "watched"), [("[1s, 1m, 5m]", "1m"), ("[1s, 90s, 5m]", "90s"), ("[1s, 5m]", "5m"), ("[1s, 5s, 30s]", "30s"), ("[5s]", "5s")]
)
def test_a_rule_without_timeframes_watches_the_timeframe_nearest_to_a_minute(own: str, watched: str) -> None:
    alerts = of(
        f"bars: {{timeframes: {own}}}\ndefaults: {{timeframes: {own}, hedge: {{window: 99}}, zscore: {{window: 50}}, "
        f"correlation: {{window: 9}}, adf: {{window: 50, every: 1}}}}\n{SHORTEST}"
        "alerts:\n- {name: z, metric: zscore, outside: 2.5}\n- {name: v, metric: volatility_ratio, above: 2}\n"
        "- {name: p, metric: price, symbol: BTCUSDT, below: 1}\n- {name: s, metric: staleness, symbol: BTCUSDT, above: 30s, exit: 5}\n"
    ).alerts
    found = {(each.rule, each.timeframe) for each in alerts}
    shortest = own.strip("[]").split(",")[0]
    assert found == {("z", watched), ("v", watched), ("p", shortest), ("s", shortest)}
    stale = alerts[-1]
    assert (stale.threshold, stale.exit) == (30.0, 5.0)  # seconds


def test_a_rule_on_some_pairs_and_timeframes_is_expanded_in_their_order() -> None:
    alerts = of(
        "pairs: [[B1, A1], {legs: [A1, B1], timeframes: [1m]}, [C1, A1]]\n"
        "alerts: [{name: r, metric: correlation, outside: 0.9, timeframes: [1m, 1s], pairs: [A1-B1, B1-A1], only_stationary: true}]"
    ).alerts
    assert [(each.subject, each.timeframe) for each in alerts] == [("B1-A1", "1s"), ("B1-A1", "1m"), ("A1-B1", "1m")]
    assert all(each.only_stationary for each in alerts)


def test_only_z_rules_of_high_priority_wait_for_a_stationary_pair_unless_told_otherwise() -> None:
    rules = (
        "alerts:\n- {name: a, metric: zscore, above: 3, priority: high}\n- {name: b, metric: zscore, above: 3}\n"
        "- {name: c, metric: zscore, above: 3, priority: high, only_stationary: false}\n"
        "- {name: d, metric: correlation, below: 0, priority: high}\n"
    )
    assert [each.only_stationary for each in of(SHORTEST + rules).alerts] == [True, False, False, False]


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
    with pytest.raises(UserError, match=r"^environment: PAIRFLOW_QUESTDB_HOST: expected a host name or address, got 'a b'$"):
        decode(text, "pipeline.yaml", environ={"PAIRFLOW_QUESTDB_HOST": "a b"})


def test_numbers_and_words_are_what_they_look_like() -> None:
    content = parse(
        "{a: NO, b: 12:30:00, c: 2024-08-09, d: 017, e: 1_000, f: 0x1F, g: '12', h: on, i: 1e3, j: -2, k: .5, l: ~, m: True, n: 5.}", "x"
    ).content
    assert content == {
        **{"a": "NO", "b": "12:30:00", "c": "2024-08-09", "d": "017", "e": "1_000", "f": "0x1F", "g": "12", "h": "on"},
        **{"i": 1000.0, "j": -2, "k": 0.5, "l": None, "m": True, "n": 5.0},
    }


def test_an_exponent_is_a_number_where_a_number_is_expected() -> None:
    assert of(SHORTEST + "alerts: [{name: btc, metric: price, symbol: BTCUSDT, above: 1e5}]").alerts[0].threshold == 100_000


def test_anchors_and_aliases_share_what_they_name() -> None:
    pairs = of("pairs: [{legs: [A1, B1], zscore: &z {window: 99}}, {legs: [A1, C1], zscore: *z}]").pairs
    assert [pair.windows[0].zscore for pair in pairs] == [99, 99]


def test_aliases_of_aliases_take_no_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(UserError, match="unknown key 'a0'"):
        of("\n".join(lines))
    nested = "&a0 [x, x]"
    for i in range(1, 60):
        nested = f"&a{i} [{nested}, *a{i - 1}, *a{i - 1}]"
    with pytest.raises(UserError, match=r"pairs\[0\]: expected a pair such as .*, got \[\[…\], \[…\], \[…\]\]$"):
        of(f"pairs: [{nested}]")


# --- golden messages ----------------------------------------------------------------------------------------------------------

# fmt: off
BROKEN = [  # what is wrong, the text, the line after the file's name
    ("an empty file", "",
        ": empty: expected at least pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`"),
    ("comments only", "# nothing\n",
        ": empty: expected at least pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`"),
    ("a list", "- BTCUSDT\n",
        ": expected a mapping with source, bars, defaults, pairs, alerts, questdb, recovery, retention or alerts_tolerate, got ['BTCUSDT']",
    ),
    ("a word", "pairs\n",
        ": expected a mapping with source, bars, defaults, pairs, alerts, questdb, recovery, retention or alerts_tolerate, got 'pairs'"),
    ("no pairs and no symbols", "bars: {timeframes: [1s]}",
        ": nothing to stream: give pairs, for example `pairs: [[BTCUSDT, ETHUSDT]]`, or source.symbols"),
    ("an unclosed bracket", "pairs: [[BTCUSDT, ETHUSDT]\n",
        ":2:1: not valid YAML: expected ',' or ']', but got '<stream end>' (while parsing a flow sequence)"),
    ("a tab", "source:\n\texchange: binance\n",
        ":2:1: a tab: YAML is indented with blanks"),
    ("two documents", SHORTEST + "---\npairs: [[BTCUSDT, ETHUSDT]]\n",
        ":2:1: a second document begins: expected one, without `---`"),
    ("a duplicate key", SHORTEST + "source: {quiet: 3s}\npairs: []\n",
        ":3:1: duplicate key 'pairs': it stands in line 1 already"),
    ("a duplicate key deep below", "pairs:\n  - legs: [BTCUSDT, ETHUSDT]\n    hedge: {window: 30, window: 40}\n",
        ":3:25: duplicate key 'window': it stands in line 3 already"),
    ("an alias of itself", "pairs: &all [*all]",
        ":1:8: an alias stands inside what it names"),
    ("a Python tag", "pairs: !!python/object/apply:os.system [ls]",
        ":1:8: unknown tag 'tag:yaml.org,2002:python/object/apply:os.system': remove it"),
    ("a control character", "pairs: [[BTC\x07, ETHUSDT]]",
        ":1:13: the character '\\x07' is not allowed in YAML"),
    ("an unknown key", SHORTEST + "alert: []",
        ": unknown key 'alert', did you mean alerts?"),
    ("an unknown key deep below", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {windw: 30}}]",
        ": pairs[0].hedge: unknown key 'windw', did you mean window?"),
    ("an unknown key like no other", SHORTEST + "grafana: {}",
        ": unknown key 'grafana', expected source, bars, defaults, pairs, alerts, questdb, recovery, retention or alerts_tolerate"),
    ("a merge key", "pairs: [{legs: [BTCUSDT, ETHUSDT], <<: {prices: raw}}]",
        ": pairs[0]: unknown key '<<': merge keys are no part of YAML 1.2: put what pairs share under defaults"),
    ("an empty section", SHORTEST + "source:\n",
        ": source: expected a mapping with exchange, quiet, stale, stream, ids, ws_url, rest_url or symbols, got nothing"),
    ("a window that is no number", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: abc}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got 'abc'"),
    ("a window that is too short", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 19}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got 19"),
    ("a window in quotes", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: '1800'}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got '1800'"),
    ("a window with an exponent", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 1e3}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got 1000.0"),
    ("a window with a leading zero", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 0100}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got '0100'"),
    ("a window with an underscore", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 1_800}}]",
        ": pairs[0].hedge.window: expected an integer ≥ 20, got '1_800'"),
    ("a window that is true", "pairs: [{legs: [BTCUSDT, ETHUSDT], adf: {every: true}}]",
        ": pairs[0].adf.every: expected an integer ≥ 1, got true"),
    ("a window too long", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 10000000}}]",
        ": pairs[0].hedge.window: expected an integer ≤ 100000, got 10000000"),
    ("a window for an unknown timeframe", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: {1s: 1800, 1m: 1440, 5m: 300}}}]",
        ": pairs[0].hedge.window: 5m is no timeframe of this pair (1s, 1m)"),
    ("a window missing for a timeframe", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: {1s: 1800}}}]",
        ": pairs[0].hedge.window: nothing for 1m: expected a number, or one each for 1s, 1m; got 1s"),
    ("a default missing for a timeframe", "pairs: [{legs: [BTCUSDT, ETHUSDT], timeframes: [1s, 5m]}]",
        ": pairs[0].hedge.window: nothing for 5m: expected a number, or one each for 1s, 5m; got 1s, 1m by default"),
    ("a window too long for its method", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [ols, theil_sen], window: 30001}}]",
        ": pairs[0].hedge.window: theil_sen bears a hedge.window of at most 30000 (more rows take longer than there is time between bars), "
        "got 30001 at 1s: shorten it, or choose another method"),
    ("a method for which the default window is too long", "defaults: {hedge: {window: 40000}}\n"
        "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: theil_sen}}]",
        ": pairs[0].hedge.method: theil_sen bears a hedge.window of at most 30000 (more rows take longer than there is time between bars), "
        "got 40000 at 1s: shorten it, or choose another method"),
    ("a z-score over more than the hedge ratio", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {window: 100}}]",
        ": pairs[0].hedge.window: expected an integer ≥ zscore.window (300 at 1s), got 100"),
    ("a z-score over more than the hedge ratio, its own fault", "pairs: [{legs: [BTCUSDT, ETHUSDT], zscore: {window: 5000}}]",
        ": pairs[0].zscore.window: expected an integer ≤ hedge.window (1800 at 1s), got 5000"),
    ("a broken default that no pair uses", "defaults: {adf: {window: 5}}\npairs: [{legs: [BTCUSDT, ETHUSDT], adf: {window: 60, every: 1}}]",
        ": defaults.adf.window: expected an integer ≥ 30, got 5"),
    ("a method that is not there", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: kalmann}}]",
        f": pairs[0].hedge.method: expected {either(METHODS)}, got 'kalmann'"),
    ("tls on raw prices", "pairs: [{legs: [BTCUSDT, ETHUSDT], prices: raw, hedge: {method: [ols, tls]}}]",
        ": pairs[0].hedge.method: tls mixes the units of both legs: use it with prices: log, or leave it out"),
    ("tls in the defaults, raw prices in a pair", "defaults: {hedge: {method: tls}}\npairs: [{legs: [BTCUSDT, ETHUSDT], prices: raw}]",
        ": defaults.hedge.method: tls mixes the units of both legs: use it with prices: log, or leave it out"),
    ("no method", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: []}}]",
        f": pairs[0].hedge.method: expected {either(METHODS)}, or a list of these, got []"),
    ("lags by a criterion that is not there", "pairs: [{legs: [BTCUSDT, ETHUSDT], adf: {lags: hqic}}]",
        ": pairs[0].adf.lags: expected aic, bic or an integer ≥ 0, got 'hqic'"),
    ("a rule on a test of ols without ols", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [kalman, huber]}}]\n"
        "alerts: [{name: p, metric: coint_pvalue, below: 0.05}]",
        ": alerts[0]: coint_pvalue is tested on ols, which BTCUSDT-ETHUSDT does not have: add it to its hedge.method"),
    ("a rule on what broke without ols", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: kalman}}]\n"
        "alerts: [{name: lost, metric: broken, above: 3}]",
        ": alerts[0]: broken is tested on ols, which BTCUSDT-ETHUSDT does not have: add it to its hedge.method"),
    ("less than no test lost", SHORTEST + "alerts: [{name: lost, metric: broken, above: -1}]",
        ": alerts[0].above: expected a number of tests ≥ 0, got -1"),
    ("a rule for stationary pairs without ols", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: kalman}}]\n"
        "alerts: [{name: z, metric: zscore, outside: 3, priority: high}]",
        ": alerts[0]: BTCUSDT-ETHUSDT has no ols to be tested on: add it to its hedge.method, or set only_stationary: false"),
    ("a method twice", "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [ols, ols]}}]",
        ": pairs[0].hedge.method[1]: ols is listed twice"),
    ("more lags than there is time for", "pairs: [{legs: [BTCUSDT, ETHUSDT], adf: {window: 20000, lags: 201}}]",
        ": pairs[0].adf.lags: expected aic, bic or an integer ≤ 200 (more take longer than there is time between bars), got 201"),
    ("a leg stale at once", SHORTEST + "source: {stale: 500ms}",
        ": source.stale: expected a duration from 1s to 1h, such as 60s, got '500ms'"),
    ("a leg never stale", SHORTEST + "source: {stale: 2h}",
        ": source.stale: expected a duration from 1s to 1h, such as 60s, got '2h'"),
    ("more lags than the window bears", "pairs: [{legs: [BTCUSDT, ETHUSDT], adf: {window: 60, lags: 29}}]",
        ": pairs[0].adf.lags: expected aic, bic or an integer ≤ 28 (half of adf.window, 60 at 1s, less 2), got 29"),
    ("a negative cost", "pairs: [{legs: [BTCUSDT, ETHUSDT], costs: {fee_bps: -1}}]",
        ": pairs[0].costs.fee_bps: expected a number from 0 to 10000 (basis points), got -1"),
    ("a cost that is not a number", "pairs: [{legs: [BTCUSDT, ETHUSDT], costs: {fee_bps: .nan}}]",
        ": pairs[0].costs.fee_bps: expected a number from 0 to 10000 (basis points), got nan"),
    ("a pair of one", "pairs: [[BTCUSDT]]",
        ": pairs[0]: expected a pair such as [BTCUSDT, ETHUSDT] or {legs: [BTCUSDT, ETHUSDT], …}, got ['BTCUSDT']"),
    ("a pair that is a word", "pairs: [BTCUSDT-ETHUSDT]",
        ": pairs[0]: expected a pair such as [BTCUSDT, ETHUSDT] or {legs: [BTCUSDT, ETHUSDT], …}, got 'BTCUSDT-ETHUSDT'"),
    ("a pair with itself", "pairs: [[BTCUSDT, BTCUSDT]]",
        ": pairs[0]: the legs of a pair differ, got BTCUSDT twice"),
    ("a pair twice", "pairs: [[BTCUSDT, ETHUSDT], {legs: [BTCUSDT, ETHUSDT]}]",
        ": pairs[1]: the pair BTCUSDT-ETHUSDT is listed twice"),
    ("a pair without legs", "pairs: [{prices: raw}]",
        ": pairs[0]: expected legs, for example legs: [BTCUSDT, ETHUSDT]"),
    ("two spellings of a symbol", "pairs: [[btcusdt, ETHUSDT], [BTCUSDT, BNBUSDT]]",
        ": pairs[1][0]: BTCUSDT is written in two ways, 'btcusdt' and 'BTCUSDT': write BTCUSDT everywhere"),
    ("two spellings as one pair", "pairs: [[BTCUSDT, btc/usdt]]",
        ": pairs[0][1]: BTCUSDT is written in two ways, 'BTCUSDT' and 'btc/usdt': write BTCUSDT everywhere"),
    ("two spellings, one of source.symbols", SHORTEST + "source: {symbols: [ethusdt]}",
        ": source.symbols[0]: ETHUSDT is written in two ways, 'ETHUSDT' and 'ethusdt': write ETHUSDT everywhere"),
    ("a symbol with a dash at its end", "pairs: [[BTC-, ETHUSDT]]",
        ": pairs[0][0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got 'BTC-'"),
    ("a symbol that is too long", f"pairs: [[{'A' * 41}, ETHUSDT]]",
        f": pairs[0][0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got '{'A' * 41}'"),
    ("SQL for a symbol", 'pairs: [["x\' OR 1=1--", ETHUSDT]]',
        ': pairs[0][0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got "x\' OR 1=1--"'),
    ("SQL for a pair", 'pairs: ["x\' OR 1=1--"]',
        ': pairs[0]: expected a pair such as [BTCUSDT, ETHUSDT] or {legs: [BTCUSDT, ETHUSDT], …}, got "x\' OR 1=1--"'),
    ("a symbol that is a number", "pairs: [[123, ETHUSDT]]",
        ": pairs[0][0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got 123"),
    ("a symbol with a line feed", 'pairs: [["BTCUSDT\\n", ETHUSDT]]',
        ": pairs[0][0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got 'BTCUSDT\\n'"),
    ("a symbol that is NO", SHORTEST + "source: {symbols: [NO!]}",
        ": source.symbols[0]: expected a symbol such as BTCUSDT (2 to 40 letters, digits and _), got 'NO!'"),
    ("a timeframe in seconds", SHORTEST + "bars: {timeframes: [1s, 60s]}",
        ": bars.timeframes[1]: write 1m, got '60s'"),
    ("a timeframe too long", SHORTEST + "bars: {timeframes: [1s, 1h]}",
        ": bars.timeframes[1]: expected a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or 1m, got '1h'"),
    ("a timeframe of milliseconds", SHORTEST + "bars: {timeframes: [500ms]}",
        ": bars.timeframes[0]: expected a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or 1m, got '500ms'"),
    ("a timeframe twice", SHORTEST + "bars: {timeframes: [1s, 1m, 1s]}",
        ": bars.timeframes[2]: 1s is listed twice"),
    ("a timeframe not in a list", SHORTEST + "bars: {timeframes: 1s}",
        ": bars.timeframes: expected a list of timeframes such as [1s, 1m], got '1s'"),
    ("no timeframe", SHORTEST + "bars: {timeframes: []}",
        ": bars.timeframes: expected at least one timeframe, got []"),
    ("a pair's timeframe that has no bars", "bars: {timeframes: [1s, 1m]}\npairs: [{legs: [BTCUSDT, ETHUSDT], timeframes: [5m]}]",
        ": pairs[0].timeframes[0]: expected one of bars.timeframes (1s, 1m), got '5m'"),
    ("bars without the default timeframes", "bars: {timeframes: [5s]}\npairs: [[BTCUSDT, ETHUSDT]]\n",
        ": pairs[0]: no timeframes: none of 1s, 1m is among bars.timeframes: set defaults.timeframes to some of 5s"),
    ("a duration without a unit", SHORTEST + "source: {quiet: 3}",
        ": source.quiet: expected a duration from 1ms to 1h, such as 3s, got 3"),
    ("a duration in base sixty", SHORTEST + "recovery: {every: 12:30:00}",
        ": recovery.every: expected a duration from 10ms to 1h, such as 1s, got '12:30:00'"),
    ("a duration of nothing", SHORTEST + "source: {quiet: 0s}",
        ": source.quiet: expected a duration from 1ms to 1h, such as 3s, got '0s'"),
    ("an exchange that is not there", SHORTEST + "source: {exchange: kraken}",
        ": source.exchange: expected binance or simulated, got 'kraken'"),
    ("ids that are neither", SHORTEST + "source: {ids: dense}",
        ": source.ids: expected contiguous or sparse, got 'dense'"),
    ("ids that are a list", SHORTEST + "source: {ids: [sparse]}",
        ": source.ids: expected contiguous or sparse, got ['sparse']"),
    ("ids that are empty", SHORTEST + "source: {ids: }",
        ": source.ids: expected contiguous or sparse, got nothing"),
    ("an address of the wrong kind", SHORTEST + "source: {ws_url: https://example.org}",
        ": source.ws_url: expected an address that begins with ws:// or wss://, got 'https://example.org'"),
    ("an address with a password", SHORTEST + "source: {ws_url: 'wss://me:hunter2@example.org'}",
        ": source.ws_url: an address takes no user or password: secrets come from the environment, not from this file"),
    ("a password", SHORTEST + "questdb: {password: hunter2}",
        ": questdb.password: secrets come from the environment, not from this file: remove it"),
    ("a port out of range", SHORTEST + "questdb: {http_port: 90000}",
        ": questdb.http_port: expected an integer ≤ 65535, got 90000"),
    ("one port twice", SHORTEST + "questdb: {http_port: 8812}",
        ": questdb: http_port and pg_port are both 8812: give each its own"),
    ("a host for the embedded database", SHORTEST + "questdb: {host: example.org}",
        ": questdb.host: an embedded database runs on this machine: remove host, or set embedded: false"),
    ("no host for an external database", SHORTEST + "questdb: {embedded: false}",
        ": questdb: expected a host, as embedded is false (or PAIRFLOW_QUESTDB_HOST in the environment)"),
    ("a yes", SHORTEST + "questdb: {embedded: yes}",
        ": questdb.embedded: expected true or false, got 'yes'"),
    ("one directory for two in other words", SHORTEST + "questdb: {dir: a}\nrecovery: {dir: a/../a}",
        ": recovery.dir and questdb.dir are the same directory: give each its own"),
    ("one directory for two", SHORTEST + "recovery: {dir: .pairflow/questdb}",
        ": recovery.dir and questdb.dir are the same directory: give each its own"),
    ("recovery on", SHORTEST + "recovery: true",
        ": recovery: expected a mapping with dir or every, or false for none, got true"),
    ("half a day", SHORTEST + "retention: {trades: 36h}",
        ": retention.trades: expected whole days such as 7d (partitions are days), got '36h'"),
    ("a share in percent", SHORTEST + "alerts_tolerate: 1%",
        ": alerts_tolerate: expected a number from 0 to 1, got '1%'"),
    ("a rule without a name", SHORTEST + "alerts: [{metric: zscore, above: 2}]",
        ": alerts[0]: expected a name"),
    ("a rule without a metric", SHORTEST + "alerts: [{name: z, above: 2}]",
        ": alerts[0]: expected a metric"),
    ("a rule with a name for SQL", SHORTEST + 'alerts: [{name: "x\' OR 1=1--", metric: zscore, above: 2}]',
        ': alerts[0].name: expected a name (letters, digits, blanks and . _ + - / ( ) % > < =, up to 60), got "x\' OR 1=1--"'),
    ("a name that YAML takes for a number", SHORTEST + "alerts: [{name: 1e3, metric: zscore, above: 2}]",
        ": alerts[0].name: expected a name (letters, digits, blanks and . _ + - / ( ) % > < =, up to 60), got 1000.0"),
    ("two rules of one name", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2}, {name: z, metric: zscore, below: -2}]",
        ": alerts[1].name: two rules are called 'z'"),
    ("a rule without a side", SHORTEST + "alerts: [{name: z, metric: zscore}]",
        ": alerts[0]: expected one of above, below or outside, got none"),
    ("a rule with two sides", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2, below: -2}]",
        ": alerts[0]: expected one of above, below or outside, got above and below"),
    ("a metric that is not there", SHORTEST + "alerts: [{name: z, metric: zcore, above: 2}]",
        f": alerts[0].metric: expected {either(METRICS)}, got 'zcore'"),
    ("a threshold that is no number", SHORTEST + "alerts: [{name: z, metric: zscore, above: two}]",
        ": alerts[0].above: expected a finite number, got 'two'"),
    ("an infinite threshold", SHORTEST + "alerts: [{name: z, metric: zscore, above: .inf}]",
        ": alerts[0].above: expected a finite number, got inf"),
    ("a threshold z cannot reach", SHORTEST + "defaults: {zscore: {window: 15}}\nalerts: [{name: z, metric: zscore, below: -3}]",
        ": alerts[0].below: out of reach of BTCUSDT-ETHUSDT at 1m: expected at most 2.89 either way (80 % of the largest |z| of zscore.window 15), got -3",
    ),
    ("an exit beyond the threshold", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2, exit: 3}]",
        ": alerts[0].exit: expected a number ≤ above (2), where the episode ends, got 3"),
    ("an exit on the wrong side below", SHORTEST + "alerts: [{name: z, metric: zscore, below: -2, exit: -3}]",
        ": alerts[0].exit: expected a number ≥ below (-2), where the episode ends, got -3"),
    ("outside on a ratio", SHORTEST + "alerts: [{name: z, metric: volume_ratio, outside: 3}]",
        ": alerts[0].outside: volume_ratio has no two sides: write above or below"),
    ("outside of a negative number", SHORTEST + "alerts: [{name: z, metric: zscore, outside: -3}]",
        ": alerts[0].outside: expected a number > 0, got -3"),
    ("a correlation above one", SHORTEST + "alerts: [{name: z, metric: correlation, above: 1.5}]",
        ": alerts[0].above: expected a number between -1 and 1, got 1.5"),
    ("a p-value of one", SHORTEST + "alerts: [{name: z, metric: coint_pvalue, below: 1}]",
        ": alerts[0].below: expected a number between 0 and 1, got 1"),
    ("a price of no symbol", SHORTEST + "alerts: [{name: z, metric: price, above: 100000}]",
        ": alerts[0]: expected a symbol, as a price is one symbol's"),
    ("a price of an unknown symbol", SHORTEST + "alerts: [{name: z, metric: price, symbol: BTCUSD, above: 100000}]",
        ": alerts[0].symbol: unknown symbol 'BTCUSD', did you mean BTCUSDT?"),
    ("a price of a pair", SHORTEST + "alerts: [{name: z, metric: price, pair: BTCUSDT-ETHUSDT, above: 1}]",
        ": alerts[0].pair: price belongs to a symbol: write symbol"),
    ("a rule on an unknown pair", SHORTEST + "alerts: [{name: z, metric: zscore, pair: ETHUSDT-BTCUSDT, above: 2}]",
        ": alerts[0].pair: unknown pair 'ETHUSDT-BTCUSDT', expected BTCUSDT-ETHUSDT"),
    ("a rule on pairs where there are none", "source: {symbols: [BTCUSDT]}\nalerts: [{name: z, metric: zscore, above: 2}]",
        ": alerts[0]: zscore belongs to a pair, and there are no pairs"),
    ("a rule on a timeframe without bars", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2, timeframes: [15s]}]",
        ": alerts[0].timeframes[0]: expected one of bars.timeframes (1s, 5s, 10s, 30s, 1m, 5m), got '15s'"),
    ("a rule on a timeframe no pair has", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2, timeframes: [5m]}]",
        ": alerts[0].timeframes: BTCUSDT-ETHUSDT has none of 5m"),
    ("staleness below", SHORTEST + "alerts: [{name: z, metric: staleness, below: 30s}]",
        ": alerts[0].below: a feed is stale when no trade has come for longer than that: write above"),
    ("staleness in words", SHORTEST + "alerts: [{name: z, metric: staleness, above: long}]",
        ": alerts[0].above: expected seconds or a duration such as 30s, > 0, got 'long'"),
    ("a stationary symbol", SHORTEST + "alerts: [{name: z, metric: volume_ratio, above: 5, only_stationary: true}]",
        ": alerts[0].only_stationary: a pair can be stationary, a symbol cannot: remove it from a rule on volume_ratio"),
    ("an unknown priority", SHORTEST + "alerts: [{name: z, metric: zscore, above: 2, priority: urgent}]",
        ": alerts[0].priority: expected high, medium or low, got 'urgent'"),
    ("an address with a bad port and a password", SHORTEST + "source: {ws_url: 'wss://me:hunter2@example.org:abc'}",
        ": source.ws_url: an address takes no user or password: secrets come from the environment, not from this file"),
    ("a password where a mapping is not expected", SHORTEST + "questdb: [{http_password: hunter2}]",
        ": questdb: expected a mapping with embedded, host, dir, http_port or pg_port, got [a mapping]"),
    ("an address with a query", SHORTEST + "source: {rest_url: 'https://example.org/?token=hunter2'}",
        ": source.rest_url: expected an address without ? and #: streams and parameters are added to it"),
]
# fmt: on


@pytest.mark.parametrize(("text", "line"), [pytest.param(text, line, id=name) for name, text, line in BROKEN])
def test_a_broken_configuration_is_refused_with_one_line(text: str, line: str) -> None:
    with pytest.raises(UserError) as refusal:
        of(text)
    assert str(refusal.value) == "pipeline.yaml" + line
    assert "\n" not in line
    assert "hunter2" not in line  # a secret is not repeated


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
  - {name: z extreme low,  metric: zscore, below: -3, exit: -2, priority: high}      # `outside: 3` is both in one
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
    assert {pair.name: pair.methods for pair in settings.pairs} == {"BTCUSDT-ETHUSDT": ("ols",), "BNBUSDT-SOLUSDT": ("ols", "kalman")}
    assert [(w.timeframe, w.hedge, w.zscore, w.correlation, w.adf, w.adf_every) for w in settings.pairs[1].windows] == [
        ("1s", 1800, 300, 120, 1800, 60),
        ("1m", 1440, 240, 20, 1440, 15),
    ]
    assert [alert.only_stationary for alert in settings.alerts if alert.rule == "z extreme high"] == [True, True]
    assert settings.symbols == ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")


def test_every_method_and_both_criteria_are_taken() -> None:
    text = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [tls, theil_sen, huber, kalman, ols]}, adf: {lags: bic}}]\n"
    settings = of(text + "alerts: [{name: lost, metric: broken, above: 3, exit: 0}]")
    assert (settings.pairs[0].methods, settings.pairs[0].adf_lags) == (("tls", "theil_sen", "huber", "kalman", "ols"), "bic")
    assert [(alert.metric, alert.threshold, alert.exit) for alert in settings.alerts] == [("broken", 3.0, 0.0)]
    raw = of("pairs: [{legs: [BTCUSDT, ETHUSDT], prices: raw, hedge: {method: [ols, kalman, huber, theil_sen]}}]")
    assert raw.pairs[0].methods == ("ols", "kalman", "huber", "theil_sen")


@pytest.fixture
def smoother(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method with options of its own, as an addition to operators/methods.py has them."""
    options = Option("pace", int, 2, 100, 10, "bars"), Option("share", float, 0.5, 1.0, 0.75, "of 1")
    method = Method("smoother", "hedge_ratio.rolling_ols", "", "", "", "", options=options)
    monkeypatch.setitem(METHODS, "smoother", method)
    for option in options:
        monkeypatch.setitem(OPTIONS, option.name, (method, option))
        monkeypatch.setitem(BUILT_IN["hedge"], option.name, option.default)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_method_is_taken_with_its_options_and_refused_beyond_them(method: Method) -> None:
    text = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: %s%s}}]"
    (pair,) = of(text % (method.name, "")).pairs
    assert pair.methods == (method.name,)
    assert pair.windows[0].options == {option.name: option.default for option in method.options}
    for option in method.options:
        assert of(text % (method.name, f", {option.name}: {option.most}")).pairs[0].windows[0].options[option.name] == option.most
        for wrong in (option.least - 1, option.most + 1):
            with pytest.raises(UserError, match=rf"pairs\[0\]\.hedge\.{option.name}: expected "):
                of(text % (method.name, f", {option.name}: {wrong}"))


SMOOTHER = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: [ols, smoother]%s}}, [BTCUSDT, SOLUSDT]]\n"


@pytest.mark.usefixtures("smoother")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SMOOTHER % "", [(10, 0.75), (10, 0.75)]),
        (SMOOTHER % ", pace: 20, share: 1", [(20, 1.0), (20, 1.0)]),
        (SMOOTHER % ", pace: {1m: 3, 1s: 2}", [(2, 0.75), (3, 0.75)]),
        ("defaults: {hedge: {pace: {1s: 5, 1m: 6, 5m: 7}, share: 0.5}}\n" + SMOOTHER % ", share: 0.6", [(5, 0.6), (6, 0.6)]),
    ],
)
def test_options_of_a_method_belong_to_the_pairs_that_use_it_for_each_timeframe(text: str, found: list[tuple[float, float]]) -> None:
    settings = of(text)
    assert [tuple(window.options.values()) for window in settings.pairs[0].windows] == found
    assert [window.options for window in settings.pairs[1].windows] == [{}, {}]
    fingerprint = settings_fingerprint(settings)["pairs"]
    assert fingerprint["BTCUSDT-ETHUSDT"]["hedge"]["pace"] == {"1s": found[0][0], "1m": found[1][0]}
    assert fingerprint["BTCUSDT-SOLUSDT"]["hedge"].keys() == {"method", "window"}
    assert [spec.options for spec in pair_specs(settings, "1m")] == [dict(zip(("pace", "share"), found[1], strict=True)), {}]


@pytest.mark.usefixtures("smoother")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SMOOTHER % ", pace: 1", "pairs[0].hedge.pace: expected an integer ≥ 2, got 1"),
        (SMOOTHER % ", pace: 2.5", "pairs[0].hedge.pace: expected an integer ≥ 2, got 2.5"),
        (SMOOTHER % ", share: 2", "pairs[0].hedge.share: expected a number from 0.5 to 1, got 2"),
        (SMOOTHER % ", share: {1s: 0.5, 1m: no}", "pairs[0].hedge.share.1m: expected a number from 0.5 to 1, got 'no'"),
        (SMOOTHER % ", pace: {}", "pairs[0].hedge.pace: expected a number, or one per timeframe, got a mapping"),
        (SMOOTHER % ", pace: {1s: 5}", "pairs[0].hedge.pace: nothing for 1m: expected a number, or one each for 1s, 1m; got 1s"),
        (SMOOTHER % ", pace: {1s: 5, 1m: 5, 5m: 5}", "pairs[0].hedge.pace: 5m is no timeframe of this pair (1s, 1m)"),
        (
            "defaults: {hedge: {pace: {1d: 5}}}\n" + SHORTEST,
            "defaults.hedge.pace: expected a timeframe of whole seconds from 1s to 5m, such as 1s, 30s or 1m, got '1d'",
        ),
        ("defaults: {hedge: {share: 0}}\n" + SHORTEST, "defaults.hedge.share: expected a number from 0.5 to 1, got 0"),
        (
            "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {pace: 20}}]",
            "pairs[0].hedge.pace: a setting of smoother, which is not among the methods of this pair: add it to hedge.method, or remove this",
        ),
    ],
)
def test_an_option_that_is_wrong_or_of_no_use_is_refused_with_one_line(text: str, line: str) -> None:
    with pytest.raises(UserError) as refusal:
        of(text)
    assert str(refusal.value) == f"pipeline.yaml: {line}"


def test_a_rule_of_another_kind_needs_no_ols() -> None:
    text = "pairs: [{legs: [BTCUSDT, ETHUSDT], hedge: {method: kalman}}]\n"
    rules = "alerts: [{name: z, metric: zscore, outside: 3, priority: high, only_stationary: false}, {name: p, metric: adf_pvalue, below: 0.05}]"
    assert {alert.metric for alert in of(text + rules).alerts} == {"zscore", "adf_pvalue"}


# --- against a reference ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:adfuller currently returns:FutureWarning")
def test_a_directory_at_home_of_a_user_without_one_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("flows.settings.fields.Path.home", homeless)
    with pytest.raises(UserError, match=r"recovery\.dir: this user has no home directory: write all of the path, got '~/r'$"):
        decode(SHORTEST + "recovery: {dir: ~/r}\n", "pipeline.yaml")


@pytest.mark.parametrize("window", [30, 31, 60, 101])
def test_as_many_lags_are_allowed_as_the_reference_can_fit(window: int) -> None:
    chance, walk = random.Random(2), [0.0]
    while len(walk) < window:
        walk.append(walk[-1] + chance.gauss(0, 1))
    most = window // 2 - 2
    text = "pairs: [{legs: [A1, B1], adf: {window: %d, lags: %d}}]"
    assert of(text % (window, most)).pairs[0].adf_lags == most
    adfuller(walk, maxlag=most, autolag=None, result_object=False)
    with pytest.raises(UserError, match="expected aic, bic or an integer"):
        of(text % (window, most + 1))
    with pytest.raises(ValueError, match="maxlag"):
        adfuller(walk, maxlag=most + 1, autolag=None, result_object=False)


@pytest.mark.parametrize("window", [10, 30, 240])
def test_the_largest_z_is_that_of_a_single_outlier(window: int) -> None:
    flat = [0.0] * (window - 1) + [1.0]
    mean = sum(flat) / window
    std = (sum((value - mean) ** 2 for value in flat) / (window - 1)) ** 0.5
    assert largest_zscore(window) == pytest.approx((flat[-1] - mean) / std, rel=1e-12)


# --- the fingerprint ----------------------------------------------------------------------------------------------------------


def test_when_a_leg_is_stale_is_in_the_fingerprint_and_never_before_three_bars() -> None:
    short, long = of(SHORTEST), of(SHORTEST + "source: {stale: 5m}")
    assert [stale_after(short, word) for word in ("1s", "30s", "1m", "5m")] == [60, 3, 3, 3]
    assert [stale_after(long, word) for word in ("1s", "1m", "5m")] == [300, 5, 3]
    assert differences(settings_fingerprint(short), settings_fingerprint(long)) == ["source.stale: was 60s, is 300s"]


def test_a_fingerprint_survives_json() -> None:
    fingerprint = settings_fingerprint(of(EXAMPLE))
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert differences(json.loads(json.dumps(fingerprint)), fingerprint) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("hedge: {method: ols, window: {1s: 1800, 1m: 1440}}", "hedge: {window: {1s: 1800, 1m: 720}}",
         ["pairs[BTCUSDT-ETHUSDT].hedge.window.1m: was 1440, is 720", "pairs[BNBUSDT-SOLUSDT].hedge.window.1m: was 1440, is 720"]),
        ("stream: trade ", "stream: aggTrade ", ["source.stream: was trade, is aggTrade"]),
        ("stream: trade ", "ids: sparse ", ["source.ids: was contiguous, is sparse"]),
        ("wss://data-stream.binance.vision", "ws://127.0.0.1:9", ["source.ws_url: was wss://data-stream.binance.vision, is ws://127.0.0.1:9"]),
        ("symbols: [BNBUSDT, SOLUSDT]", "symbols: [BNBUSDT, XRPUSDT]",
         ["symbols: now with XRPUSDT", "alerts[volume · XRPUSDT · 1m]: was added"]),
        ("  - [BTCUSDT, ETHUSDT]\n", "  - [ETHUSDT, BTCUSDT]\n",
         ["pairs[BTCUSDT-ETHUSDT]: was removed", "pairs[ETHUSDT-BTCUSDT]: was added"]
         + [f"alerts[{rule} · BTCUSDT-ETHUSDT · 1m]: was removed" for rule in ("z high", "z extreme low", "breakdown")]
         + [f"alerts[{rule} · ETHUSDT-BTCUSDT · 1m]: was added" for rule in ("z high", "z extreme low", "breakdown")]),
        ("10s, 30s", "15s, 30s", ["bars.timeframes: now without 10s and with 15s"]),
        ("above: 5,", "above: 6,", [f"alerts[volume · {symbol} · 1m].{level}: was 5.0, is 6.0"
                                    for symbol in ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT") for level in ("above", "exit")]),
        ("  - [BTCUSDT, ETHUSDT]\n  - {legs: [BNBUSDT, SOLUSDT], hedge: {method: [ols]}}", "  - [BNBUSDT, SOLUSDT]\n  - [BTCUSDT, ETHUSDT]",
         ["pairs in order: the order is another", "alerts in order: the order is another"]),
        ("fee_bps: 10", "fee_bps: 7", []),
        ("quiet: 3s", "quiet: 5s", []),
        ("http_port: 9000", "http_port: 9001", []),
        ("priority: low", "priority: high", []),
    ],
)  # fmt: skip
def test_a_change_that_the_state_depends_on_is_named_and_no_other(old: str, new: str, found: list[str]) -> None:
    assert old in EXAMPLE
    before, after = settings_fingerprint(of(EXAMPLE)), settings_fingerprint(of(EXAMPLE.replace(old, new)))
    assert differences(before, after) == found
    assert (before == after) == (not found)


# --- properties ---------------------------------------------------------------------------------------------------------------


def outcome(text: str) -> str:
    """'' when understood; else the one line. Anything but a UserError goes through."""
    try:
        understood = of(text)
    except UserError as refusal:
        line = str(refusal)
        assert line.startswith("pipeline.yaml:"), line
        assert line.splitlines() == [line]
        assert len(line) < 600
        return line
    assert differences(settings_fingerprint(understood), settings_fingerprint(understood)) == []
    return ""


SIGNS = (
    "",
    " ",
    "\n",
    "\t",
    ":",
    "-",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "'",
    '"',
    "#",
    "---",
    "...",
    "%",
    "|",
    ">",
    "~",
    "?",
    "<<",
)
WORDS = (
    "null",
    "true",
    "NO",
    "1e3",
    "-1",
    "0",
    "017",
    ".nan",
    ".inf",
    "1e999",
    "9" * 400,
    "9" * 5000,
    "\\",
    "\x00",
    "\u2028",
    "\ud800",
    "1s",
    "7d",
)
PIECES = st.sampled_from(SIGNS + WORDS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), PIECES | st.text(max_size=4)), min_size=1, max_size=3))
def test_whatever_is_cut_and_pasted_the_answer_is_settings_or_one_line(cuts: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    outcome(text)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1s", "1m", "3s", "ols", "BTCUSDT", "A1-B1", "zscore", 10**400])
)
TREES = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("window"), below, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_the_place_of_a_setting_the_answer_is_settings_or_one_line(draw: st.DataObject) -> None:
    tree = parse(EXAMPLE, "pipeline.yaml").content
    place = tree
    while True:
        assert isinstance(place, dict | list)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.draw(st.sampled_from(keys))
        below = place[key]  # type: ignore[index]
        if not isinstance(below, dict | list) or not below or draw.draw(st.booleans()):
            break
        place = below
    place[key] = draw.draw(TREES)  # type: ignore[index]
    outcome(json.dumps(tree).replace("NaN", ".nan").replace("Infinity", ".inf"))


@settings(deadline=None)
@given(st.integers(1, 300))
def test_a_timeframe_has_one_spelling(seconds: int) -> None:
    words = [
        word
        for word in (f"{seconds}s", f"{seconds / 60:g}m")
        if outcome(f"bars: {{timeframes: [{word}]}}\nsource: {{symbols: [A1]}}") == ""
    ]
    assert len(words) == 1
    assert timeframe_us(words[0]) == seconds * 1_000_000
