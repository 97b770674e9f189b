"""`pairflow init`: a pipeline.yaml to begin with."""

import argparse
from pathlib import Path

from flows.errors import UserError


def init(options: argparse.Namespace) -> int:
    from importlib.resources import files

    path = options.config or Path("pipeline.yaml")
    try:
        with path.open("xb") as file:
            file.write((files("flows.settings") / "pipeline.yaml").read_bytes())
    except FileExistsError:
        raise UserError(
            f"init: {path} is there already: edit it, or name another file with --config"
        ) from None
    except OSError as error:
        raise UserError(
            f"init: {path} cannot be written ({error.strerror}): name another file with --config"
        ) from None
    print(
        f"{path}: written. Edit its pairs, then `pairflow check` says what is ready and `pairflow run` starts"
    )
    return 0
