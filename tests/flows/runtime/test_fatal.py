"""A failing step ends the process with one line, without the stack trace of the runtime."""

import subprocess
import sys

import pytest

from tests import forked
from tests.line import LAST_S

PROGRAM = """
import sys
from flows.errors import UserError
from flows.runtime.fatal import guarded

class Step:
    @guarded
    def run(self):
        raise {error}

Step().run()
print("went on")
"""


def run(error: str) -> "subprocess.CompletedProcess[str]":
    return forked.run(
        [sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True, timeout=LAST_S
    )


def test_a_user_error_is_one_line_and_exit_code_1() -> None:
    done = run("UserError('questdb: table bars refuses the row')")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "pairflow: questdb: table bars refuses the row\n",
    )


def test_a_bug_says_where_it_is() -> None:
    done = run("ValueError('boom')")
    assert done.returncode == 1
    assert "ValueError: boom" in done.stderr


@pytest.mark.parametrize("error", ["StopIteration", "KeyboardInterrupt"])
def test_the_end_of_a_source_and_an_interrupt_pass(error: str) -> None:
    done = run(error)
    assert done.returncode != 0
    assert error in done.stderr
