"""Plausible rows, on which the tests run every statement of grafana/."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg

from grafana.queries import Query, queries

QUERIES = queries()
HOURS = 3
PAIR = ("BTCUSDT", "ETHUSDT")
HOSTILE = "x' OR 1=1--"  # used as the name of a symbol, pair or method


@dataclass
class Stack:
    """A QuestDB and the time range of its rows.

    `now` is the present for the statements, if it is not the end of the range.
    """

    connection: psycopg.Connection[Any]
    since: datetime
    until: datetime
    now: datetime | None = None

    def rows(self, query: Query, **choice: str) -> list[dict[str, Any]]:
        """The rows that the statement returns, with these values of the dashboard's variables."""
        chosen = {"symbol": PAIR[0], "pair": "-".join(PAIR), "timeframe": "1m", "method": "ols", **choice}
        chosen |= dict(zip("yx", chosen["pair"].split("-") * 2, strict=False))
        now = f"CAST({int((self.now or self.until).timestamp())}000000 AS TIMESTAMP)"
        cursor = self.connection.execute(
            query.expanded(chosen, self.since, self.until).replace("now()", now).encode()
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fill(stack: Stack) -> None:
    """Write the rows of every table."""
    random = np.random.default_rng(7)
    first = int(stack.since.timestamp()) // 60 * 60 + 60
    closed = (int(stack.until.timestamp()) - first) // 60 - 1  # the last whole minute is still in progress
    x = np.log(3_000) + np.cumsum(random.normal(0, 3e-4, closed))
    y = np.log(60_000) + 0.8 * (x - x[0]) + random.normal(0, 2e-4, closed)
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("trades", "bars", "signals", "cointegration", "activity", "alerts")
    }
    rows |= {"gaps": [], "audits": [], "health": []}
    for symbol, closes in zip(PAIR, (np.exp(y), np.exp(x)), strict=True):
        for k in range(closed):
            rows["bars"].append(bar(first + 60 * k, symbol, "1m", closes[max(k - 1, 0)], closes[k]))
            rows["activity"].append(
                {
                    "ts": first + 60 * k,
                    "symbol": symbol,
                    "timeframe": "1m",
                    "volatility_ratio": 1.1,
                    "volume_ratio": 0.7,
                    "volatility": 1e-4,
                    "log_return": np.log(closes[k] / closes[max(k - 1, 0)]),
                }
            )
        for k in range(20):  # the minute in progress
            rows["bars"].append(
                bar(first + 60 * closed + k, symbol, "1s", closes[-1] + k, closes[-1] + k + 1)
            )
            rows["trades"].append(
                {
                    "ts": first + 60 * closed + k,
                    "symbol": symbol,
                    "id": k,
                    "price": closes[-1],
                    "qty": 0.5,
                    "side": ("buy", "sell")[k % 2],
                }
            )
            feed = {"trades": 3, "lag_ms": 12.5, "queued": 0, "reconnects": k % 2}
            beside = {
                "skew_ms": -3.5,
                "wal_pending": k,
                "suspended": 0,
                "audited": 100,
                "mismatched": 1,
                "mismatch_rate": 1 / 60,
            }
            rows["health"].append({"ts": first + 60 * closed + k, "symbol": symbol} | feed | beside)
    deviation = y - y.mean() - 0.8 * (x - x.mean())
    for k in range(30, closed):
        at = {"ts": first + 60 * k, "pair": "-".join(PAIR), "timeframe": "1m", "method": "ols"}
        numbers = {
            "hedge_ratio": 0.8,
            "intercept": 1.0,
            "r2": 0.97,
            "spread": y[k] - 0.8 * x[k],
            "deviation": deviation[k],
        }
        score = {
            "spread_std": 2e-4,
            "zscore": deviation[k] / 2e-4,
            "edge_bps": 1e4 * abs(deviation[k]) - 40,
            "correlation": 0.9,
            "complete": True,
            "hedge_ratio_se": 0.01,
        }
        rows["signals"].append(at | numbers | score)
        tests = {
            "adf_pvalue": 0.001,
            "coint_pvalue": 0.002,
            "coint_share": 0.9,
            "half_life": 4.0,
            "stationary": True,
            "adf_lags": 1,
        }
        tests |= {
            "coint_pvalue_reversed": 0.01,
            "johansen_trace": 25.0,
            "johansen_max_eig": 20.0,
            "shin_stat": 0.1,
            "variance_ratio": 0.3,
        }
        rows["cointegration"].append(at | tests)
    # Two episodes of ten minutes that are over, one that is still open, and a rule on correlation that has
    # never opened.
    rules = (
        ("z high", "medium", "above", 40, 50),
        ("z low", "medium", "below", 60, 70),
        ("z extreme", "high", "above", 80, closed),
    )
    for rule, priority, side, opened, over in rules:
        sign = -1 if side == "below" else 1
        for k in range(30, closed):
            active = opened <= k < over
            # The row that closes an episode also carries its time.
            episode = (first + 60 * opened) * 1_000_000 if opened <= k <= over else None
            row = {
                "ts": first + 60 * k,
                "rule": rule,
                "subject": "-".join(PAIR),
                "timeframe": "1m",
                "priority": priority,
                "metric": "zscore",
            }
            row |= {
                "value": sign * (2.5 if active else 0.3),
                "threshold": sign * 2.0,
                "side": side,
                "method": "ols",
            }
            row |= {
                "coint_pvalue": 0.002,
                "complete": True,
                "edge_bps": 12.5,
                "active": active,
                "episode": episode,
            }
            rows["alerts"].append(row)
    for k in range(30, closed):
        row = {
            "ts": first + 60 * k,
            "rule": "breakdown",
            "subject": "-".join(PAIR),
            "timeframe": "1m",
            "priority": "low",
        }
        row |= {"metric": "correlation", "value": 0.9, "threshold": 0.5, "side": "below", "method": "ols"}
        row |= {"coint_pvalue": 0.002, "complete": True, "edge_bps": 12.5, "active": False, "episode": None}
        rows["alerts"].append(row)
    gap = {
        "ts": first + 600,
        "symbol": PAIR[0],
        "first_id": 5,
        "last_id": 9,
        "trades": 5,
        "cause": "disconnect",
    }
    rows["gaps"].append(gap | {"status": "filled", "filled_at": first + 604})
    rows["gaps"].append(gap | {"ts": first + 900, "symbol": PAIR[1], "status": "open", "filled_at": None})
    for field, ours, theirs in (("close", 61_000.5, 61_000.0), ("trades", 3.0, 4.0)):
        bar_of = {"ts": first + 60 * (closed - 2), "symbol": PAIR[1], "timeframe": "1m"}
        rows["audits"].append(bar_of | {"field": field, "ours": ours, "theirs": theirs})
    for table, records in rows.items():
        insert(stack.connection, table, records)


