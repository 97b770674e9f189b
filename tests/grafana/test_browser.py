"""What a reader sees: every dashboard of an installed Grafana in a real browser, light and dark."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from flows.errors import UserError
from grafana.browser import Browser, Page, browser, found
from grafana.queries import dashboards
from tests.grafana.conftest import HOURS, Stack
from tests.grafana.installed import NEEDED, Installed

try:
    found()
    MISSING = ""
except UserError as error:
    MISSING = str(error)
pytestmark = [NEEDED, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
BOARDS = {board["uid"]: board for board in dashboards()}
EVERY = pytest.mark.parametrize("uid", BOARDS)
HOSTILE = "x' OR 1=1--"


@pytest.fixture(scope="module")
def opened(installed: Installed) -> Iterator[Browser]:
    with browser(installed.admin) as opened:
        yield opened


def own_words(uid: str) -> dict[str, str]:
    """What each panel says of itself when it is empty, by the beginning of its title."""
    panels = [panel for panel in BOARDS[uid]["panels"] if panel["type"] != "row"]
    return {panel["title"].split("$", maxsplit=1)[0]: panel["fieldConfig"]["defaults"].get("noValue", "") for panel in panels}


def judge(page: Page, uid: str) -> None:
    """No panel shows an error, and none says `No data` and no more."""
    assert page.settled
    assert page.complaints == ()
    expected = [panel for panel in BOARDS[uid]["panels"] if panel["type"] != "row"]
    assert len(page.panels) == len(expected)
    assert {panel.title: panel.error for panel in page.panels if panel.error} == {}
    assert {panel.title: panel.empty for panel in page.panels if panel.empty and panel.empty not in own_words(uid).values()} == {}


@EVERY
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_panel_shows_its_data(opened: Browser, shown: Stack, uid: str, theme: str) -> None:
    judge(opened.page(f"/d/{uid}?from=now-{HOURS}h&to=now", theme=theme), uid)


@EVERY
def test_every_panel_of_empty_tables_says_so_in_its_own_words(opened: Browser, shown: Stack, uid: str) -> None:
    judge(opened.page(f"/d/{uid}?from=now-9h&to=now-8h"), uid)


@EVERY
def test_a_hostile_name_in_the_address_is_harmless(opened: Browser, shown: Stack, uid: str) -> None:
    """Row 45, as the page quotes it."""
    hostile = "&".join(f"var-{each['name']}={quote(HOSTILE)}" for each in BOARDS[uid]["templating"]["list"] if each["name"] != "timeframe")
    judge(opened.page(f"/d/{uid}?{hostile}"), uid)
