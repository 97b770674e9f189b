"""The process that forks: `python -m tests.forking FD`. See `tests/forked.py`.

FD is the descriptor of a listening Unix socket. The process runs until its standard input is closed.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from flows.runtime.compiling import _compiled
from flows.settings.decoding import decode
from flows.steps import warm_up
from operators.huber import rolling_huber
from operators.methods import METHODS
from operators.theil_sen import rolling_theil_sen
from tests.forked import LENGTH, STATUS, STREAMS

MODULES = (  # modules that the verbs import only when they run
    "flows.watchers.audit",
    "flows.feed.http",
    "flows.command.check",
    "flows.database.embedded",
    "flows.sandbox.background",
    "flows.database.export",
    "flows.history.history",
    "flows.sandbox.market",
    "flows.watchers.monitor",
    "flows.database.writer",
    "flows.replay.recordings",
    "flows.database.sink",
    "flows.live.source",
)
AGAIN = "again"
EVERY_KERNEL = f"""
pairs:
  - legs: [ETHUSDT, BTCUSDT]
    timeframes: [1s, 1m]
    hedge: {{method: [{", ".join(METHODS)}]}}
alerts:
  - {{name: z, metric: zscore, outside: 2, exit: 1}}
"""


def ready() -> None:
    """Import all modules and load all kernels.

    If kernels had to be compiled, the process starts again: like a new process, children must have kernels
    that were loaded from the cache.
    """
    for module in MODULES:
        import_module(module)
    warm_up(decode(EVERY_KERNEL, "pipeline.yaml"))
    if _compiled() and AGAIN not in sys.argv:
        os.execv(sys.executable, [sys.executable, "-m", "tests.forking", *sys.argv[1:], AGAIN])
    gc.collect()
    gc.freeze()  # so that parent and children share the memory of all these objects


def compile_slowest() -> None:
    """Compile the kernels that take longest and come last in `ready`, in another process at the same time."""
    values, one, end = (
        np.random.default_rng(1).normal(size=(2, 40)).cumsum(axis=1),
        np.ones(1, np.int64),
        np.full(1, 40),
    )
    for rolling in (rolling_theil_sen, rolling_huber):
        rolling(values, 0 * one, one, end, end)


class Forking:
    """Answers each connection with one child. `serve` returns only in the children, with their command."""

    def __init__(self, listener: socket.socket) -> None:
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        # Ctrl-C stops the tests, and this process ends with them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())
        self._selector.register(self._listener, selectors.EVENT_READ, self._asked)
        self._selector.register(self._woken, selectors.EVENT_READ, self._ended)
        self._selector.register(0, selectors.EVENT_READ, self._leave)

    def serve(self) -> dict[str, Any]:
        while True:
            for key, _ in self._selector.select():
                if (asked := key.data(key.fileobj)) is not None:
                    return asked  # type: ignore[no-any-return]

    def _asked(self, listener: socket.socket) -> dict[str, Any] | None:
        connection, _ = listener.accept()
        head, fds, _, _ = socket.recv_fds(connection, LENGTH.size, STREAMS)
        (length,) = LENGTH.unpack(head)
        asked: dict[str, Any] = json.loads(connection.recv(length, socket.MSG_WAITALL))
        if pid := os.fork():
            for fd in fds:
                os.close(fd)
            self._children[pid] = connection
            self._selector.register(connection, selectors.EVENT_READ, self._abandoned)
            connection.sendall(STATUS.pack(pid))
            return None
        connection.close()
        self._become_child(fds)
        return asked

    def _become_child(self, fds: list[int]) -> None:
        """Leave only what a new process has: the streams, and Python's default signal handlers."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for each in (self._listener, self._woken, self._wake, *self._children.values()):
            each.close()
        for own, fd in enumerate(fds):
            os.dup2(fd, own)
        for fd in fds:
            if fd >= STREAMS:
                os.close(fd)

    def _ended(self, woken: socket.socket) -> None:
        with suppress(BlockingIOError):
            while woken.recv(4096):
                pass
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._children.pop(ended[0])
                with suppress(KeyError):
                    self._selector.unregister(connection)
                with suppress(OSError):
                    connection.sendall(STATUS.pack(ended[1]))
                connection.close()

    def _abandoned(self, connection: socket.socket) -> None:
        """Kill the child whose parent test has died, because nobody else will end it."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        for pid, of in self._children.items():
            if of is connection:
                os.kill(pid, signal.SIGKILL)

    def _leave(self, _: int) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        sys.exit()


def run(asked: dict[str, Any]) -> None:
    """Run the program in this process as the interpreter would. Returns, or raises, as the program ends."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[misc]
    kind, program, *arguments = asked["argv"]
    sys.argv = [kind, *arguments]
    sys.path[:1] = [
        "" if kind == "-c" else asked["cwd"],
        *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
    ]
    if kind == "-c":
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        exec(compile(program, "<string>", "exec"), vars(module))
    else:
        sys.modules.pop(program, None)
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    ready()
    # The warning is about numpy's threads, which stop before a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    run(Forking(socket.socket(fileno=int(sys.argv[1]))).serve())


if __name__ == "__main__":
    main()
