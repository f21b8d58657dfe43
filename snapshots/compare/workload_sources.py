"""From what a user names to a workload: a spec, a golden file, a log, a machine's folder, a recording.

    gen:mixed,seed=7      generated.py        drawn from a seed
    a01-first.jsonl       golden_source.py    the alloc and free lines
    run.kms               run_source.py       inputs and events of its main branch
    trace.txt, folder     run_source.py       replayed first, for the order in which the kernel did it

What a file is, is read from its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from snapshots.compare.generated import KINDS, PREFIX, generated_workload
from snapshots.compare.golden_source import workload_of_golden
from snapshots.compare.run_source import workload_of_run
from snapshots.compare.workload import Workload, with_accesses
from snapshots.errors import InputError
from snapshots.logs.replay import is_golden_first_line
from snapshots.logs.text_source import read_lines
from snapshots.opening import is_recording, open_any


def read_workload(text: str, machine: Mapping[str, object] | None = None) -> Workload:
    """Return the work that a spec or path names; where nobody uses what is allocated, uses are added.

    machine is the mapping of a machine's TOML, for a log that does not tell its machine.
    Raises InputError or ConfigError with the reason.
    """
    return with_accesses(_as_it_is(text, machine))


def _as_it_is(text: str, machine: Mapping[str, object] | None) -> Workload:
    if text.startswith(PREFIX):
        return generated_workload(text)
    path = Path(text)
    if not path.exists():
        kinds = ", ".join(PREFIX + kind for kind in KINDS)
        raise InputError(f"{text}: no such file or folder; or expected one of {kinds}")
    if path.is_file() and not is_recording(path):
        lines = read_lines(path)
        first = next(lines, "")
        if is_golden_first_line(first):
            return workload_of_golden(chain([first], lines), str(path), name=path.name)
    opened = open_any(path, machine)
    workload = workload_of_run(
        opened.timeline, name=opened.name, origin=f"{opened.kind} {opened.name}"
    )
    if not workload.operations:
        raise InputError(f"{path}: nothing is asked of the per-CPU allocator in it; expected a run")
    return workload
