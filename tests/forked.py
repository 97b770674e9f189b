"""Commands that start at once, because each is a fork of a process that has loaded everything.

Starting `pairflow` takes about two seconds of CPU time: the interpreter, its imports, and numba's kernels.
One process (see `tests/forking.py`) does this once. Then it waits for commands, and forks itself for each.
The child is a real process. It has its own id, working directory, environment, standard streams and
arguments, and Python's default signal handlers. It runs its program as `python -m` or `python -c` does, and
ends like an interpreter. SIGKILL kills it. Only the imports have been done before.

`start` and `run` have the arguments of `subprocess.Popen` and `subprocess.run`. They call these when a fork
would not do: for another program than this Python, for a variable that Python reads when it starts
(PYTHONHASHSEED), for a shell, or for a new session.
"""

import atexit
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

SERVER = "PAIRFLOW_TESTS_FORKING"  # the variable with the address of the process that forks
ROOT = Path(__file__).parents[1]
LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")  # the process id at the start, the wait status at the end
STREAMS = 3
HOW = {"cwd", "env", "stdin", "stdout", "stderr", "text"}


def serve() -> None:
    """Start the process that forks, for this process and those that inherit its environment.

    It ends with this process. Does not wait until it is ready.
    """
    directory = tempfile.mkdtemp(prefix="pairflow-forking-")
    os.environ[SERVER] = f"{directory}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ[SERVER])
        listener.listen(64)
        fd = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(fd)], cwd=ROOT, stdin=subprocess.PIPE, pass_fds=(fd,)
        )

    def end() -> None:
        server.communicate()  # closes its standard input, which ends it
        shutil.rmtree(directory)

    atexit.register(end)


def start(command: Sequence[str], **how: Any) -> Any:
    """The command as a running process.

    It is a `Command`, or, where a fork would not do, a `subprocess.Popen`, which has the same methods.
    """
    forkable = command[0] == sys.executable and command[1] in ("-m", "-c") and set(how) <= HOW
    if not forkable or _reads_python(how.get("env")):
        return subprocess.Popen(command, **how)
    if SERVER not in os.environ:
        serve()
    return Command(command, **how)


def run(
    command: Sequence[str],
    *,
    timeout: float | None = None,
    capture_output: bool = False,
    check: bool = False,
    **how: Any,
) -> "subprocess.CompletedProcess[Any]":
    """Run the command to its end."""
    if capture_output:
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(command, **how)
    try:
        output = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    done = subprocess.CompletedProcess(command, process.returncode, *output)
    if check:
        done.check_returncode()
    return done


def _reads_python(env: "dict[str, str] | None") -> bool:
    """Whether variables that Python reads at its start differ from those of this process."""
    if env is None:
        return False
    ours, theirs = (
        {name: text for name, text in of.items() if name.startswith("PYTHON")} for of in (os.environ, env)
    )
    path = theirs.pop("PYTHONPATH", None)  # the process that forks has the project on its path
    ours.pop("PYTHONPATH", None)
    return ours != theirs or path not in (None, os.environ.get("PYTHONPATH"), str(ROOT))


class Command:
    """A child of the process that forks, with those methods of `subprocess.Popen` that tests use.

    The process that forks waits for the child and reports its exit status.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: "os.PathLike[str] | str | None" = None,
        env: "dict[str, str] | None" = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        text: bool = False,
    ) -> None:
        self.args, self.returncode = list(command), None
        self._reported = threading.Lock()
        with contextlib.ExitStack() as theirs:
            fds, ours = [], []
            for own, given in enumerate((stdin, stdout, stderr)):
                fd, end = _stream(own, given, fds, theirs)
                fds.append(fd)
                ours.append(
                    end if end is None else os.fdopen(end, ("r" if own else "w") + ("" if text else "b"))
                )
            self.stdin, self.stdout, self.stderr = ours
            self._text = text
            environment = dict(os.environ if env is None else env)
            asked = json.dumps(
                {"argv": self.args[1:], "cwd": os.fspath(cwd or Path.cwd()), "env": environment}
            ).encode()
            self._answers = socket.socket(socket.AF_UNIX)
            self._answers.connect(os.environ[SERVER])
            socket.send_fds(self._answers, [LENGTH.pack(len(asked))], fds)
            self._answers.sendall(asked)
            (self.pid,) = STATUS.unpack(self._answers.recv(STATUS.size, socket.MSG_WAITALL))

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._reported:
            if self.returncode is None:
                self._answers.settimeout(timeout)
                try:
                    status = self._answers.recv(STATUS.size)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
                if len(status) != STATUS.size:
                    raise ChildProcessError(f"the process that forks is gone, and with it process {self.pid}")
                self.returncode = os.waitstatus_to_exitcode(*STATUS.unpack(status))
                self._answers.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(15)

    def kill(self) -> None:
        self.send_signal(9)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Its standard output and error until it ends; None for one that is not a pipe."""
        until = None if timeout is None else time.monotonic() + timeout
        found: dict[int, Any] = {}
        pipes: dict[int, IO[Any]] = {
            fd: pipe for fd, pipe in ((1, self.stdout), (2, self.stderr)) if pipe is not None
        }

        def read(fd: int) -> None:
            with contextlib.suppress(ValueError):  # closed after a timeout
                found[fd] = pipes[fd].read()

        readers = [threading.Thread(target=read, args=(fd,), daemon=True) for fd in pipes]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()
        for reader in readers:
            reader.join(None if until is None else max(until - time.monotonic(), 0.0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if until is None else max(until - time.monotonic(), 0.0))
        for pipe in pipes.values():
            pipe.close()
        return found.get(1), found.get(2)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdout, self.stderr, self.stdin):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.wait()


def _stream(own: int, given: Any, fds: list[int], theirs: contextlib.ExitStack) -> tuple[int, int | None]:
    """The descriptor that becomes the child's descriptor 0, 1 or 2, and our end of it if it is a pipe."""
    if given is None:
        return own, None
    if given == subprocess.STDOUT:
        return fds[1], None
    if given == subprocess.PIPE:
        read, write = os.pipe()
        fd, end = (write, read) if own else (read, write)
    elif given == subprocess.DEVNULL:
        fd, end = os.open(os.devnull, os.O_RDWR), None
    else:
        return given if isinstance(given, int) else given.fileno(), None
    theirs.callback(os.close, fd)
    return fd, end
