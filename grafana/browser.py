"""A headless Chromium that opens a page of a Grafana and tells what it shows.

Over the DevTools protocol, so that nothing but a browser is to be installed. It takes part in no test that
runs without one.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from flows.errors import UserError
from grafana.api import Grafana

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 30.0
ANSWER_S = 30.0
# a dashboard whose code is not yet in the browser's cache, on a small machine; usually 3 to 10
SETTLE_S = 90.0
QUIET_S = 0.8  # nothing is asked and nothing is drawn for so long: the page has settled
POLL_S = 0.1
STOP_S = 10.0
TALL = 4_000  # px: Grafana draws a panel only when it comes into view
MARGIN = 16
SAID = 500  # characters of an answer that is an error
UNSHARED = "/public-dashboards"  # Grafana asks whether a dashboard is shared, and 404 is how it says no
RARELY = "5m"  # one of the intervals that the dashboards offer: of another Grafana makes the shortest

# What is drawn by now. A panel that has no header, or is a row's heading, is none.
LOOK = """(() => {
  const shown = element => element && element.getClientRects().length > 0;
  const panels = [...document.querySelectorAll('section[data-testid^="data-testid Panel header"]')].filter(shown);
  const rows = [...document.querySelectorAll('[data-testid^="data-testid dashboard-row-title"], .dashboard-row')].filter(shown);
  const bottom = element => element.getBoundingClientRect().bottom + window.scrollY;
  return {
    count: panels.length,
    bottom: Math.ceil(Math.max(0, ...panels.concat(rows).map(bottom))),
    busy: document.querySelectorAll('[aria-label="Panel loading bar"], [data-testid="Spinner"], .preloader').length
      + panels.filter(panel => /^Loading plugin panel/.test(panel.innerText)).length,
    titles: panels.map(panel => panel.getAttribute('data-testid').replace('data-testid Panel header', '').trim()),
    panels: panels.map(panel => {
      const content = panel.querySelector('[data-testid="data-testid panel content"]') || panel;
      const status = panel.querySelector('[data-testid^="data-testid Panel status"]');
      const box = status && status.getBoundingClientRect();
      const said = content.querySelector('[data-testid="data-testid Panel data error message"]');
      const bare = [...content.querySelectorAll('*')].find(each => !each.children.length && /^no data$/i.test(each.textContent.trim()));
      return {
        text: content.innerText.trim(),
        empty: said ? said.innerText.trim() : bare ? bare.textContent.trim() : '',
        status: status ? [box.x + box.width / 2, box.y + box.height / 2] : null,
        label: status ? status.getAttribute('aria-label') || status.getAttribute('title') || 'error' : '',
      };
    }),
  };
})()"""
# Grafana's own menu, which takes a sixth of a wide window
FOLDED = "localStorage.setItem('grafana.navigation.docked', 'false')"
TOOLTIP = """[...document.querySelectorAll('[role="tooltip"], [data-popper-placement]')].map(each => each.innerText.trim()).join(' ')"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel as a reader sees it."""

    title: str
    error: str  # what its header's sign says: the message of a failed query, or a notice
    empty: str  # what it says in place of a picture: "No data", or words of its own
    text: str  # everything that is written in it; a chart's own text is drawn, and not among it


@dataclass(frozen=True, slots=True)
class Page:
    picture: bytes  # PNG
    panels: tuple[Panel, ...]
    complaints: tuple[str, ...]  # errors of the console, exceptions, answers of 400 and above
    settled: bool  # False: something was still loading when the time was up


