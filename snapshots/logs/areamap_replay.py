"""Replay of golden files of the allocator with area maps: what Linux 2.6.34 did, op by op.

Line 1 is a header with the machine's configuration; then ops, each directly followed by the events it
caused, and now and then a `stats` line with every map. The whole machine runs with chunk-2009, so pages,
tables and address space come and go too. The first difference ends the file; it is told with the number
of the operation and the maps around the place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.events import PercpuAllocPercpu
from kernel_sim.machine import Machine
from kernel_sim.percpu.alloc_info_case import ERA_2_6_34
from kernel_sim.percpu.area_chunk import FIRST, RESERVED, AreaChunk
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.percpu.area_system import AreaSystem
from kernel_sim.percpu.systems.chunk_2009 import NAME
from snapshots.errors import TraceError
from snapshots.logs.golden_ops import GoldenOps, Row
from snapshots.logs.golden_replay import NODE_MIB, group_phys, numbered_rows, replay_cases
from snapshots.logs.ordering import Divergence
from snapshots.logs.report import ReplayReport
from snapshots.timeline import Timeline

SOURCE = "Linux 2.6.3"  # of the files that hold layouts only
ADDRESS = re.compile(r"@[0-9a-f]{8,16}\b")
SHOWN_NEAR = 3  # entries told on either side of a divergence
Problem = tuple[str, object, object, int]
"""What differs, expected, got, and the offset around which maps are told."""


def is_areamap_header(row: object) -> bool:
    """Say whether a parsed first line is that of a golden file of this allocator."""
    if not isinstance(row, dict) or row.get("format") != "percpu-golden":
        return False
    config = row.get("config")
    if row.get("kind") == "alloc_info":
        return str(row.get("source")).startswith(SOURCE)
    return isinstance(config, dict) and "reserved_chunk_limit" in config


def replay_areamap(path: str, lines: Iterable[str]) -> ReplayReport:
    """Replay one golden file. Raises TraceError if it is none or is damaged."""
    rows = numbered_rows(path, lines)
    _, header = next(rows, (0, {}))
    if not is_areamap_header(header):
        raise TraceError(f"{path}: line 1: no header of an areamap golden file")
    try:
        if header.get("kind") == "alloc_info":
            return replay_cases(path, rows, ERA_2_6_34)
        return _AreaRun(path, cast("Row", header["config"])).run(str(header["scenario"]), rows)
    except ConfigError as problem:
        raise TraceError(f"{path}: {problem}") from problem
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        raise TraceError(f"{path}: not as golden files are: {problem!r}") from problem


@dataclass(slots=True)
class _AreaRun:
    path: str
    config: Row
    timeline: Timeline = field(init=False)
    machine: Machine = field(init=False)
    percpu: AreaPercpu = field(init=False)
    report: ReplayReport = field(init=False)
    ops: GoldenOps = field(init=False)
    expected_events: list[Row] = field(default_factory=list)
    op_offset: int = 0

    def run(self, scenario: str, rows: Iterable[tuple[int, Row]]) -> ReplayReport:
        mapping = machine_mapping(scenario, self.config)
        self.timeline = Timeline(boot(MachineConfig.from_mapping(mapping, where=self.path)))
        self.machine = self.timeline.machine
        self.percpu = cast("AreaSystem", self.machine.system).percpu
        self.ops = GoldenOps(self.timeline, self._number_of)
        self.report = ReplayReport(self.path, "areamap", timeline=self.timeline)
        wrong = self._header_problem()
        if wrong is not None:
            return self._diverge(1, wrong)
        for number, row in rows:
            if "event" in row:
                self.expected_events.append(row)
                continue
            if self.expected_events != self.ops.events:
                break
            self.ops.line = number
            wrong = self._op(row)
            if wrong is not None:
                return self._diverge(number, wrong)
        if self.expected_events != self.ops.events:
            wrong = ("events", self.expected_events, self.ops.events, self.op_offset)
            return self._diverge(self.ops.line, wrong)
        return self.report

    def _diverge(self, number: int, wrong: Problem) -> ReplayReport:
        what, expected, got, offset = wrong
        around = "; ".join(describe_map(chunk, offset) for chunk in self.percpu.chunks.values())
        kind = f"op {self.report.nr_operations}: {what}" if self.ops.line else what
        self.report.divergences.append(
            Divergence(number, number, kind, json.dumps(expected), json.dumps(got), around)
        )
        return self.report

    def _header_problem(self) -> Problem | None:
        info, percpu = self.machine.alloc_info, self.percpu
        lines = [f"<{level}>{text}" for level, text in self.machine.kernel_log]
        said = [line for line in lines if ">PERCPU: " in line or ">pcpu-alloc: " in line]
        got: Row = {
            "boot_log": [ADDRESS.sub("@ADDR", line) for line in said],
            "unit_size": percpu.unit_size_bytes,
            "alloc_size": info.alloc_size_bytes,
            "dyn_size_effective": info.dyn_size_bytes,
            "units_per_alloc": info.upa,
            "groups": [list(group.cpu_map) for group in info.groups],
            "unit_offsets": list(self.machine.places.unit_offsets),
            "nr_slots": len(percpu.slots.lists),
            "has_reserved_chunk": percpu.reserved_chunk is not None,
            "reserved_chunk_limit": percpu.reserved_limit_bytes,
        }
        for name, value in got.items():
            if self.config[name] != value:
                return f"header {name}", self.config[name], value, 0
        return None

    # -- ops ---------------------------------------------------------------------------------------

    def _op(self, row: Row) -> Problem | None:
        op = row["op"]
        self.expected_events, self.ops.events = [], []
        if op == "stats":
            return self._compare_stats(row)
        self.report.nr_operations += 1
        if op == "alloc":
            return self._alloc(row)
        if op == "free":
            return self._free(row)
        if op == "balance":
            return self._balance(row)
        if op == "fail_pages":
            self.ops.do("fail_pages", row["after"])
            return None
        raise TraceError(f"{self.path}: line {self.ops.line}: unknown op {op!r}")

    def _number_of(self, base_addr: int) -> int | None:
        chunk = self.percpu.chunk_by_base.get(base_addr)
        return None if chunk is None else chunk.number

    def _alloc(self, row: Row) -> Problem | None:
        expected, got = self.ops.alloc(row, self._place_of)
        self.report.nr_compared += 1
        if got == expected:
            return None
        return "alloc", expected, got, cast("int", expected.get("off", self.op_offset))

    def _place_of(self, event: PercpuAllocPercpu) -> Row:
        chunk = self.percpu.chunk_of(event.base_addr + event.off)
        self.op_offset = event.off
        return {"chunk": _name_of(chunk.number) if chunk is not None else None, "off": event.off}

    def _free(self, row: Row) -> Problem | None:
        ptr = self.ops.pointers.pop(cast("int", row["id"]))
        chunk = self.percpu.chunk_of(self.percpu.addr_of(ptr))
        self.op_offset = self.percpu.addr_of(ptr) - chunk.base_addr if chunk is not None else 0
        self.ops.do("free_percpu", ptr)
        got = self.ops.sched()
        expected = {name: value for name, value in row.items() if name not in ("op", "id")}
        return None if got == expected else ("free", expected, got, self.op_offset)

    def _balance(self, row: Row) -> Problem | None:
        wrong = self.ops.balance(row)
        return ("balance requested", *wrong, self.op_offset) if wrong else None

    # -- stats -------------------------------------------------------------------------------------

    def _compare_stats(self, row: Row) -> Problem | None:
        slots = [
            [slot, [chunk.number for chunk in chunks]]
            for slot, chunks in enumerate(self.percpu.slots.lists)
            if chunks
        ]
        if row["slots"] != slots:
            return "stats slots", row["slots"], slots, self.op_offset
        expected_chunks = cast("list[Row]", row["chunks"])
        names = [_name_of(number) for number in self.percpu.chunks]
        expected_names = [expected["chunk"] for expected in expected_chunks]
        if expected_names != names:
            return "stats chunks", expected_names, names, self.op_offset
        for expected, chunk in zip(expected_chunks, self.percpu.chunks.values(), strict=True):
            got = chunk_stats(chunk)
            for name, value in expected.items():
                if got[name] != value:
                    at = _first_difference(value, got[name]) if name == "map" else self.op_offset
                    return f"stats chunk {expected['chunk']} {name}", value, got[name], at
        return None


def chunk_stats(chunk: AreaChunk) -> Row:
    """Return one chunk's figures in the form of a stats line."""
    area_map = chunk.area_map
    return {
        "chunk": _name_of(chunk.number),
        "free_size": area_map.free_bytes,
        "contig_hint": area_map.contig_hint,
        "slot": chunk.slot,
        "immutable": chunk.immutable,
        "map_used": area_map.used_entries,
        "map_alloc": area_map.capacity,
        "map": area_map.entries(),
        "populated": [list(run) for run in chunk.populated_runs(0, chunk.nr_pages)],
    }


