"""Replay of golden files of the module loader's per-CPU block allocator of Linux 2.6.17.

Line 1 is a header; then `alloc`, `free` and, now and then, `stats` with the whole block array. Every
placement, every failure, every line of the log and every block is compared. The first difference ends
the file, and is told with the number of its operation and the blocks around the place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

from kernel_sim.alignment import is_power_of_two
from kernel_sim.errors import KernelBug
from kernel_sim.percpu.module_slots import (
    KERN_ERR,
    KERN_WARNING,
    NO_ROOM,
    ModuleSlots,
    alignment_line,
    exhausted_line,
)
from snapshots.errors import InputError, TraceError
from snapshots.logs.json_rows import JsonRow, json_rows
from snapshots.logs.ordering import Divergence
from snapshots.logs.report import ReplayReport

MODULE_NAME = "mod"  # what the recorded program called every module
ROOM_BYTES_MAX = 1 << 30
SHOWN_NEAR = 3  # blocks told on either side of a divergence


def is_modalloc_header(row: object) -> bool:
    """Say whether a parsed first line is that of a golden file of this allocator."""
    if not isinstance(row, dict) or row.get("format") != "percpu-golden":
        return False
    config = row.get("config")
    return isinstance(config, dict) and config.get("backend") == "modalloc"


def replay_modalloc(path: str, lines: Iterable[str]) -> ReplayReport:
    """Replay one golden file. Raises TraceError if it is none or is damaged."""
    try:
        rows = json_rows(lines, path)
        header = next(rows, None)
        if header is None or not is_modalloc_header(header.values):
            raise TraceError(f"{path}: line 1: no header of a modalloc golden file")
        return _ModallocRun.of(path, header.row("config")).run(rows)
    except InputError as problem:
        raise TraceError(str(problem)) from problem


@dataclass(slots=True)
class _ModallocRun:
    room_bytes: int
    boot_log: list[str]
    slots: ModuleSlots
    report: ReplayReport
    offsets: dict[int, int] = field(default_factory=dict)  # op id -> offset
    line_no: int = 1

    @classmethod
    def of(cls, path: str, config: JsonRow) -> _ModallocRun:
        line_bytes, word_bytes = config.integer("smp_cache_bytes"), config.integer("word_size")
        if not is_power_of_two(line_bytes):
            raise config.error("smp_cache_bytes", f"{line_bytes}; expected a power of two")
        if word_bytes not in (4, 8):
            raise config.error("word_size", f"{word_bytes}; expected 4 or 8")
        room_bytes, static_bytes = (
            _sized(config, key, 0, ROOM_BYTES_MAX) for key in ("room", "static_size")
        )
        slots = ModuleSlots.for_room(
            room_bytes=room_bytes,
            static_bytes=static_bytes,
            line_bytes=line_bytes,
            word_bytes=word_bytes,
        )
        boot_log = cast("list[str]", config.values.get("boot_log", []))
        return cls(room_bytes, boot_log, slots, ReplayReport(path, "modalloc"))

    def run(self, rows: Iterable[JsonRow]) -> ReplayReport:
        said = [] if self.slots.has_room else [f"<{KERN_ERR}>{NO_ROOM}"]
        if said != self.boot_log:
            self._diverge("header boot_log", self.boot_log, said, 0)
            return self.report
        for self.line_no, row in enumerate(rows, 2):
            op = row.text("op", "alloc", "free", "stats")
            if op == "stats":
                self._stats(row)
            else:
                self.report.nr_operations += 1
                (self._alloc if op == "alloc" else self._free)(row)
            if self.report.divergences:
                break
        return self.report

    def _alloc(self, row: JsonRow) -> None:
        op_id = row.integer("id")
        if op_id in self.offsets:
            raise row.error("id", f"{op_id} is in use; expected a new one")
        size = _sized(row, "size", 1, (1 << 8 * self.slots.word_bytes) - 1)
        align = row.integer("align")
        if not is_power_of_two(align):
            raise row.error("align", f"{align}; expected a power of two")
        log: list[str] = []
        if align > self.slots.line_bytes:
            log.append(alignment_line(MODULE_NAME, align, self.slots.line_bytes))
        offset = self.slots.alloc(size, align)
        got: dict[str, object] = {"error": "ENOMEM"}
        if offset is None:
            log.append(exhausted_line(size))
        else:
            self.offsets[op_id] = offset
            got = {"off": offset}
        if log:
            got["log"] = [f"<{KERN_WARNING}>{line}" for line in log]
        self.report.nr_compared += 1
        asked = ("op", "id", "size", "align")
        expected = {name: value for name, value in row.values.items() if name not in asked}
        if got != expected:
            self._diverge("alloc", expected, got, _near(offset, expected.get("off")))

    def _free(self, row: JsonRow) -> None:
        offset = self.offsets.pop(row.integer("id"), None)
        if offset is None:
            raise row.error("id", f"{row.integer('id')}; expected that of a section in use")
        expected = {name: value for name, value in row.values.items() if name not in ("op", "id")}
        got: dict[str, object] = {}
        try:
            self.slots.free(offset)
        except KernelBug as problem:
            got = {"error": str(problem)}
        if got != expected:
            self._diverge("free", expected, got, offset)

    def _stats(self, row: JsonRow) -> None:
        sizes = self.slots.sizes
        figures = (("num_used", len(sizes)), ("num_allocated", self.slots.nr_allocated))
        for name, got in figures:
            if row.integer(name) != got:
                return self._diverge(f"stats {name}", row.integer(name), got, 0)
        expected = row.value("blocks")
        if expected != sizes:
            self._diverge("stats blocks", expected, sizes, _first_difference(expected, sizes))
        return None

    def _diverge(self, what: str, expected: object, got: object, offset: int) -> None:
        kind = f"op {self.report.nr_operations}: {what}"
        around = blocks_around(self.slots.sizes, offset)
        self.report.divergences.append(
            Divergence(
                self.line_no, self.line_no, kind, json.dumps(expected), json.dumps(got), around
            )
        )


def blocks_around(sizes: list[int], offset_bytes: int) -> str:
    """Return the blocks near an offset in words: offset, size, and whether it is free."""
    starts = list(accumulate(map(abs, sizes[:-1]), initial=0)) if sizes else []
    at = max((index for index, start in enumerate(starts) if start <= offset_bytes), default=0)
    first, end = max(at - SHOWN_NEAR, 0), at + SHOWN_NEAR + 1
    told = [
        f"{start}: {abs(size)} {'used' if size < 0 else 'free'}"
        for start, size in zip(starts[first:end], sizes[first:end], strict=True)
    ]
    return "; ".join(["…"] * bool(first) + told + ["…"] * (end < len(sizes)))


def _sized(row: JsonRow, key: str, lowest: int, highest: int) -> int:
    value = row.integer(key)
    if not lowest <= value <= highest:
        raise row.error(key, f"{value}; expected {lowest} to {highest}")
    return value


def _near(offset: int | None, expected: object) -> int:
    if isinstance(expected, int):
        return expected
    return offset or 0


def _first_difference(expected: object, sizes: list[int]) -> int:
    """Return the offset of the first block that is not as expected."""
    wanted = expected if isinstance(expected, list) else []
    at = 0
    for index, size in enumerate(sizes):
        if index >= len(wanted) or wanted[index] != size:
            break
        at += abs(size)
    return at
