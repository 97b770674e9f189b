"""The process of the embedded server: its command and environment, and why its log says it did not start."""

import os
import re
import shlex
import tempfile
from pathlib import Path

from flows.database import credentials, keeper
from flows.database.jar import java_home
from flows.database.server_settings import server_settings
from flows.errors import UserError

# Lines of the log that repeat a setting: its value may be any word.
ENVIRONMENT = re.compile(r"Picked up \w+:|\b[A-Z][A-Z0-9_]+\s*=|QDB_")
# Variables that the server does not inherit: options for other Java programs (an agent, a small heap;
# PAIRFLOW_JAVA_OPTIONS is for this one), and names of password files, which `credentials` has read.
NOT_INHERITED = re.compile(
    r"JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS|CLASSPATH|QDB_\w+_PASSWORD_FILE"
)
HEAP_MB = 512  # QuestDB keeps its tables outside the Java heap
THREADS = min(os.cpu_count() or 1, 4)


def command(directory: Path, jar_path: Path) -> list[str]:
    """The command that runs the server of this directory, with the user's options for Java."""
    return [
        str(java_home() / "bin" / "java"),
        "-Dpairflow=questdb",  # shows in `ps` that the process is Pairflow's
        # QuestDB loads its native library from there, and Java does not read TMPDIR
        f"-Djava.io.tmpdir={tempfile.gettempdir()}",
        f"-Xmx{HEAP_MB}m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "--enable-native-access=io.questdb",
        "--sun-misc-unsafe-memory-access=allow",
        *_java_options(),
        "-p",
        str(jar_path),
        "-m",
        "io.questdb/io.questdb.ServerMain",
        "-d",
        str(directory),
    ]


def environment(directory: Path, http_port: int, pg_port: int) -> dict[str, str]:
    """The server's environment. QuestDB reads a setting x.y.z as QDB_X_Y_Z.

    The user's own settings stay, except those that Pairflow fixes.
    """
    http, pg = f"{keeper.HOST}:{http_port}", f"{keeper.HOST}:{pg_port}"
    settings = {
        "QDB_HTTP_ENABLED": "true",
        "QDB_HTTP_BIND_TO": http,
        # the older name of the setting: where the user has set it, it overrides the newer one
        "QDB_HTTP_NET_BIND_TO": http,
        "QDB_PG_ENABLED": "true",
        "QDB_PG_NET_BIND_TO": pg,
        "QDB_HTTP_MIN_ENABLED": "false",
        "QDB_LINE_TCP_ENABLED": "false",
        "QDB_LINE_UDP_ENABLED": "false",
        "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "false",
        "QDB_LINE_AUTO_CREATE_NEW_TABLES": "false",
        "QDB_TELEMETRY_ENABLED": "false",
        # COPY … TO writes files, and even the read-only user may run it
        "QDB_CAIRO_SQL_COPY_EXPORT_ROOT": os.devnull,
        # rows survive a crash of the server; after a power cut the newest ones may be lost
        "QDB_CAIRO_COMMIT_MODE": "nosync",
        "QDB_LOG_W_STDOUT_LEVEL": "CRITICAL,ERROR,ADVISORY",
        # Java decodes arguments and file names by it; the locale C knows ASCII only
        "LC_ALL": "C.UTF-8",
    }
    tuning = server_settings() | {
        f"QDB_SHARED_{pool}_WORKER_COUNT": str(THREADS) for pool in ("NETWORK", "QUERY", "WRITE")
    }
    inherited = {name: text for name, text in os.environ.items() if not NOT_INHERITED.fullmatch(name)}
    inherited = {name: text for name, text in inherited.items() if text or not name.startswith("QDB_")}
    return tuning | inherited | credentials.server_environment(directory) | settings


def last_words(log: Path, offset: int) -> str:
    """The line of the log that explains why the server did not start."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    words = ("could not", "cannot", "exception", "error", " c ")
    telling = [
        line for line in lines if not ENVIRONMENT.search(line) and any(word in line.lower() for word in words)
    ]
    return (telling or [line for line in lines if line.strip()] or ["no log"])[0].strip()[:300]


def _java_options() -> list[str]:
    try:
        return shlex.split(os.environ.get("PAIRFLOW_JAVA_OPTIONS", ""))
    except ValueError as error:
        raise UserError(
            f"environment: PAIRFLOW_JAVA_OPTIONS: {str(error).lower()}: correct it, or unset it"
        ) from None
