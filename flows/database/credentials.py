"""Users and passwords of a database: from the environment, else from the file in its data directory.

An embedded server has generated passwords in the file `run/passwords`, which only its owner can read (mode
0600). Its lines are NAME=value with the names of QuestDB's own environment variables, so a shell can read it,
too. The server gets the passwords when it starts; every process that uses the directory reads them from the
file. A variable of the environment overrides its line in the file.

| role | QuestDB's variables | may | user | password without environment and file |
|---|---|---|---|---|
| `HTTP` | `QDB_HTTP_…` | do everything: web console, rows, queries | `admin` | none: none is sent |
| `PG` | `QDB_PG_…` | do everything, over PostgreSQL's protocol | `admin` | `quest`, QuestDB's default |
| `PG_READONLY` | `QDB_PG_READONLY_…` | read, over PostgreSQL's protocol: Grafana | `grafana` | `quest`, too |
"""

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from flows.errors import UserError

Role = Literal["HTTP", "PG", "PG_READONLY"]

USERS: Final[dict[Role, str]] = {"HTTP": "admin", "PG": "admin", "PG_READONLY": "grafana"}
DEFAULTS: Final[dict[Role, str | None]] = {"HTTP": None, "PG": "quest", "PG_READONLY": "quest"}
PASSWORD_BYTES: Final = 16  # random; written in hexadecimal digits, so that a double click selects all of it
OWNER_ONLY: Final = 0o600
# Values that a shell neither splits nor expands: a line must mean the same to a shell and to Pairflow.
LINE: Final = re.compile(r"([A-Z_]+)=([A-Za-z0-9._~+/=@%^:,-]+)")
HEADER: Final = (
    "# Generated for this database: whoever can read this file may do everything with it. Variables of the "
    "environment override these lines.\n"
    "# To get new ones, stop the server and delete this file.\n"
)


@dataclass(frozen=True, slots=True)
class Login:
    """A user and its password; None: the server asks for none. No repr, message or log shows the password."""

    user: str
    password: str | None = field(repr=False)
    source: str  # where the password comes from, for messages: the name of a variable or a file


def passwords_file(directory: Path) -> Path:
    return directory / "run" / "passwords"


def login(role: Role, directory: Path | None, environ: Mapping[str, str] = os.environ) -> Login:
    """The login for a role. `directory` is that of an embedded server, or None for an external one."""
    user, password, source = environ.get(f"QDB_{role}_USER") or USERS[role], *_of_environment(role, environ)
    if password is None and directory is not None and (kept := _kept(directory)):
        user = environ.get(f"QDB_{role}_USER") or kept[f"QDB_{role}_USER"]
        password, source = kept[f"QDB_{role}_PASSWORD"], str(passwords_file(directory))
    return Login(user, DEFAULTS[role] if password is None else password, source)


def server_environment(directory: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables that give the server of this directory its users and passwords."""
    variables = {"QDB_PG_READONLY_USER_ENABLED": "true"}
    for role in USERS:
        who = login(role, directory, environ)
        variables |= {f"QDB_{role}_USER": who.user, f"QDB_{role}_PASSWORD": who.password or ""}
    return variables


def refused(role: Role, directory: Path | None) -> str:
    """What to do when the server refuses a login."""
    way_out = f"set QDB_{role}_USER and QDB_{role}_PASSWORD to the server's"
    return (
        way_out
        if directory is None
        else f"{way_out}, or stop the server of {directory}: it was started with other passwords"
    )


def generate(directory: Path, progress: Callable[[str], None]) -> None:
    """Make the directory's passwords if there are none, and let only their owner read them.

    The caller holds the lock on the start of the server.
    """
    path = passwords_file(directory)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        _write(path)
        return
    except OSError as error:
        raise _unreadable(path, error) from None
    if mode & ~OWNER_ONLY:  # as after a copy by a program that does not keep modes
        try:
            path.chmod(OWNER_ONLY)
        except OSError as error:
            raise UserError(
                f"questdb.dir: {path} can be read by others ({error.strerror}): chmod 600 it as its owner"
            ) from None
        progress(
            f"{path}: others could read these passwords, now only you can: delete the file to get new ones"
        )


def _write(path: Path) -> None:
    lines = [
        f"QDB_{role}_USER={user}\nQDB_{role}_PASSWORD={secrets.token_hex(PASSWORD_BYTES)}\n"
        for role, user in USERS.items()
    ]
    fresh = None
    try:
        handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), OWNER_ONLY)  # independent of the umask
            file.write(HEADER + "".join(lines))
            file.flush()
            os.fsync(file.fileno())  # if a power cut emptied the file, its owner could not log in any more
        Path(fresh).replace(path)
    except OSError as error:
        if fresh:
            Path(fresh).unlink(missing_ok=True)
        raise UserError(
            f"questdb.dir: {path} cannot be written ({error.strerror}): make room, or give this user the "
            "right"
        ) from None


def _of_environment(role: Role, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The password of the environment, or None, and the variable that holds it or names its file.

    As in QuestDB, the variable that names a file overrides the one that holds the password.
    """
    name = f"QDB_{role}_PASSWORD"
    if where := environ.get(f"{name}_FILE"):
        try:
            return Path(where).read_text(encoding="utf-8").strip(), f"{name}_FILE"
        except (OSError, ValueError) as error:
            raise UserError(
                f"environment: {name}_FILE: {where} cannot be read ({_reason(error)}): correct it, or unset "
                "it"
            ) from None
    return environ.get(name) or None, name


def _kept(directory: Path) -> dict[str, str]:
    """The lines of the directory's file; empty if an earlier version of Pairflow started the server."""
    path = passwords_file(directory)
    found = {}
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            match = LINE.fullmatch(line.strip())
            if not match:  # the message does not quote the line: it may hold a password
                raise _damaged(path, f"line {number} is not NAME=value")
            found[match[1]] = match[2]
    for role in USERS:
        for name in (f"QDB_{role}_USER", f"QDB_{role}_PASSWORD"):
            if name not in found:
                raise _damaged(path, f"it lacks {name}")
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is not text"


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, UnicodeDecodeError):
        return _damaged(path, "it is not text")
    return UserError(
        f"questdb.dir: {path} cannot be read ({_reason(error)}): give this user the right to, or set "
        "QDB_HTTP_PASSWORD, QDB_PG_PASSWORD "
        "and QDB_PG_READONLY_PASSWORD"
    )


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"questdb.dir: {path} is damaged ({what}): stop the server, if it runs, and delete the file: the "
        "next start makes new passwords"
    )
