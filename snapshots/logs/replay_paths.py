"""What there is to replay under a path: a folder of folders and files is all of them.

golden/                 a collection: its machines and golden files, by name
  smp2-1node/           a machine's folder: itself
  a01-first.jsonl       a golden file: itself
  README.md             neither: passed over
"""

from __future__ import annotations

from pathlib import Path

from snapshots.errors import InputError
from snapshots.logs.machine_folder import read_machine_folder
from snapshots.logs.replay import is_golden_first_line
from snapshots.logs.text_source import read_lines

DEPTH_MAX = 3


def paths_under(path: Path, depth: int = DEPTH_MAX) -> list[Path]:
    """Return the machines' folders and golden files under a folder; any other path is itself."""
    if not path.is_dir() or _is_machine(path) or not depth:
        return [path]
    found: list[Path] = []
    for child in sorted(path.iterdir()):
        if child.is_dir():
            below = paths_under(child, depth - 1)
            found += [one for one in below if one != child or _is_machine(child)]
        elif _is_golden(child):
            found.append(child)
    return found or [path]


def _is_machine(folder: Path) -> bool:
    try:
        return read_machine_folder(folder).trace_path is not None
    except InputError:
        return False


def _is_golden(path: Path) -> bool:
    if ".jsonl" not in path.name:
        return False
    try:
        return is_golden_first_line(next(read_lines(path), ""))
    except InputError:
        return False
