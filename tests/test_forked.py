"""A forked command behaves like a newly started process, from its environment to its exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.line import LAST_S

FOUND = (
    "import os, signal, sys; print("
    "[sys.argv, os.getcwd(), os.environ.get('A'), 'B' in os.environ, sys.stdin.read(), {}])"
)
HANDLERS = "signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD)"
MEANWHILE = (
    "import sys; print('begun', flush=True); sys.stdin.read(); print('over', file=sys.stderr); sys.exit(3)"
)


@pytest.fixture
def begun() -> forked.Command:
    process = forked.start(
        [sys.executable, "-c", MEANWHILE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert isinstance(process, forked.Command)
    assert process.stdout.readline() == "begun\n"
    assert process.poll() is None
    return process


def test_it_has_the_environment_and_output_of_a_new_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOUND.format(HANDLERS), "--option", "ä"]
    how = {
        "cwd": tmp_path,
        "env": os.environ | {"A": "ö"},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "text": True,
    }
    assert forked.run(command, **how).stdout == subprocess.run(command, check=True, **how).stdout


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "1 / 0"],
        ["-c", "raise SystemExit('why')"],
        ["-m", "flows.command"],
        ["-m", "flows.command", "check"],
    ],
)
def test_it_ends_as_a_new_process_does(tmp_path: Path, command: list[str]) -> None:
    ours = forked.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    theirs = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert ours.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]


def test_the_end_of_its_input_ends_it_and_all_its_output_is_read(begun: forked.Command) -> None:
    assert begun.communicate("bye", timeout=LAST_S) == ("", "over\n")
    assert begun.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(begun: forked.Command, number: int) -> None:
    begun.send_signal(number)
    assert begun.wait(LAST_S) == -number
    begun.send_signal(number)  # the process has ended: this must do nothing
    with pytest.raises(ProcessLookupError):
        os.kill(begun.pid, 0)
    begun.communicate()


def test_waiting_for_a_running_one_times_out_and_does_not_end_it(begun: forked.Command) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        begun.wait(0.01)
    begun.kill()
    begun.communicate()
    assert begun.returncode == -signal.SIGKILL


def test_a_command_with_a_variable_that_python_reads_at_its_start_is_not_forked() -> None:
    process = forked.start(
        [sys.executable, "-c", "print(hash('a'))"],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
    )
    assert isinstance(process, subprocess.Popen)
    process.communicate()
