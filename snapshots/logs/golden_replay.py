"""Replay of golden files: what the real C code did, op by op, against the machine.

Line 1 is a header with the machine's configuration; then ops, each directly followed by the events it
caused, and now and then a `stats` line that shows the allocator's inside. Everything in them is compared.
The first difference ends the file: it is the one that matters.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.events import PercpuAllocPercpu
from kernel_sim.machine import Machine
from kernel_sim.percpu.alloc_info_case import ERA_6_1, alloc_info_result
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.statistics import fragmentation
from snapshots.errors import TraceError
from snapshots.logs.golden_ops import GoldenOps, Row
from snapshots.logs.ordering import Divergence
from snapshots.logs.report import ReplayReport
from snapshots.logs.walk import describe_chunk
from snapshots.timeline import Timeline

NODE_MIB = 64 << 10
GROUPS_PHYS = 1 << 30
BLOCK_BYTES = 128
OPS = ("alloc", "free", "balance", "fail_pages", "stats")


def is_golden_header(row: object) -> bool:
    """Say whether a parsed first line is that of a golden file of the bitmap allocator."""
    return isinstance(row, dict) and row.get("format") == "percpu-golden"


def replay_golden(path: str, lines: Iterable[str]) -> ReplayReport:
    """Replay one golden file. Raises TraceError if it is none or is damaged."""
    numbered = numbered_rows(path, lines)
    _, header = next(numbered, (0, {}))
    if not is_golden_header(header):
        raise TraceError(f"{path}: line 1: no header of a golden file")
    try:
        if header.get("kind") == "alloc_info":
            return replay_cases(path, numbered)
        return _GoldenRun(path, header).run(numbered)
    except ConfigError as problem:
        raise TraceError(f"{path}: {problem}") from problem
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        raise TraceError(f"{path}: not as golden files are: {problem!r}") from problem


def numbered_rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    """Yield every line's number and object. Raises TraceError for a line that is none."""
    for number, line in enumerate(lines, 1):
        yield number, _row_of(path, number, line)


