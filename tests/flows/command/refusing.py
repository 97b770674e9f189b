"""A configuration of one pair, and the error line of a command."""

import pytest

from flows.command.cli import main

PAIRS = (
    "pairs: [[BTCUSDT, ETHUSDT]]\n"
    "questdb: {{dir: db, http_port: {http}, pg_port: {pg}}}\n"
    "source: {{ws_url: '{ws}', rest_url: '{rest}'}}\n"
)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line of a command that fails; it prints nothing to standard output."""
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = said.err.splitlines()
    assert last.startswith("pairflow: ")
    return last
