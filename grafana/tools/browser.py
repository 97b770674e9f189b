"""A headless Chromium that opens a dashboard of a Grafana and reports what it shows.

It uses the DevTools protocol (tab.py) and the Chromium that is installed; without one the tests in a browser
skip. Playwright would be less code, but its package brings a Node runtime and is made for browser builds that
it downloads from a host of its own.
"""

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from flows.errors import UserError
from grafana.tools.api import Grafana
from grafana.tools.tab import POLL_S, TOOLTIP, Tab

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 30.0
# Usually a dashboard needs 3 to 10 s. This is enough on a small machine before the browser has Grafana's code
# in its cache.
SETTLE_S = 90.0
STOP_S = 10.0
TALL = 4_000  # px: Grafana draws a panel only when it comes into view
MARGIN = 16  # px below the last panel
RARELY = "5m"  # must be an interval that the dashboards offer; Grafana replaces another one by the shortest

# Folds Grafana's menu, which takes a sixth of a wide window.
FOLDED = "localStorage.setItem('grafana.navigation.docked', 'false')"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel as a reader sees it."""

    title: str
    error: str  # the text of the sign in its header: the message of a failed query, or a notice
    empty: str  # the text in place of a picture: "No data", or the panel's own words
    text: str  # all text in it, except that of charts, which is drawn


@dataclass(frozen=True, slots=True)
class Page:
    """An opened dashboard."""

    picture: bytes  # PNG
    panels: tuple[Panel, ...]
    complaints: tuple[str, ...]  # errors of the console, exceptions, responses of status 400 and above
    settled: bool  # False: the page was still loading when the time was up


class Browser:
    """A running browser; see `browser`."""

    def __init__(self, socket: ClientConnection, grafana: Grafana) -> None:
        self._socket = socket
        self._grafana = grafana

    def page(self, path: str, *, theme: str = "dark", width: int = 1_600, settle_s: float = SETTLE_S) -> Page:
        """Open a dashboard (`/d/uid?var-x=…`), and report all its panels once they are loaded.

        `width` is in pixels; `settle_s` is how long to wait for the page to finish loading.
        """
        tab = Tab(self._socket)
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        try:
            tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            return self._looked_at(tab, asked(path, theme), width, time.monotonic() + settle_s)
        finally:
            tab.session = ""
            tab.call("Target.closeTarget", targetId=target)

    def _looked_at(self, tab: Tab, path: str, width: int, deadline: float) -> Page:
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
        # A taller window lets Grafana draw the panels further down, which may make the page taller again.
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
        return Page(picture, tuple(panels), tuple(dict.fromkeys([*tab.refusals(), *tab.complaints])), settled)

    @staticmethod
    def _size(tab: Tab, width: int, height: int) -> None:
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    @staticmethod
    def _sign(tab: Tab, found: dict[str, Any]) -> str:
        """The tooltip of the sign in a panel's header."""
        x, y = found["status"]
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        deadline = time.monotonic() + 2
        text = ""
        while not text and time.monotonic() < deadline:
            tab.listen(POLL_S)
            text = tab.evaluate(TOOLTIP) or ""
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
        return text or str(found["label"])


def asked(path: str, theme: str) -> str:
    """The address with a theme and a rare refresh in its query, unless it states them itself.

    With the dashboards' own refresh of 2 s a page would never settle.
    """
    parts = urlsplit(path)
    query = {"refresh": RARELY, "theme": theme}
    stated = parse_qsl(parts.query, keep_blank_values=True)
    query = {name: value for name, value in query.items() if name not in dict(stated)}
    return urlunsplit(parts._replace(query=urlencode([*stated, *query.items()])))


def found() -> str:
    """The path of the installed browser: CHROMIUM names it, or it is on PATH under one of its usual names."""
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
    """A new browser for the length of the block.

    It neither reads nor keeps anything of the user's profile, and reaches no host but Grafana's.
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
            # Every request carries the password, so none may go to another host.
            f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {urlsplit(grafana.url).hostname}",
            "--force-color-profile=srgb",
            "--lang=en-US",
            *(
                ["--no-sandbox"] if os.geteuid() == 0 else []
            ),  # with the sandbox Chromium refuses to run as root
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
    """The address of the browser's WebSocket. The browser writes its port and path into its profile."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            port, path = (profile / "DevToolsActivePort").read_text().split()
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(POLL_S)
    raise UserError(f"browser: {name} did not start: try it with --headless=new --dump-dom about:blank")
