"""The venues: a folder each, named as in `flows/markets.py`, whose module `venue` has the object `VENUE`."""

from importlib import import_module

from flows.feed.venue import Venue


def venue_named(name: str) -> Venue:
    """The venue of that name in `flows/markets.py`."""
    venue: Venue = import_module(f"flows.venues.{name}.venue").VENUE
    return venue
