"""Answers over HTTP that are not what was asked for: in one line what each is, and what to do. No sockets."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import urllib3

OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PROXY_LOGIN, TIMEOUT, BANNED, EARLY, TOO_MANY, LEGAL = (
    200, 400, 401, 403, 404, 407, 408, 418, 425, 429, 451,
)  # fmt: skip
REDIRECTS: Final = range(300, 400)
CLIENT_ERRORS: Final = range(400, 500)
PASSING: Final = (TIMEOUT, BANNED, EARLY, TOO_MANY)  # client errors that another time need not bring
SHOWN: Final = 100  # bytes of an answer

CHECK_NETWORK: Final = "check the network, or source.rest_url in the configuration"
ANOTHER_HOST: Final = "give source.rest_url another host"
COUNTRY: Final = "it does not serve this country"
OTHER_HOSTS: Final = "give source.ws_url and source.rest_url other hosts"


class Failed(Exception):
    """No answer, or one that does not hold what was asked for. `advice`: what to do about it."""

    def __init__(self, why: str, advice: str = CHECK_NETWORK, status: int = 0) -> None:
        super().__init__(why)
        self.advice, self.status = advice, status


class Refused(Failed):
    """An answer that asking again will hardly change: it wants an API key, does not serve the path or
    country, is a web page.
    """


class Unknown(Refused):
    """The exchange does not have the symbol."""


def refusal(
    path: str, status: int, headers: Mapping[str, str], body: bytes, unknown: bool = False, instead: str = ""
) -> Failed:
    """What to raise for an answer whose status is not 200. `unknown`: it says that there is no such symbol;
    `instead`: what else a user can do who may not ask this path.
    """
    what = f"{path}: HTTP {status}{_said(body)}"
    if status in REDIRECTS:
        return Refused(
            f"{what}, it redirects to {_place(headers.get('Location', ''))}",
            "give source.rest_url that address",
            status,
        )
    if status == LEGAL:
        return Refused(f"{path}: HTTP {status}, {COUNTRY}", OTHER_HOSTS, status)
    if status in (UNAUTHORIZED, FORBIDDEN):
        why = (
            "it asks for an API key there"
            if status == UNAUTHORIZED
            else "it refuses this address, or asks for an API key there"
        )
        return Refused(f"{what}, {why}", f"{instead}, or {ANOTHER_HOST}" if instead else ANOTHER_HOST, status)
    if status == PROXY_LOGIN:
        return Refused(
            f"{what}, the proxy asks for a login",
            "put USER:PASSWORD@ before the host in the variable that names it",
            status,
        )
    if status in (TOO_MANY, BANNED):
        return Failed(f"{path}: HTTP {status}, too many requests from this address", _later(headers), status)
    if unknown:
        return Unknown(what, "correct pairs, alerts or source.symbols", status)
    if status == NOT_FOUND:
        return Refused(f"{what}, it does not serve that", ANOTHER_HOST, status)
    if status in CLIENT_ERRORS and status not in PASSING:
        return Refused(what, ANOTHER_HOST, status)
    return Failed(what, "try again later, or " + ANOTHER_HOST, status)


def handshake_refusal(status: int) -> str:
    """What an HTTP status means with which a websocket is refused, and what to do."""
    meaning = {
        LEGAL: f"{COUNTRY}: give source.ws_url another host",
        UNAUTHORIZED: "it asks for a login: give source.ws_url another host",
        FORBIDDEN: "it refuses this address: give source.ws_url another host",
        NOT_FOUND: "it streams nothing there: correct source.ws_url",
        TOO_MANY: "too many connections from this address: wait some minutes",
        BANNED: "too many connections from this address: wait some minutes",
    }.get(status)
    return f"HTTP {status}" + (f", {meaning}" if meaning else "")


def of_another_kind(path: str, body: bytes, expected: str) -> Failed:
    """What to raise for an answer with status 200 that does not hold what was asked for."""
    if is_web_page(body):
        why = f"{path}: a web page instead of the {expected} ({shown(body)})"
        return Refused(why, "is it a login page of this network? Else correct source.rest_url", OK)
    return Failed(f"{path}: no {expected}: {shown(body)}", status=OK)


def is_web_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _said(body: bytes) -> str:
    """The exchange's own words about an error."""
    error = error_in(body)
    if isinstance(error.get("msg"), str):
        return f" ({' '.join(error['msg'].split())[:SHOWN]})"
    if is_web_page(body):
        return " (a web page)"
    return f" ({shown(body)})" if body.strip() not in (b"", b"{}") else ""


def error_in(body: bytes) -> dict[str, Any]:
    """The fields of an answer that is a JSON object; of any other there are none."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(body, type=dict[str, Any])
    return {}


def _place(location: str) -> str:
    """Where a redirect leads: scheme and host, for the rest may hold a secret."""
    with suppress(ValueError):
        parts = urlsplit(location)
        if parts.hostname:
            return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    return "another path"


def _later(headers: Mapping[str, str]) -> str:
    wait_s = seconds(headers.get("Retry-After"), -1.0)
    return f"try again in {wait_s:.0f} s" if wait_s >= 0 else "try again in some minutes"


def seconds(text: str | None, default: float) -> float:
    """The number that a header holds; `default` where it holds none that can be one."""
    try:
        number = float(text or "")
    except ValueError:
        return default
    return number if 0 <= number < float("inf") else default


def shown(body: bytes) -> str:
    """The beginning of an answer, on one line."""
    text = " ".join(body[:SHOWN].decode(errors="replace").split())
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def reason(error: BaseException) -> str:
    """The innermost cause in a few words, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "no answer in time"
    text = " ".join(str(error).split()).rsplit(": ", maxsplit=1)[-1] or type(error).__name__
    if isinstance(error, OSError) and (
        number := re.search(r"\[Errno (\d+)\] Connect call failed", str(error))
    ):
        return os.strerror(int(number[1]))  # asyncio's words for it
    return re.sub(r"^\[Errno -?\d+\] |\s*\(_ssl\.c:\d+\)", "", text).rstrip(".")
