"""`python -m benchmarks`: every benchmark, its ratio, and benchmarks/results.json."""

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import line
from benchmarks.ratio import Result, compare

RESULTS: Final = Path(__file__).with_name("results.json")
PROMISED: Final = 10.0  # times faster than the peer, at least
FULL, QUICK = (900, 40.0, 5), (400, 5.0, 1)  # seconds of market, trades a second and symbol, counted runs


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--quick", action="store_true", help="a smoke run: too small to mean anything")
    options.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="FILE")
    chosen = options.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # the peer's fits warn of collinearity now and then
    seconds, rate, runs = QUICK if chosen.quick else FULL
    messages = line.frames(seconds, rate)
    if differ := line.disagreements(messages):
        print(f"benchmark: the two sides do not compute the same: {'; '.join(differ)}", file=sys.stderr)
        return 1

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    name = "frames to bars of 6 timeframes to signals of 4 pairs"
    results = [
        compare(
            name,
            "messages/s",
            len(messages),
            lambda: line.ours(messages),
            lambda: line.peer(messages),
            runs,
            say,
        )
    ]
    for result in results:
        print(text(result))
    chosen.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    if not chosen.quick and results[0].ratio < PROMISED:
        print(
            f"benchmark: {results[0].name}: {results[0].ratio:.1f} times faster, promised {PROMISED:.0f}",
            file=sys.stderr,
        )
        return 1
    return 0


def text(result: Result) -> str:
    return (
        f"{result.name}: {result.ours:,.0f} {result.unit}, peer {result.peer:,.0f}: "
        f"{result.ratio:.1f} times ({result.low:.1f} to {result.high:.1f})"
    )


if __name__ == "__main__":
    sys.exit(main())
