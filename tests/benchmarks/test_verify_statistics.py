"""The table of deviations: it passes, and a formula that is off by a millionth turns its row, and no other,
red.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import verify_statistics
from benchmarks.kinds import Kind, kinds
from benchmarks.verify_statistics import CHECKS, OTHERS, PLAIN, RED, ROWS, SEED, Row, main, text
from operators import methods

OFF = 1.0 + 1e-6
FUNCTIONS = {
    "rolling_ols": "rolling_ols", "rolling_huber": "rolling_huber", "rolling_theil_sen": "rolling_theil_sen", "rolling_tls": "rolling_tls",
    "spread_zscore": "spread_zscore", "edge_bps": "edge_bps", "rolling_correlation": "rolling_correlation", "spread_series": "spread_series",
    "adf": "adf", "engle_granger": "engle_granger", "johansen": "johansen", "shin": "shin", "half_life": "half_life",
    "variance_ratio": "variance_ratio", "activity": "activity",
}  # fmt: skip
CLASSES = {"HedgeKalman": "HedgeKalman", "CointShares": "CointShares"}


@pytest.fixture(scope="module")
def markets() -> list[Kind]:
    return kinds(ROWS, SEED)


def off(result: Any) -> Any:
    """The same result, every number of it a millionth larger."""
    if isinstance(result, tuple):
        return tuple(off(each) for each in result)
    exact = isinstance(result, int | bool) or (isinstance(result, np.ndarray) and result.dtype != np.float64)
    return result if exact else result * OFF


def perturbed(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: off(function(*arguments, **named))


@pytest.mark.long
def test_a_quick_run_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    printed = capsys.readouterr()
    assert all(f"\n{name} " in printed.out for name in CHECKS)
    assert "FAIL" not in printed.out and RED not in printed.out
    assert "half-life 20" in printed.out and "`stationary`, of tests" in printed.out
    assert printed.err == ""


def test_a_formula_that_is_off_by_a_millionth_fails_its_row_and_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify_statistics, "rolling_ols", perturbed(verify_statistics.rolling_ols))
    assert main(["--quick", "--only", "rolling_ols"]) == 1
    assert capsys.readouterr().out.count("FAIL") == 2  # the line, and its standard error
    assert main(["--quick", "--only", "shin"]) == 0  # which has a least-squares fit of its own


@pytest.mark.long
@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_every_operator_can_fail(name: str, monkeypatch: pytest.MonkeyPatch, markets: list[Kind]) -> None:
    ours = getattr(verify_statistics, name)
    if name in CLASSES:

        class Perturbed(ours):  # type: ignore[misc]
            def update(self, *arguments: Any) -> Any:
                return off(super().update(*arguments))

        monkeypatch.setattr(verify_statistics, name, Perturbed)
    else:
        monkeypatch.setattr(verify_statistics, name, perturbed(ours))
    rows = CHECKS[name](markets, True)
    assert rows and not any(row.ok for row in rows)


@pytest.mark.parametrize("name", OTHERS)
def test_a_method_without_a_check_of_its_own_is_checked_and_can_fail(
    name: str, monkeypatch: pytest.MonkeyPatch, markets: list[Kind]
) -> None:
    rows = CHECKS[name](markets, True)
    assert rows and all(row.ok for row in rows)
    ours = methods._imported
    monkeypatch.setattr(methods, "_imported", lambda function: perturbed(ours(function)))
    assert not any(row.ok for row in CHECKS[name](markets, True))


def test_bars_can_fail(monkeypatch: pytest.MonkeyPatch, markets: list[Kind]) -> None:
    ours = verify_statistics.BarBuilder

    class Late:
        """Counts every trade a second late."""

        @staticmethod
        def of(*arguments: Any) -> Any:
            builder = ours.of(*arguments)

            class Builder:
                def update(self, trades: Any) -> Any:
                    trades.ts[:] += 1_000_000
                    bars = builder.update(trades)
                    trades.ts[:] -= 1_000_000
                    bars.ts[:] -= 1_000_000
                    return bars

            return Builder()

    monkeypatch.setattr(verify_statistics, "BarBuilder", Late)
    with pytest.raises(KeyError):  # bars that the trades do not have
        CHECKS["BarBuilder"](markets, True)


def test_one_side_alone_undefined_is_a_failure_and_both_are_not() -> None:
    row = Row("an operator", "a column", "a reference", 1e-9)
    row.hold("here", [np.nan, 1.0], [np.nan, 1.0])
    assert row.ok and (row.windows, row.undefined) == (1, 0)
    row.hold("there", [np.nan], [1.0])
    assert not row.ok and row.where == "there"


def test_nothing_compared_is_a_failure() -> None:
    row = Row("an operator", "a column", "a reference", 1e-9)
    row.hold("here", [np.nan], [np.nan])
    assert not row.ok and "nothing to compare" in text(row, False)


def test_a_failure_is_red_where_there_are_colours() -> None:
    good, bad = Row("a", "b", "c", 1e-9), Row("a", "b", "c", 1e-9)
    good.hold("here", [1.0], [1.0])
    bad.hold("here", [1.1], [1.0])
    assert text(bad, True).startswith(RED) and text(bad, True).endswith(PLAIN)
    assert RED not in text(bad, False) and RED not in text(good, True)
