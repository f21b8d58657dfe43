"""The work in a golden file: its alloc and free lines; what came of them there is not looked at.

    {"op":"alloc","id":7,"size":100,"align":4,"gfp":"kernel",…}  ──►  Alloc #7
    {"op":"alloc","id":7,…,"reserved":true}                      ──►  ModuleLoad "section_7"
    {"op":"free","id":7}                                         ──►  Free #7, ModuleUnload "section_7"

All allocations of a file of the module loader's own allocator (backend modalloc) are sections. Lines that
tell of states, or order background work or failures, stand for no operation and are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from snapshots.compare.workload import (
    ONE_VARIABLE_EACH,
    Alloc,
    Free,
    ModuleLoad,
    ModuleUnload,
    Operation,
    Workload,
)
from snapshots.errors import InputError
from snapshots.logs.golden_replay import is_golden_header
from snapshots.logs.json_rows import JsonRow, json_rows

MODALLOC = "modalloc"
CPUS_UNSAID = 4  # a module loader's file does not say how many CPUs there are
OTHER_OPS = ("balance", "fail_pages")


def workload_of_golden(lines: Iterable[str], source: str, *, name: str) -> Workload:
    """Return the work of a golden file. Raises InputError with the line if it is none or is damaged."""
    rows = json_rows(lines, source)
    header = next(rows, None)
    if header is None or not is_golden_header(header.values):
        place = header.place if header else source
        raise InputError(f"{place}: no header of a golden file; expected format percpu-golden")
    if header.values.get("kind") == "alloc_info":
        raise InputError(
            f"{source}: holds layouts of units and no operation; expected alloc and free"
        )
    config = header.row("config")
    reader = _Reader(is_modalloc=config.text("backend") == MODALLOC)
    operations = tuple(chain.from_iterable(map(reader.operations, rows)))
    nr_cpus = config.optional_integer("nr_cpus") or CPUS_UNSAID
    notes = (ONE_VARIABLE_EACH,) if reader.has_sections else ()
    origin = f"golden {header.text('scenario')}"
    return Workload(name, origin, operations, nr_cpus, dict(reader.left_out), notes)


@dataclass(slots=True)
class _Reader:
    is_modalloc: bool
    live: dict[int, bool] = field(default_factory=dict)  # by id: is it a section
    left_out: Counter[str] = field(default_factory=Counter)
    has_sections: bool = False

    def operations(self, row: JsonRow) -> Iterator[Operation]:
        """Yield what a line stands for, one operation or none."""
        if "event" in row.values:
            return
        op = row.text("op", "alloc", "free", "stats", *OTHER_OPS)
        if op == "alloc":
            yield self._alloc(row)
        elif op == "free":
            number = row.integer("id")
            is_section = self.live.pop(number, None)
            if is_section is None:
                raise row.error("id", f"{number} is not allocated here; expected one that is")
            yield ModuleUnload(_section(number)) if is_section else Free(number)
        elif op in OTHER_OPS:
            self.left_out[op] += 1

    def _alloc(self, row: JsonRow) -> Operation:
        number, size, align = row.integer("id"), row.integer("size"), row.integer("align")
        is_section = self.is_modalloc or row.values.get("reserved") is True
        if number in self.live:
            raise row.error("id", f"{number} is allocated already; expected a new one")
        if "error" not in row.values:
            self.live[number] = is_section
        if is_section:
            self.has_sections = True
            return ModuleLoad(_section(number), size, align, nr_variables=1)
        atomic = row.text("gfp", "kernel", "atomic", "nowait") != "kernel"
        return Alloc(number, size, align, atomic)


def _section(number: int) -> str:
    return f"section_{number}"
