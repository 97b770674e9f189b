"""The registry of methods: each has a function, sensible options, and rows in the documentation and the
example.
"""

from pathlib import Path

import numpy as np
import pytest

from operators.kalman import Filtered
from operators.methods import LONGEST_WINDOW, METHODS, OLS, OPTIONS, Method, Option

ROOT = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
EACH_OPTION = pytest.mark.parametrize("option", [option for _, option in OPTIONS.values()], ids=list(OPTIONS))


def test_a_name_is_a_method_s_own_and_an_option_belongs_to_one_method() -> None:
    assert [method.name for method in METHODS.values()] == list(METHODS)
    assert len(OPTIONS) == sum(len(method.options) for method in METHODS.values())
    assert not OPTIONS.keys() & {"method", "window"}  # keys that every method has


def test_cointegration_is_tested_on_a_method_that_is_there_and_forgets() -> None:
    assert not METHODS[OLS].remembers and not METHODS[OLS].options


@EACH
def test_a_method_gives_a_line_and_what_it_has_beside_in_columns_of_the_table(method: Method) -> None:
    values = np.random.default_rng(1).normal(size=(2, 60)).cumsum(axis=1)
    ends = np.arange(30, 61)
    tasks = np.zeros(31, np.int64), np.ones(31, np.int64), ends, np.full(31, 30)
    options = {option.name: np.full(31, option.default, option.kind) for option in method.options}
    fit = method.fit
    line = (
        fit(1, 1).update(values, tasks[0], *tasks, ends, **options)
        if method.remembers
        else fit(values, *tasks, **options)
    )
    assert {"hedge_ratio", "intercept", "r2"} <= set(line._fields) <= set(Filtered._fields)
    assert all(column.shape == (31,) and np.isfinite(column[1:]).all() for column in line)
    assert ("hedge_ratio_se" in line._fields) == (method.error != "–")
    assert 20 <= method.longest_window <= LONGEST_WINDOW


@EACH_OPTION
def test_an_option_has_a_default_in_its_range(option: Option) -> None:
    assert option.least <= option.default <= option.most and isinstance(option.default, option.kind)


@EACH
def test_a_method_has_its_row_in_the_documentation(method: Method) -> None:
    text = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")
    assert (
        f"\n| `{method.name}` | {method.line} | {method.error} | {method.equal_to} | {method.use} |\n" in text
    )
    for option in method.options:
        numbers = f"{option.least:,} to {option.most:,} | {option.default:,}"
        assert f"\n| `hedge.{option.name}` | `{method.name}` | {numbers} | {option.meaning} |\n" in text


@EACH
def test_the_example_names_the_method_its_options_and_what_it_refuses(method: Method) -> None:
    text = (ROOT / "pipeline.yaml").read_text(encoding="utf-8")
    (words,) = (line for line in text.splitlines() if line.strip().startswith("# method: "))
    named = f" {method.name} (log prices only)" if method.log_prices_only else f" {method.name} "
    assert named in f"{words.replace(',', ' ,')} "
    assert method.longest_window == LONGEST_WINDOW or f"{method.name}: {method.longest_window}" in text
    assert all(f"{option.name}: {option.default}" in text for option in method.options)


def test_the_documentation_has_no_method_and_no_option_that_is_not_there() -> None:
    section = (
        (ROOT / "docs/statistics.md")
        .read_text(encoding="utf-8")
        .split("## Hedge ratio\n")[1]
        .split("\n## ")[0]
    )
    names = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert names == [*METHODS, *(f"hedge.{name}" for name in OPTIONS)]
