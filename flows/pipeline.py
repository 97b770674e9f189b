"""The dataflow: trades to bars to measures to alerts, and all of them to the database."""

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
from operators.columns import RESUMED


# fmt: off
def pipeline(
    settings: Settings, source: Source[tuple[str, Feed]], sink: Sink[tuple[str, Rows]], states: Callable[[], States] = dict
) -> Dataflow:
    """The whole line. Step ids are part of the recovery store: renaming one loses its state. `states`: of the
    alerts, before the first bar.
    """
    tables = Tables(settings)
    flow = Dataflow("pairflow")
    # ("binance-0", Feed)
    feed = op.input("trades", flow, source)
    # ("binance-0", Bars)
    bars = op.stateful_batch("bars", feed, stateful(lambda _: bar_builder(settings)))
    by_timeframe = op.flat_map("by_timeframe", bars, split(settings))                     # ("1s", Bars)
    measures = op.stateful_batch("measures", by_timeframe, stateful(measurer(settings)))  # ("1s", Measures)
    alerts = op.stateful_batch("alerts", measures, stateful(watch(settings, states)))     # ("1s", Watched)
    rows = op.merge(                                                                      # ("questdb", Rows)
        "rows",
        op.flat_map("feed_rows", feed, rows_of(lambda feed: [tables.trades(feed.trades), feed.gaps, feed.health])),
        op.flat_map("bar_rows", bars, rows_of(lambda bars: [tables.bars(bars)])),
        op.flat_map("measure_rows", measures, rows_of(lambda measures: tables.measures(measures) if measures.bars.stage != RESUMED else [])),
        op.flat_map("alert_rows", alerts, rows_of(lambda watched: [tables.alerts(watched)])),
    )
    op.output("questdb", rows, sink)
    return flow
# fmt: on
