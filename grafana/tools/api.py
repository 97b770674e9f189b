"""A running Grafana, by its HTTP API."""

import base64
import http.client
import json
import os
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from flows.errors import UserError

ANSWER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Grafana:
    """The address of a Grafana, and the user who asks. Without a user, requests carry no login."""

    url: str
    user: str = ""
    password: str = ""

    def headers(self) -> dict[str, str]:
        """The login as an HTTP header."""
        credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {credentials}"} if self.user else {}

    def answer(self, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
        """The status and the decoded response: of GET, or with a body of POST, unless `method` is given."""
        parts = urlsplit(self.url)
        scheme = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = scheme(parts.netloc, timeout=ANSWER_S)
        headers = {"Content-Type": "application/json", **self.headers()}
        text = None if body is None else json.dumps(body)
        try:
            connection.request(
                method or ("GET" if body is None else "POST"), parts.path + path, text, headers
            )
            got = connection.getresponse()
            return got.status, decoded(got.read())
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"grafana: no answer from {self.url} ({type(error).__name__}): does it run there?"
            ) from None
        finally:
            connection.close()


def named() -> Grafana:
    """The Grafana at GRAFANA_URL, with the login GRAFANA_USER (by default admin) and GRAFANA_PASSWORD."""
    url, password = os.environ.get("GRAFANA_URL", "").rstrip("/"), os.environ.get("GRAFANA_PASSWORD", "")
    if not urlsplit(url).netloc:
        raise UserError("GRAFANA_URL: expected the address of Grafana, such as http://127.0.0.1:3000")
    if not password:
        raise UserError("GRAFANA_PASSWORD is not set: the password of GRAFANA_USER (admin)")
    return Grafana(url, os.environ.get("GRAFANA_USER") or "admin", password)


def decoded(text: bytes) -> Any:
    """The value of a JSON text; of another text, the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")
