"""Answers of the local exchange over HTTP, and its refusals."""

from http import HTTPStatus
from typing import Any

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response


class Refusal(Exception):
    """An error as Binance answers it."""

    def __init__(self, status: int, code: int, msg: str, retry_after_s: float | None = None) -> None:
        super().__init__(msg)
        self.status, self.body, self.retry_after_s = status, {"code": code, "msg": msg}, retry_after_s


def as_json(message: Any) -> bytes:
    return msgspec.json.encode(message)


def http_response(status: int, body: Any, headers: Headers | None = None) -> Response:
    content = body if isinstance(body, bytes) else as_json(body)
    headers = Headers() if headers is None else headers
    headers["Content-Type"] = "application/json;charset=UTF-8"
    headers["Content-Length"] = str(len(content))
    headers["Connection"] = "close"
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return Response(int(status), reason, headers, content)
