"""The part of the settings that the operators' state depends on, and how two of them differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from flows.settings.model import Pair, Settings, Source
from flows.settings.timeframes import UNITS_US


def settings_fingerprint(settings: Settings) -> dict[str, Any]:
    """What the operators' state depends on, as JSON-able lists and dicts: a run may resume only where this is
    the same.

    Left out because no state holds them: priorities, alerts_tolerate, source.quiet, the database, recovery
    and retention; and costs, of which a state holds no more than the edge of a bar that is written.
    """
    one = len(settings.sources) == 1
    each = {source.exchange: _source_fingerprint(source) for source in settings.sources}
    return {
        **({"source": each[settings.source.exchange]} if one else {"sources": each}),
        "symbols": list(settings.symbols),
        "bars": {"timeframes": list(settings.timeframes)},
        "pairs": {pair.name: _pair_fingerprint(pair) for pair in settings.pairs},
        "pairs in order": [pair.name for pair in settings.pairs],
        "alerts": {
            f"{alert.rule} · {alert.subject} · {alert.timeframe}": {
                "metric": alert.metric,
                alert.side: alert.threshold,
                "exit": alert.exit,
                "only_stationary": alert.only_stationary,
            }
            for alert in settings.alerts
        },
        "alerts in order": [
            f"{alert.rule} · {alert.subject} · {alert.timeframe}" for alert in settings.alerts
        ],
    }


def _source_fingerprint(source: Source) -> dict[str, Any]:
    return {
        "exchange": source.exchange,
        "stale": f"{source.stale_us / UNITS_US['s']:g}s",
        "stream": source.stream,
        "ids": source.ids,
        "ws_url": source.ws_url,
        "rest_url": source.rest_url,
    }


def _pair_fingerprint(pair: Pair) -> dict[str, Any]:
    return {
        "timeframes": [window.timeframe for window in pair.windows],
        "prices": pair.prices,
        "hedge": {
            "method": list(pair.methods),
            "window": {window.timeframe: window.hedge for window in pair.windows},
            **{
                name: {window.timeframe: window.options[name] for window in pair.windows}
                for name in pair.windows[0].options
            },
        },
        "zscore": {"window": {window.timeframe: window.zscore for window in pair.windows}},
        "correlation": {
            "window": {window.timeframe: window.correlation for window in pair.windows},
            "of": pair.correlation_of,
        },
        "adf": {
            "window": {window.timeframe: window.adf for window in pair.windows},
            "every": {window.timeframe: window.adf_every for window in pair.windows},
            "lags": pair.adf_lags,
        },
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How two fingerprints differ, one line a difference: `pairs[BTCUSDT-ETHUSDT].hedge.window.1m: was 1440,
    is 720`.
    """
    found = [
        line for key in dict.fromkeys([*old, *new]) for line in _differences(key, old.get(key), new.get(key))
    ]
    # The order is told only where nothing else is: whatever is added or removed changes it too.
    told = {line.split("[")[0] for line in found}
    return [line for line in found if " in order" not in line or line.split(" in order")[0] not in told]


def _differences(path: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        named = path in ("pairs", "alerts", "sources")
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(
                f"{path}[{key}]" if named else f"{path}.{key}", old.get(key), new.get(key)
            )
    elif old != new:
        yield f"{path}: {_change(old, new)}"


def _change(old: object, new: object) -> str:
    if new is None:
        return "was removed"
    if old is None:
        return "was added"
    if isinstance(old, list) and isinstance(new, list):
        gone, come = (
            [str(word) for word in old if word not in new],
            [str(word) for word in new if word not in old],
        )
        words = [f"without {', '.join(gone)}"] * bool(gone) + [f"with {', '.join(come)}"] * bool(come)
        return f"now {' and '.join(words)}" if words else "the order is another"
    return f"was {old}, is {new}"