def _row_of(path: str, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise TraceError(f"{path}: line {number}: no JSON: {problem}") from problem
    if not isinstance(row, dict):
        raise TraceError(f"{path}: line {number}: expected a JSON object")
    return row


def replay_cases(path: str, rows: Iterable[tuple[int, Row]], era: str = ERA_6_1) -> ReplayReport:
    """Compare layouts, one case a line, with what the kernel of an era made of them."""
    report = ReplayReport(path, "alloc_info")
    for number, row in rows:
        where = f"{path}: line {number}"
        given = alloc_info_result(cast("Mapping[str, object]", row["input"]), where=where, era=era)
        wanted = cast("Row", row["result"])
        report.nr_operations += 1
        report.nr_compared += 1
        for name, value in wanted.items():
            if given.get(name) != value:
                got = json.dumps(given.get(name))
                report.divergences.append(
                    Divergence(number, number, f"alloc_info {name}", json.dumps(value), got, "")
                )
                break
    return report


@dataclass(slots=True)
class _GoldenRun:
    path: str
    header: Row
    config: MachineConfig = field(init=False)
    timeline: Timeline = field(init=False)
    machine: Machine = field(init=False)
    report: ReplayReport = field(init=False)
    ops: GoldenOps = field(init=False)
    expected_events: list[Row] = field(default_factory=list)

    def run(self, rows: Iterable[tuple[int, Row]]) -> ReplayReport:
        self.config = MachineConfig.from_mapping(_mapping_of(self.header), where=self.path)
        self.timeline = Timeline(boot(self.config))
        self.machine = self.timeline.machine
        self.ops = GoldenOps(self.timeline, self._number_of)
        self.report = ReplayReport(self.path, "golden", timeline=self.timeline)
        wrong = self._header_problem()
        if wrong:
            return self._diverge(1, *wrong)
        for number, row in rows:
            if "event" in row:
                self.expected_events.append(row)
                continue
            if self.expected_events != self.ops.events:
                break
            self.ops.line = number
            wrong = self._op(row)
            if wrong:
                return self._diverge(number, *wrong)
        if self.expected_events != self.ops.events:
            expected, got = json.dumps(self.expected_events), json.dumps(self.ops.events)
            return self._diverge(self.ops.line, "events", expected, got)
        return self.report

    def _diverge(self, number: int, what: str, expected: str, got: str) -> ReplayReport:
        around = "; ".join(
            describe_chunk(chunk, 0) for chunk in self.machine.percpu.chunks.values()
        )
        self.report.divergences.append(Divergence(number, number, what, expected, got, around))
        return self.report

    def _header_problem(self) -> tuple[str, str, str] | None:
        config = cast("Row", self.header["config"])
        percpu, slots = self.machine.percpu, self.machine.percpu.slots
        lines = [f"<{level}>{text}" for level, text in self.machine.kernel_log]
        got: Row = {
            "boot_log": [line for line in lines if ">percpu: " in line or ">pcpu-alloc: " in line],
            "unit_size": percpu.unit_size_bytes,
            "unit_offsets": list(self.machine.places.unit_offsets),
            "nr_slots": len(slots.lists),
            "sidelined_slot": slots.sidelined,
            "free_slot": slots.free,
            "to_depopulate_slot": slots.to_depopulate,
        }
        for name, value in got.items():
            if config[name] != value:
                return f"header {name}", json.dumps(config[name]), json.dumps(value)
        return None

    # -- ops ---------------------------------------------------------------------------------------

    def _op(self, row: Row) -> tuple[str, str, str] | None:
        op = row["op"]
        if op not in OPS:
            raise TraceError(f"{self.path}: line {self.ops.line}: unknown op {op!r}")
        self.expected_events, self.ops.events = [], []
        if op == "stats":
            return self._compare_stats(row)
        self.report.nr_operations += 1
        if op == "alloc":
            return self._alloc(row)
        if op == "free":
            return self._free(row)
        if op == "fail_pages":
            self.ops.do("fail_pages", row["after"])
            return None
        return self._balance(row)

    def _number_of(self, base_addr: int) -> int | None:
        chunk = self.machine.percpu.chunk_by_base.get(base_addr)
        return None if chunk is None else chunk.number

    def _alloc(self, row: Row) -> tuple[str, str, str] | None:
        expected, got = self.ops.alloc(row, self._place_of)
        self.report.nr_compared += 1
        return None if got == expected else ("alloc", json.dumps(expected), json.dumps(got))

    def _place_of(self, event: PercpuAllocPercpu) -> Row:
        chunk = self.machine.percpu.chunk_of(event.base_addr + event.off)
        if chunk is None:
            return {"chunk": None, "off": event.off}
        if chunk.number > 0:
            return {"chunk": chunk.number, "off": event.off}
        base_off = chunk.base_addr - self.machine.percpu.base_addr
        return {"chunk": "reserved" if chunk.number else 0, "off": base_off + event.off}

    def _free(self, row: Row) -> tuple[str, str, str] | None:
        self.ops.do("free_percpu", self.ops.pointers.pop(cast("int", row["id"])))
        got = self.ops.sched()
        expected = {name: row[name] for name in ("sched",) if name in row}
        return None if got == expected else ("free", json.dumps(expected), json.dumps(got))

    def _balance(self, row: Row) -> tuple[str, str, str] | None:
        wrong = self.ops.balance(row)
        return ("balance requested", str(wrong[0]), str(wrong[1])) if wrong else None

    # -- stats -------------------------------------------------------------------------------------

    def _compare_stats(self, row: Row) -> tuple[str, str, str] | None:
        percpu, statistics = self.machine.percpu, self.machine.percpu.statistics
        got: Row = {
            "nr_empty_pop_pages": percpu.nr_empty_pop_pages,
            "nr_populated": percpu.nr_populated,
            "atomic_alloc_failed": percpu.atomic_alloc_failed,
            "global": {
                name.replace("alloc_bytes", "alloc_size"): getattr(statistics, name)
                for name in type(statistics).__slots__
            },
            "slots": [
                [slot, [chunk.number for chunk in chunks]]
                for slot, chunks in enumerate(percpu.slots.lists)
                if chunks
            ],
        }
        for name, value in got.items():
            if row[name] != value:
                return f"stats {name}", json.dumps(row[name]), json.dumps(value)
        expected_chunks = cast("list[Row]", row["chunks"])
        if len(expected_chunks) != len(percpu.chunks):
            return "stats chunks", str(len(expected_chunks)), str(len(percpu.chunks))
        for expected in expected_chunks:
            number = RESERVED if expected["chunk"] == "reserved" else cast("int", expected["chunk"])
            chunk_row = chunk_stats(percpu.chunks[number])
            for name, value in expected.items():
                if chunk_row[name] != value:
                    what = f"stats chunk {expected['chunk']} {name}"
                    return what, json.dumps(value), json.dumps(chunk_row[name])
        return None


def chunk_stats(chunk: Chunk) -> Row:
    """Return one chunk's figures in the form of a detailed stats line."""
    bitmap = b"".join(word.to_bytes(BLOCK_BYTES, "little") for word in chunk.alloc_map)
    return {
        "chunk": "reserved" if chunk.number == RESERVED else chunk.number,
        "nr_alloc": chunk.nr_alloc,
        "max_alloc_size": chunk.max_alloc_bytes,
        "empty_pop_pages": chunk.nr_empty_pop_pages,
        "first_bit": chunk.md.first_free,
        "free_bytes": chunk.free_bytes,
        "contig_bytes": chunk.md.contig_hint * MIN_ALLOC_BYTES,
        **fragmentation(chunk)._asdict(),
        "nr_populated": chunk.nr_populated,
        "slot": chunk.slot,
        "isolated": chunk.isolated,
        "immutable": chunk.immutable,
        "chunk_md": list(chunk.md.row()),
        "populated": [list(run) for run in chunk.populated_runs()],
        "alloc_map_crc32": zlib.crc32(bitmap),
        "md_blocks": [list(block.row()) for block in chunk.blocks],
        "alloc_runs": _alloc_runs(bitmap),
    }


def _alloc_runs(bitmap: bytes) -> list[list[int]]:
    bits = int.from_bytes(bitmap, "little")
    runs: list[list[int]] = []
    at = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        run = (~bits & (bits + 1)).bit_length() - 1
        runs.append([at + gap, at + gap + run])
        at += gap + run
        bits >>= run
    return runs


def _mapping_of(header: Row) -> Row:
    """Return the header's machine as a machine TOML would hold it."""
    config = cast("dict[str, object]", header["config"])
    nr_cpus = cast("int", config["nr_cpus"])
    cpu_node = cast("list[int] | None", config["cpu_node"])
    nodes = cpu_node or [0] * nr_cpus
    percpu: Row = {
        "backend": config["backend"],
        "first_chunk": config["first_chunk"],
        "static_bytes": config["static_size"],
        "reserved_bytes": config["reserved_size"],
    }
    if config["first_chunk"] == "embed":
        percpu["dynamic_bytes"] = config["dyn_size"]
        percpu["atom_bytes"] = config["atom_size"]
        percpu["distance_fn"] = cpu_node is not None
        percpu["group_phys"] = group_phys(config)
    return {
        "name": header["scenario"],
        "cpus": {"possible": f"0-{nr_cpus - 1}" if nr_cpus > 1 else "0"},
        "node": [
            {
                "cpus": ",".join(str(cpu) for cpu, at in enumerate(nodes) if at == node),
                "memory_mib": NODE_MIB,
            }
            for node in range(max(nodes) + 1)
        ],
        "percpu": percpu,
        "tlb": {"profile": "none"},  # the C code that was recorded ran on no page tables
        "work": {"mode": "scripted"},
    }


def group_phys(config: dict[str, object]) -> list[str]:
    """The groups were placed back to back by a bump allocator that aligns to the atom."""
    atom, unit = cast("int", config["atom_size"]), cast("int", config["unit_size"])
    at = GROUPS_PHYS
    places: list[str] = []
    for units in cast("list[list[int]]", config["groups"]):
        places.append(f"{at:#x}")
        at += -(-len(units) * unit // atom) * atom
    return places
