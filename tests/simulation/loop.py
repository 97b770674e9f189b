"""A dataflow in a plain loop instead of Bytewax, one batch at a time, in this thread.

The steps and the snapshots are the same.
"""

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from bytewax.dataflow import Dataflow


class Loop:
    """One run of a dataflow, from a snapshot (None: from the beginning) until the object is dropped.

    `seen(step_id, items)` is called with the input of every step. It may raise to end the run there.
    """

    def __init__(
        self, flow: Dataflow, snapshot: bytes | None, seen: Callable[[str, list[Any]], None]
    ) -> None:
        self._seen = seen
        self._before: dict[tuple[str, str], Any] = {} if snapshot is None else pickle.loads(snapshot)
        self._readers: dict[str, list[Any]] = defaultdict(list)
        self._logics: dict[tuple[str, str], Any] = {}
        self.sources: dict[tuple[str, str], Any] = {}
        self.sinks: dict[tuple[str, str], Any] = {}
        self._inputs: dict[str, Any] = {}
        for step in _core(flow.substeps):
            kind = type(step).__name__
            for stream_id in (
                step.ups.stream_ids.values()
                if kind == "merge"
                else []
                if kind == "input"
                else [step.up.stream_id]
            ):
                self._readers[stream_id].append(step)
            if kind == "input":
                self._inputs[step.step_id] = step
                self._build(step.step_id, step.source, self.sources)
            elif kind == "output":
                self._build(step.step_id, step.sink, self.sinks)
            elif kind == "stateful_batch":
                for (step_id, key), state in self._before.items():
                    if step_id == step.step_id:
                        self._logics[step_id, key] = step.builder(state)

    def _build(self, step_id: str, ends: Any, parts: dict[tuple[str, str], Any]) -> None:
        for part in ends.list_parts():
            parts[step_id, part] = ends.build_part(step_id, part, self._before.get((step_id, part)))

    def turn(self) -> None:
        """Pass one batch of each source through all steps to the sinks."""
        for (step_id, _), source in self.sources.items():
            self._pass(self._inputs[step_id].down.stream_id, list(source.next_batch()))

    def snapshot(self) -> bytes:
        """The states at the end of an epoch.

        Bytewax commits them only when every step has returned its state; the sinks are the last.
        """
        states = {key: source.snapshot() for key, source in self.sources.items()}
        states |= {key: logic.snapshot() for key, logic in self._logics.items()}
        self._seen("snapshot", [])
        states |= {key: sink.snapshot() for key, sink in self.sinks.items()}
        return pickle.dumps(states)

    def _pass(self, stream_id: str, items: list[Any]) -> None:
        for step in self._readers[stream_id] if items else ():
            self._seen(step.step_id, items)
            match type(step).__name__:
                case "merge":
                    self._pass(step.down.stream_id, items)
                case "flat_map_batch":
                    self._pass(step.down.stream_id, list(step.mapper(items)))
                case "stateful_batch":
                    self._pass(step.down.stream_id, list(self._batch(step, items)))
                case "output":
                    ((_, sink),) = self.sinks.items()
                    sink.write_batch([item for _, item in items])
                case kind:
                    raise NotImplementedError(f"{step.step_id}: the loop knows no {kind}")

    def _batch(self, step: Any, items: list[Any]) -> Iterator[tuple[str, Any]]:
        by_key: dict[str, list[Any]] = defaultdict(list)
        for key, item in items:
            by_key[key].append(item)
        for key, values in by_key.items():
            if (step.step_id, key) not in self._logics:
                self._logics[step.step_id, key] = step.builder(None)
            emitted, discard = self._logics[step.step_id, key].on_batch(values)
            assert not discard
            for each in emitted:
                yield key, each


def _core(steps: Any) -> Iterator[Any]:
    """The core steps, which Bytewax itself executes. All other steps consist of these."""
    for step in steps:
        if getattr(step, "core", False):
            yield step
        else:
            yield from _core(step.substeps)
