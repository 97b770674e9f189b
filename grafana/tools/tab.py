"""One tab of a browser, over the DevTools protocol: calls, events, and what the page shows.

The protocol is JSON over a WebSocket: a call has a number, its answer has the same number, and everything
else that arrives is an event.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.sync.client import ClientConnection

from flows.errors import UserError

ANSWER_S = 30.0
QUIET_S = 0.8  # the page has settled when nothing was requested or drawn for this long
POLL_S = 0.1
ERROR_TEXT = 500  # characters of an error response that are kept
# Grafana asks whether a dashboard is public. Its answer 404 means no, and is not an error.
PUBLIC = "/public-dashboards"

# What the page has drawn so far. Neither a panel without a header nor the heading of a row counts as a panel.
LOOK = """(() => {
  const visible = element => element && element.getClientRects().length > 0;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const panels = all('section[data-testid^="data-testid Panel header"]').filter(visible);
  const rows = all('[data-testid^="data-testid dashboard-row-title"], .dashboard-row').filter(visible);
  const bottom = element => element.getBoundingClientRect().bottom + window.scrollY;
  const loading = '[aria-label="Panel loading bar"], [data-testid="Spinner"], .preloader';
  return {
    count: panels.length,
    bottom: Math.ceil(Math.max(0, ...panels.concat(rows).map(bottom))),
    busy: all(loading).length + panels.filter(panel => /^Loading plugin panel/.test(panel.innerText)).length,
    titles: panels.map(
      panel => panel.getAttribute('data-testid').replace('data-testid Panel header', '').trim()),
    panels: panels.map(panel => {
      const content = panel.querySelector('[data-testid="data-testid panel content"]') || panel;
      const status = panel.querySelector('[data-testid^="data-testid Panel status"]');
      const box = status && status.getBoundingClientRect();
      const message = content.querySelector('[data-testid="data-testid Panel data error message"]');
      const bare = all('*', content).find(
        each => !each.children.length && /^no data$/i.test(each.textContent.trim()));
      return {
        text: content.innerText.trim(),
        empty: message ? message.innerText.trim() : bare ? bare.textContent.trim() : '',
        status: status ? [box.x + box.width / 2, box.y + box.height / 2] : null,
        label: status ? status.getAttribute('aria-label') || status.getAttribute('title') || 'error' : '',
      };
    }),
  };
})()"""
TOOLTIP = """[...document.querySelectorAll('[role="tooltip"], [data-popper-placement]')]
  .map(each => each.innerText.trim()).join(' ')"""


@dataclass(slots=True)
class Tab:
    """One tab, and the events that it has reported."""

    socket: ClientConnection
    session: str = ""
    calls: int = 0  # made so far; the number of the last one
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)  # by the number of the call
    pending: dict[str, str] = field(default_factory=dict)  # addresses of unanswered requests, by their id
    refused: list[tuple[str, str]] = field(default_factory=list)  # (id, status and address): HTTP 400 and up
    complaints: list[str] = field(default_factory=list)  # exceptions, and errors of the console

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a call. Raises UserError for an error, and when no answer comes."""
        self.calls += 1
        number = self.calls
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        deadline = time.monotonic() + ANSWER_S
        while number not in self.answers:
            if time.monotonic() > deadline:
                raise UserError(f"browser: no answer to {method} after {ANSWER_S:.0f} s")
            self.listen(deadline - time.monotonic())
        answer = self.answers.pop(number)
        if "error" in answer:
            raise UserError(f"browser: {method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self, seconds: float) -> None:
        """Receive at most one message of the browser."""
        with contextlib.suppress(TimeoutError):
            message = json.loads(self.socket.recv(timeout=max(seconds, 0)))
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.note(message["method"], message.get("params", {}))

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Record an event."""
        if method == "Network.requestWillBeSent":
            self.pending[params["requestId"]] = params["request"]["url"]
        elif method in {"Network.loadingFinished", "Network.loadingFailed"}:
            self.pending.pop(params["requestId"], None)
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            if not params["response"]["url"].endswith(PUBLIC):
                self.refused.append(
                    (params["requestId"], f"{params['response']['status']} {params['response']['url']}")
                )
        elif method == "Runtime.exceptionThrown":
            thrown = params["exceptionDetails"]
            self.complaints.append(thrown.get("exception", {}).get("description") or thrown["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(
                " ".join(str(each.get("value", each.get("description", ""))) for each in params["args"])
            )

    def refusals(self) -> Iterator[str]:
        """Each refused request with the text of its response."""
        for request, what in self.refused:
            body = ""
            with contextlib.suppress(UserError):  # the browser keeps no response of a cancelled request
                body = self.call("Network.getResponseBody", requestId=request)["body"]
            yield f"{what}: {body[:ERROR_TEXT]}"

    def look(self) -> dict[str, Any]:
        """What the page shows now: see LOOK."""
        found: dict[str, Any] = self.evaluate(LOOK)
        return found

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def waiting(self) -> bool:
        """Whether the page waits for a response of Grafana's API. Its live channel never ends."""
        return any("/api/" in url and "/api/live" not in url for url in self.pending.values())

    def settle(self, deadline: float) -> bool:
        """Wait until the page has requested, loaded and moved nothing for QUIET_S. False: the time was up."""
        quiet_since, last = time.monotonic(), None
        while time.monotonic() < deadline:
            self.listen(POLL_S)
            found = self.look()
            now = (found["count"], found["bottom"])
            if not found["count"] or found["busy"] or self.waiting() or now != last:
                quiet_since, last = time.monotonic(), now
            elif time.monotonic() - quiet_since > QUIET_S:
                return True
        return False
