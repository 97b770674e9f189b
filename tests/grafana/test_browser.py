"""Every dashboard of an installed Grafana, as a real browser shows it, light and dark."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from flows.errors import UserError
from grafana.queries import dashboards
from grafana.tools.browser import Browser, Page, browser, found
from tests.conftest import emptied
from tests.grafana.installed import NEEDED, Database, Installed
from tests.grafana.rows import HOSTILE, HOURS, Stack

try:
    found()
    MISSING = ""
except UserError as error:
    MISSING = str(error)
pytestmark = [NEEDED, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
BOARDS = {board["uid"]: board for board in dashboards()}
EVERY = pytest.mark.parametrize("uid", BOARDS)


@pytest.fixture(scope="module")
def opened(installed: Installed) -> Iterator[Browser]:
    with browser(installed.admin) as opened:
        yield opened


def own_words(uid: str, title: str) -> set[str]:
    """The texts for an empty panel, of the panels with this title. In the title, variables have values."""
    panels = {re.sub(r"\\\$\w+", ".*", re.escape(panel["title"])): panel for panel in BOARDS[uid]["panels"]}
    return {
        panel["fieldConfig"]["defaults"]["noValue"]
        for pattern, panel in panels.items()
        if re.fullmatch(rf"\s*{pattern}\s*", f" {title} ")
    }


def judge(page: Page, uid: str) -> None:
    """Check that no panel shows an error, and that an empty panel shows its own text instead of `No data`."""
    assert page.settled
    assert {panel.title: panel.error for panel in page.panels if panel.error} == {}
    assert page.complaints == ()
    assert len(page.panels) == len(BOARDS[uid]["panels"])
    for panel in page.panels:
        assert panel.empty in own_words(uid, panel.title) | {""}, panel.title


@EVERY
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_panel_shows_its_data(opened: Browser, shown: Stack, uid: str, theme: str) -> None:
    page = opened.page(f"/d/{uid}?from=now-{HOURS}h&to=now&var-timeframe=1m", theme=theme)
    judge(page, uid)
    assert [panel.title for panel in page.panels if panel.empty] == []


@EVERY
def test_every_panel_of_a_range_without_rows_says_so_in_its_own_words(
    opened: Browser, shown: Stack, uid: str
) -> None:
    judge(opened.page(f"/d/{uid}?from=now-9h&to=now-8h"), uid)


@EVERY
def test_every_panel_of_empty_tables_says_so_in_its_own_words(
    opened: Browser, server: Database, uid: str
) -> None:
    """What a new user sees first, before the first bar."""
    emptied(server.endpoint)
    page = opened.page(f"/d/{uid}")
    judge(page, uid)
    # Charts and lists are empty; counts never are.
    assert len([panel for panel in page.panels if panel.empty]) >= len(page.panels) // 3


@EVERY
def test_a_hostile_name_in_the_address_is_harmless(opened: Browser, shown: Stack, uid: str) -> None:
    """Row 45, with the quoting that the page does."""
    hostile = "&".join(
        f"var-{each['name']}={quote(HOSTILE)}"
        for each in BOARDS[uid]["templating"]["list"]
        if each["name"] != "timeframe"
    )
    judge(opened.page(f"/d/{uid}?{hostile}"), uid)