def bar(ts: int, symbol: str, timeframe: str, opened: float, close: float) -> dict[str, Any]:
    prices = {
        "open": opened,
        "high": max(opened, close) + 1,
        "low": min(opened, close) - 1,
        "close": close,
        "vwap": (opened + close) / 2,
    }
    sizes = {"volume": 2.0, "quote_volume": opened + close, "trades": 4, "buy_volume": 1.5, "complete": True}
    return {"ts": ts, "symbol": symbol, "timeframe": timeframe} | prices | sizes


TIMES = frozenset({"ts", "filled_at"})


def insert(connection: psycopg.Connection[Any], table: str, records: list[dict[str, Any]]) -> None:
    def literal(name: str, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return str(value).lower()
        if name in TIMES:
            return f"CAST({int(value) * 1_000_000} AS TIMESTAMP)"
        return (
            "'" + value + "'"
            if isinstance(value, str)
            else repr(float(value) if isinstance(value, np.floating) else value)
        )

    for start in range(0, len(records), 200):
        some = records[start : start + 200]
        names = list(some[0])
        values = ", ".join(
            "(" + ", ".join(literal(name, record.get(name)) for name in names) + ")" for record in some
        )
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES {values}".encode())


def named(where: str) -> Query:
    """The statement of that place, such as `Overview, panel Now, A`."""
    return next(query for query in QUERIES if query.where == where)


def wait(stack: Stack, table: str, where: str) -> None:
    """Wait until the table shows a row for which the condition holds."""
    for _ in range(10_000):
        counted = stack.connection.execute(f"SELECT count() FROM {table} WHERE {where}".encode()).fetchone()
        if counted and counted[0]:
            return
    raise AssertionError(f"no row of {table} where {where}")