def describe_map(chunk: AreaChunk, offset_bytes: int) -> str:
    """Return a chunk's figures and the entries of its map near an offset, in words."""
    area_map = chunk.area_map
    starts = area_map.starts
    at = max((index for index, start in enumerate(starts) if start <= offset_bytes), default=0)
    first, end = max(at - SHOWN_NEAR, 0), at + SHOWN_NEAR + 1
    near = [f"{start}: {area_map.sizes[start]}" for start in starts[first:end]]
    shown = ["…"] * bool(first) + near + ["…"] * (end < len(starts))
    return (
        f"chunk {_name_of(chunk.number)}: free {area_map.free_bytes}, hint {area_map.contig_hint},"
        f" slot {chunk.slot}, {area_map.used_entries} of {area_map.capacity} entries"
        f" [{', '.join(shown)}]"
    )


def _name_of(number: int) -> int | str:
    return "reserved" if number == RESERVED else max(number, FIRST)


def _first_difference(expected: object, got: object) -> int:
    """Return the offset of the first entry that is not as expected."""
    at = 0
    for wanted, have in zip(cast("list[int]", expected), cast("list[int]", got), strict=False):
        if wanted != have:
            break
        at += abs(wanted)
    return at


def machine_mapping(scenario: str, config: Row) -> Row:
    """Return the header's machine as a machine TOML would hold it."""
    nr_cpus = cast("int", config["nr_cpus"])
    cpu_node = cast("list[int] | None", config["cpu_node"])
    nodes = cpu_node or [0] * nr_cpus
    dyn_size = cast("int", config["dyn_size"])
    options: Row = {"min_unit_bytes": config["min_unit_size"]}
    percpu: Row = {
        "system": NAME,
        "first_chunk": config["first_chunk"],
        "static_bytes": config["static_size"],
        "reserved_bytes": config["reserved_size"],
        "options": options,
    }
    if config["first_chunk"] == "embed":
        percpu["dynamic_bytes"] = max(dyn_size, 0)
        percpu["atom_bytes"] = config["atom_size"]
        percpu["distance_fn"] = cpu_node is not None
        percpu["group_phys"] = group_phys(config)
        options["dynamic_auto"] = dyn_size < 0
    return {
        "name": scenario,
        "kernel": {"nr_cpus": max(nr_cpus, 64)},
        "cpus": {"possible": f"0-{nr_cpus - 1}" if nr_cpus > 1 else "0"},
        "node": [
            {
                "cpus": ",".join(str(cpu) for cpu, at in enumerate(nodes) if at == node),
                "memory_mib": NODE_MIB,
            }
            for node in range(max(nodes) + 1)
        ],
        "percpu": percpu,
        "memory": {"pages": "plain"},  # one request is one page of one CPU: tables ask for none
        "tlb": {"profile": "none"},  # the C code that was recorded ran on no page tables
        "work": {"mode": "scripted"},
    }
