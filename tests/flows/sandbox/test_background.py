"""The exchange as a command, and on a thread of its own."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.errors import UserError
from flows.sandbox.background import background
from flows.sandbox.exchange import Exchange
from flows.sandbox.options import Options
from tests import forked
from tests.line import LAST_S


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"port {port} on 127.0.0.1: .*choose another"),
            background(port=port),
        ):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_it_is_and_ends_well(recording: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.sandbox.background import serve; from flows.sandbox.options import Options\n"
        "serve(Options(paths=[Path(sys.argv[1])]), lambda text: print(text, flush=True))"
    )
    running = forked.start(
        [sys.executable, "-c", code, str(recording)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert running.stdout is not None
    with running, running.stdout as out:
        try:
            heard = ""
            while "Ctrl-C stops it" not in heard:
                line = out.readline()
                assert line, heard
                heard += line
            assert (
                "ws_url: ws://127.0.0.1:" in heard
                and "plays BTCUSDT, ETHUSDT from 2025-11-22T08:26:40" in heard
            )
            running.send_signal(number)
            assert running.wait(LAST_S) == 0
            assert "stopped" in out.read()
        finally:
            running.kill()


async def _in_a_loop() -> int:
    async with Exchange(Options(symbols=("BTCUSDT",))) as exchange:
        return exchange.port


def test_it_serves_within_a_running_loop() -> None:
    import asyncio

    assert asyncio.run(_in_a_loop()) > 0
