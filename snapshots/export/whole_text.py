"""Writing a text that is there complete or not at all, piece by piece as it is made.

pieces ──▶ .run.txt.3f9c.part ── fsync ── rename ──▶ run.txt
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from snapshots.container.file_access import (
    check_may_replace,
    create_new,
    naming,
    part_path,
    replace_durably,
)

BUFFER_CHARS = 1 << 16


def write_whole_text(
    path: str | os.PathLike[str], pieces: Iterable[str], *, overwrite: bool = True
) -> int:
    """Write the pieces to a file and return how many bytes it has; an older file is replaced at the end.

    What making the pieces raises goes through, and nothing is then saved.
    Raises: RecordingError if the file cannot be written; what was there before is then untouched.
    """
    target = Path(path)
    part = part_path(target)
    with naming(target, safe="nothing was saved, nothing was replaced"):
        check_may_replace(target, overwrite=overwrite)
        descriptor = create_new(part)
    try:
        nr_bytes = _write_all(descriptor, pieces, target)
        with naming(target, safe="nothing was saved, nothing was replaced"):
            check_may_replace(target, overwrite=overwrite)
            replace_durably(part, target)
    finally:
        part.unlink(missing_ok=True)
    return nr_bytes


def _write_all(descriptor: int, pieces: Iterable[str], target: Path) -> int:
    with os.fdopen(descriptor, "wb", buffering=BUFFER_CHARS) as file:
        for piece in pieces:
            with naming(target, safe="nothing was saved, nothing was replaced"):
                file.write(piece.encode())
        with naming(target, safe="nothing was saved, nothing was replaced"):
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
