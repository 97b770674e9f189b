"""The kernels are compiled before the first trade."""

import subprocess
import sys

COMPILED = """
import sys
import numpy as np
from flows.settings.decoding import decode
from flows.sandbox.market import Market
from flows.steps import bar_builder, measurer, split, warm_up, watch
from flows.runtime.compiling import Dispatcher
from operators.columns import Trades

def signatures():
    kernels = {(name, word): kernel for name, module in sorted(sys.modules.items()) if name.startswith("operators.")
               for word, kernel in vars(module).items() if isinstance(kernel, Dispatcher)}
    return {key: kernel.signatures for key, kernel in kernels.items()}

settings = decode("pairs: [{legs: [ETHUSDT, BTCUSDT], timeframes: [1s], hedge: {window: 100}, zscore: {window: 50}, "
                  "adf: {window: 100, every: 10}}]\\nalerts: [{name: z, metric: zscore, outside: 2}]", "pipeline.yaml")
warm_up(settings)
before = signatures()
market = Market(3, settings.symbols, 1_723_161_600_000_000, 2.0)
seconds = [market.second() for _ in range(400)]
columns = [np.concatenate([getattr(each, name) for each in seconds]) for name in ("symbol", "id", "ts", "price", "qty", "is_buyer_maker")]
n = len(columns[0])
trades = Trades(*columns, np.ones(n, np.int64), np.zeros(n, np.bool_), np.full(2, columns[2].max()))
tested = 0
for word, bars in split(settings)(("", bar_builder(settings)._builder.update(trades))):
    measures = measurer(settings)(bars).update(bars)
    watch(settings)(measures).update(measures)
    tested += np.isfinite(measures.tests.coint_pvalue).sum()
assert tested
print({key: (before[key], after) for key, after in signatures().items() if after != before[key]})
"""


def test_no_kernel_is_left_to_be_compiled_at_the_first_trades() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout == "{}\n", done.stderr
