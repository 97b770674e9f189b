"""The dataflow: trades become bars, bars become measures, measures become alerts; all go to the database."""

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows.database.columns import Rows
from flows.database.rows import Tables
from flows.feed.feed import Feed
from flows.history.history import States
from flows.settings.model import Settings
from flows.steps import bar_builder, measurer, rows_of, split, stateful, watch


# fmt: off
def pipeline(
    settings: Settings,
    source: Source[tuple[str, Feed]],
    sink: Sink[tuple[str, Rows]],
    states: Callable[[], States] = dict,
) -> Dataflow:
    """The whole dataflow. `states` returns the states that the alerts have before the first bar.

    Step ids are part of the recovery store: a step that is renamed loses its state.
    """
    tables = Tables(settings)
    flow = Dataflow("pairflow")
    feed = op.input("trades", flow, source)                                              # ("binance-0", Feed)
    bars = op.stateful_batch("bars", feed, stateful(lambda _: bar_builder(settings)))    # ("binance-0", Bars)
    by_timeframe = op.flat_map("by_timeframe", bars, split(settings))                    # ("1s", Bars)
    measures = op.stateful_batch("measures", by_timeframe, stateful(measurer(settings))) # ("1s", Measures)
    alerts = op.stateful_batch("alerts", measures, stateful(watch(settings, states)))    # ("1s", Watched)
    rows = op.merge(                                                                     # ("questdb", Rows)
        "rows",
        op.flat_map("feed_rows", feed, rows_of(lambda it: [tables.trades(it.trades), it.gaps, it.health])),
        op.flat_map("bar_rows", bars, rows_of(lambda bars: [tables.bars(bars)])),
        op.flat_map("measure_rows", measures, rows_of(tables.measures)),
        op.flat_map("alert_rows", alerts, rows_of(lambda watched: [tables.alerts(watched)])),
    )
    op.output("questdb", rows, sink)
    return flow
# fmt: on
