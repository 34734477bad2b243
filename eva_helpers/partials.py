"""Unfinished files: a file gets its name when it is whole, and what a kill leaves is removed."""

import os
from contextlib import suppress
from pathlib import Path


def write_and_rename(path: Path, data: bytes, again: int = 3) -> None:
    """Write `data` to `NAME.PID.partial`, which then becomes `path`. Raises OSError.

    Where another process tidies up meanwhile, it is written again.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)  # else a link that was there before would be followed
        partial.write_bytes(data)
        os.replace(partial, path)
    except FileNotFoundError:
        if not (again and path.parent.is_dir()):
            raise
        write_and_rename(path, data, again - 1)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def remove_partials(folder: Path, *patterns: str) -> None:
    """Remove what killed processes left of the files in `folder` whose names fit `patterns`."""
    for pattern in patterns:
        for path in folder.glob(f"{pattern}.*.partial"):
            if path.name.split(".")[-2].isdecimal():
                path.unlink(missing_ok=True)
