"""The rows of a table as columns, before they are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.columns import stored


@dataclass(frozen=True, slots=True)
class Symbols:
    """A SYMBOL column: codes that index into a tuple of names; the code -1 is NULL."""

    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]


Column = npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.bool_] | Symbols


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for one table. Every column has the same length.

    SYMBOL columns are `Symbols`, DOUBLE float64 (NaN is NULL), LONG and TIMESTAMP int64 (NEVER, the smallest
    int64, is NULL; times in µs since the epoch), BOOLEAN bool. `ts` is always among them and never NULL.
    """

    table: str
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, table: str, keys: Mapping[str, Column], results: Any) -> "Rows":
        """Rows of an operator's result: `keys`, and the result's stored fields that `keys` does not have."""
        return cls(
            table,
            {**keys, **{name: getattr(results, name) for name in stored(type(results)) if name not in keys}},
        )

    def __len__(self) -> int:
        return len(self.columns["ts"])  # type: ignore[arg-type]