@dataclass(slots=True)
class _Tab:
    """One tab, and what has happened in it."""

    socket: ClientConnection
    session: str = ""
    asked: int = 0
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    flying: dict[str, str] = field(default_factory=dict)  # requests without an answer, with their addresses
    # requests that were answered with an error, and what they were
    refused: list[tuple[str, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.asked += 1
        number = self.asked
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
        """Take in what the browser says, one message or none."""
        with contextlib.suppress(TimeoutError):
            said = json.loads(self.socket.recv(timeout=max(seconds, 0)))
            if "id" in said:
                self.answers[said["id"]] = said
            else:
                self.note(said["method"], said.get("params", {}))

    def note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.flying[params["requestId"]] = params["request"]["url"]
        elif method in {"Network.loadingFinished", "Network.loadingFailed"}:
            self.flying.pop(params["requestId"], None)
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            if not params["response"]["url"].endswith(UNSHARED):
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

    def grounds(self) -> Iterator[str]:
        """Each request that was refused, and what the answer said."""
        for request, what in self.refused:
            said = ""
            with contextlib.suppress(UserError):  # what was cancelled has no answer any more
                said = self.call("Network.getResponseBody", requestId=request)["body"]
            yield f"{what}: {said[:SAID]}"

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = self.evaluate(LOOK)
        return found

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def asking(self) -> bool:
        return any("/api/" in url and "/api/live" not in url for url in self.flying.values())

    def settle(self, deadline: float) -> bool:
        """Wait until nothing has been asked, loaded or moved for a while; whether that came to be."""
        quiet_since, last = time.monotonic(), None
        while time.monotonic() < deadline:
            self.listen(POLL_S)
            found = self.look()
            now = (found["count"], found["bottom"])
            if not found["count"] or found["busy"] or self.asking() or now != last:
                quiet_since, last = time.monotonic(), now
            elif time.monotonic() - quiet_since > QUIET_S:
                return True
        return False


class Browser:
    """A running browser; see `browser`."""

    def __init__(self, socket: ClientConnection, grafana: Grafana) -> None:
        self._socket = socket
        self._grafana = grafana

    def page(self, path: str, *, theme: str = "dark", width: int = 1_600, settle_s: float = SETTLE_S) -> Page:
        """Open a dashboard (`/d/uid?var-x=…`), from its head to the last panel, and look at it once
        everything is loaded.
        """
        tab = _Tab(self._socket)
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        try:
            tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            return self._looked_at(tab, asked(path, theme), width, time.monotonic() + settle_s)
        finally:
            tab.session = ""
            tab.call("Target.closeTarget", targetId=target)

    def _looked_at(self, tab: _Tab, path: str, width: int, deadline: float) -> Page:
        for domain in ("Page", "Network", "Runtime"):
            tab.call(f"{domain}.enable")
        tab.call("Network.setExtraHTTPHeaders", headers=self._grafana.headers())
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=FOLDED)
        height = TALL
        self._size(tab, width, height)
        opened = tab.call("Page.navigate", url=self._grafana.url + path)
        if opened.get("errorText"):
            raise UserError(f"browser: {self._grafana.url}: {opened['errorText']}: does Grafana run there?")
        settled = tab.settle(deadline)
        # panels further down are drawn now, and may be taller than their place
        while settled and tab.look()["bottom"] + MARGIN > height:
            height = tab.look()["bottom"] + MARGIN
            self._size(tab, width, height)
            settled = tab.settle(deadline)
        found = tab.look()
        clip = {
            "x": 0,
            "y": 0,
            "width": width,
            "height": min(found["bottom"] + MARGIN, height) if found["count"] else height,
            "scale": 1,
        }
        picture = base64.b64decode(
            tab.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=False)["data"]
        )
        panels = [
            Panel(title, self._sign(tab, each) if each["status"] else "", each["empty"], each["text"])
            for title, each in zip(found["titles"], found["panels"], strict=True)
        ]
        return Page(picture, tuple(panels), tuple(dict.fromkeys([*tab.grounds(), *tab.complaints])), settled)

    @staticmethod
    def _size(tab: _Tab, width: int, height: int) -> None:
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    @staticmethod
    def _sign(tab: _Tab, found: dict[str, Any]) -> str:
        """What a panel's sign says when it is pointed at."""
        x, y = found["status"]
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        deadline = time.monotonic() + 2
        said = ""
        while not said and time.monotonic() < deadline:
            tab.listen(POLL_S)
            said = tab.evaluate(TOOLTIP) or ""
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
        return said or str(found["label"])


def asked(path: str, theme: str) -> str:
    """The address with a theme in its query, and with a refresh so rare that the page comes to rest, unless
    it states one.
    """
    parts = urlsplit(path)
    query = {"refresh": RARELY, "theme": theme}
    stated = parse_qsl(parts.query, keep_blank_values=True)
    query = {name: value for name, value in query.items() if name not in dict(stated)}
    return urlunsplit(parts._replace(query=urlencode([*stated, *query.items()])))


def found() -> str:
    """The browser that is installed: CHROMIUM names it, or it is on PATH under one of its names."""
    named = os.environ.get("CHROMIUM")
    path = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        where = (
            f"CHROMIUM names {named}, which cannot be run"
            if named
            else f"none of {', '.join(NAMES)} is on PATH"
        )
        raise UserError(f"browser: {where}: install Chromium, or set CHROMIUM to where it is")
    return path


@contextlib.contextmanager
def browser(grafana: Grafana) -> Iterator[Browser]:
    """A browser of its own for the length of the block: nothing of the user's profile is read or kept, and no
    other host is asked.
    """
    path = found()
    with tempfile.TemporaryDirectory(prefix="pairflow-browser-", ignore_cleanup_errors=True) as profile:
        options = [
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "--no-first-run",
            "--no-default-browser-check",
            "--hide-scrollbars",
            "--disable-gpu",
            "--disable-dev-shm-usage",  # where /dev/shm is small, as in containers
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            # every request carries the password
            f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {urlsplit(grafana.url).hostname}",
            "--force-color-profile=srgb",
            "--lang=en-US",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # it refuses root otherwise
        ]
        process = subprocess.Popen(
            [path, *options, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = _address(process, path, Path(profile))
            with connect(
                address, proxy=None, max_size=None, compression=None, open_timeout=START_S, close_timeout=1
            ) as socket:
                yield Browser(socket, grafana)
        except (ConnectionClosed, OSError) as error:
            raise UserError(f"browser: {path} ended or does not answer ({type(error).__name__})") from None
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: "subprocess.Popen[bytes]", name: str, profile: Path) -> str:
    """Where the browser listens: it writes the port it took, and a path, into its profile."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            port, path = (profile / "DevToolsActivePort").read_text().split()
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(POLL_S)
    raise UserError(f"browser: {name} did not start: try it with --headless=new --dump-dom about:blank")
