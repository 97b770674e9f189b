"""Binance's answers to requests over a websocket."""

from typing import Any, Final

import msgspec

from flows.feed.venue import Answer

LONGEST_WHY: Final = 200  # characters of the exchange's words
EVENTS: Final = (b'{"stream"', b'{"e"')  # how nearly all messages begin; no answer does


def answer_in(message: bytes) -> Answer | None:
    """The answer that a message is to a request; None for any other. A trade costs a look at its first
    letters.
    """
    if message.startswith(EVENTS):
        return None
    try:
        found = msgspec.json.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    error = found if "code" in found and "msg" in found else found.get("error")
    if error is None and "result" not in found:
        return None
    number = found.get("id")
    return Answer(number if type(number) is int else None, None if error is None else _words(error))


def _words(error: Any) -> str:
    words = error.get("msg") if isinstance(error, dict) else error
    text = words if isinstance(words, str) else msgspec.json.encode(error).decode(errors="replace")
    return " ".join(text.split())[:LONGEST_WHY] or "no reason given"
