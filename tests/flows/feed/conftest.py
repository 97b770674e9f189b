"""A sequencer whose symbols have begun: the ids of one are contiguous, those of the other only grow."""

import pytest

from tests.flows.feed.feeding import Feed, begun


@pytest.fixture
def live() -> Feed:
    return begun(Feed())


@pytest.fixture
def sparse() -> Feed:
    return begun(Feed(contiguous=False))
