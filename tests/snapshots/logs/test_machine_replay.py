"""Logs of real machines: the simulated one does the same, and one changed field is found."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from kernel_sim.config import MachineConfig
from snapshots.logs.early_allocs import early_allocs_for
from snapshots.logs.ftrace import parse_trace
from snapshots.logs.machine_replay import LogReplay
from snapshots.logs.real_machine import machine_mapping, read_machine_folder
from snapshots.logs.replay import replay_path
from snapshots.logs.report import ReplayReport
from snapshots.logs.text_source import read_lines
from snapshots.logs.trace_log import TraceLog, pcpu_base_addr_from
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT
from tests.snapshots.conftest import (
    GOLDEN,
    SHARED_GOLDEN,
    LoggedKernel,
    log_of,
    plain_lines,
    small_config,
)

FOLDERS = GOLDEN / "kernel-6.1"
# name: allocations of the run, recorded states
KNOWN = {
    "formats-2cpu": (819, 7),
    "hashed-kaslr-2cpu": (4029, 0),
    "nr_cpus3-of-8": (3095, 15),
    "pcpu-page-4cpu": (8559, 18),
    "smp2-1node": (18830, 26),
    "smp4-2node": (11022, 27),
    "smp8-4node-dist": (15573, 23),
    "tracecmd-2cpu": (638, 0),
    "up1": (12883, 21),
    "k612-smp2-1node": (14669, 24),
}
HERE = [path for path in sorted(GOLDEN.glob("kernel-6.*/*")) if path.name in KNOWN]
SHARED = [
    path
    for kernel in ("kernel-6.1", "kernel-6.12")
    for path in sorted((SHARED_GOLDEN / kernel).glob("*"))
    if path.name in KNOWN
]


def check_equal(path: Path) -> ReplayReport:
    report = replay_path(path)
    assert report.divergences == []
    assert (report.kind, report.mode) == ("machine", "predicted")
    nr_allocs, nr_states = KNOWN[path.name]
    counts = report.counts
    assert (report.nr_compared, counts["states"]) == (nr_allocs, nr_states)
    assert counts["states_equal"] == nr_states
    return report


def test_the_recorded_machines_are_there() -> None:
    assert len(HERE) == 9


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.name)
def test_the_machine_does_what_the_real_one_did(path: Path) -> None:
    check_equal(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_the_machine_does_what_the_shared_ones_did(path: Path) -> None:
    report = check_equal(path)
    assert report.timeline is not None
    end = state_digest(report.timeline.machine)
    report.timeline.seek(0)
    report.timeline.seek(NO_LIMIT)
    assert state_digest(report.timeline.machine) == end


def test_hashed_pointers_are_matched_by_the_order_of_chunks() -> None:
    report = check_equal(FOLDERS / "hashed-kaslr-2cpu")
    assert any("hashed" in note for note in report.notes)


def test_a_replayed_run_can_be_gone_through_backwards() -> None:
    report = check_equal(FOLDERS / "formats-2cpu")
    timeline = report.timeline
    assert timeline is not None
    end = state_digest(timeline.machine)
    middle = timeline.end_step // 2
    timeline.seek(middle)
    digest = state_digest(timeline.machine)
    timeline.seek(0)
    timeline.seek(middle)
    assert state_digest(timeline.machine) == digest
    timeline.seek(NO_LIMIT)
    assert state_digest(timeline.machine) == end


def test_every_input_names_its_line_and_its_task() -> None:
    report = check_equal(FOLDERS / "formats-2cpu")
    assert report.timeline is not None
    given = [report.timeline.input_at(n) for n in range(report.timeline.nr_inputs)]
    lines = plain_lines(FOLDERS / "formats-2cpu" / "trace.txt.gz")
    named = [row for row in given if row.line and row.do == "pcpu_alloc"]
    assert len(named) > 700
    for row in named:
        assert row.by in lines[row.line - 1]
        assert f"size={row.args[0]} align={row.args[1]} " in lines[row.line - 1]


# -- one thing changed ----------------------------------------------------------------------------------

AREA = re.compile(r"base_addr=(\w+) off=(\d+) ptr=(\w+)")


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def copied(name: str) -> Path:
        shutil.copytree(FOLDERS / name, tmp_path / name)
        return tmp_path / name

    return copied


def change_trace(folder: Path, change: Callable[[list[str]], object]) -> None:
    lines = plain_lines(folder / "trace.txt.gz")
    change(lines)
    with gzip.open(folder / "trace.txt.gz", "wt") as file:
        file.writelines(lines)


def change_states(folder: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    rows = [json.loads(line) for line in plain_lines(folder / "states.jsonl.gz")]
    change(rows)
    with gzip.open(folder / "states.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def moved(line: str, more: int) -> str:
    def bump(found: re.Match[str]) -> str:
        base, off, ptr = found.groups()
        return f"base_addr={base} off={int(off) + more} ptr={int(ptr, 16) + more:016x}"

    return AREA.sub(bump, line)


def test_a_changed_offset_is_a_divergence_at_its_line(copy: Callable[[str], Path]) -> None:
    folder = copy("formats-2cpu")
    changed: list[int] = []

    def change(lines: list[str]) -> None:
        at = max(n for n, line in enumerate(lines) if "percpu_alloc_percpu:" in line)
        lines[at] = moved(lines[at], 4)
        changed.append(at + 1)

    change_trace(folder, change)
    report = replay_path(folder)
    first, *others = report.divergences
    assert (first.line_no, first.kind) == (changed[0], "place")
    expected = re.fullmatch(r"offset (\d+) of chunk 1", first.expected)
    got = re.fullmatch(r"offset (\d+) of chunk 1", first.got)
    assert expected is not None
    assert got is not None
    assert int(expected[1]) == int(got[1]) + 4
    assert "areas near:" in first.around
    assert {row.kind.partition(" ")[0] for row in others} <= {"state"}, "states taken after it"
    assert report.timeline is not None
    areas = dict(report.timeline.machine.percpu.chunks[1].areas())
    assert int(expected[1]) // 4 in areas
    assert int(got[1]) // 4 not in areas


@pytest.mark.parametrize("nth", [0, 3])
def test_two_places_exchanged_are_one_divergence_and_the_replay_goes_on(
    copy: Callable[[str], Path], nth: int
) -> None:
    folder = copy("formats-2cpu")
    whole = replay_path(FOLDERS / "formats-2cpu")
    changed: list[int] = []

    def change(lines: list[str]) -> None:
        """Exchange the places of two like areas that one task allocated one after the other."""
        places = [
            at
            for at in range(300, len(lines) - 1)
            if "percpu_alloc_percpu:" in lines[at]
            and AREA.split(lines[at])[0].split(": ", 1)[1]
            == AREA.split(lines[at + 1])[0].split(": ", 1)[-1]
            and lines[at].split("[")[0] == lines[at + 1].split("[")[0]
            and AREA.findall(lines[at])[0][0] == AREA.findall(lines[at + 1])[0][0]
        ]
        at = places[nth]
        one, other = AREA.search(lines[at]), AREA.search(lines[at + 1])
        assert one is not None
        assert other is not None
        lines[at : at + 2] = [
            lines[at].replace(one[0], other[0]),
            lines[at + 1].replace(other[0], one[0]),
        ]
        changed.append(at + 1)

    change_trace(folder, change)
    report = replay_path(folder)
    assert [(row.line_no, row.kind) for row in report.divergences] == [(changed[0], "place")]
    assert report.nr_operations == whole.nr_operations
    assert report.nr_compared == whole.nr_compared
    assert report.counts["states_equal"] == whole.counts["states_equal"]


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("free_bytes", "free_bytes"),
        ("slot", "slot"),
        ("immutable", "immutable"),
        ("areas_off_len", "areas"),
        ("md_blocks", "block 0"),
        ("chunk_md", "chunk_md"),
    ],
)
def test_a_changed_field_of_a_state_is_a_divergence(
    copy: Callable[[str], Path], field: str, kind: str
) -> None:
    folder = copy("formats-2cpu")

    def change(rows: list[dict[str, object]]) -> None:
        chunk = cast("list[dict[str, object]]", rows[3]["chunks"])[0]
        value = chunk[field]
        if field == "md_blocks":
            cast("list[list[int]]", value)[0][2] += 1
        elif field == "chunk_md":
            cast("dict[str, int]", value)["contig_hint"] += 1
        elif field == "areas_off_len":
            cast("list[object]", value).pop()
        elif field == "immutable":
            chunk[field] = 1 - cast("int", value)
        else:
            chunk[field] = cast("int", value) + 1

    change_states(folder, change)
    report = replay_path(folder)
    assert [row.kind for row in report.divergences] == [
        f"state 'marker: mix begin': chunk 0 {kind}"
    ]
    assert report.divergences[0].expected != report.divergences[0].got
    assert report.counts["states_equal"] == 6
    lines = plain_lines(FOLDERS / "formats-2cpu" / "trace.txt.gz")
    marker = next(n for n, line in enumerate(lines, 1) if "mix begin" in line)
    assert abs(report.divergences[0].line_no - marker) <= 3


def test_a_changed_population_is_only_noted(copy: Callable[[str], Path]) -> None:
    folder = copy("formats-2cpu")

    def change(rows: list[dict[str, object]]) -> None:
        rows[3]["pcpu_nr_populated"] = cast("int", rows[3]["pcpu_nr_populated"]) + 1

    change_states(folder, change)
    report = replay_path(folder)
    assert report.ok
    assert report.counts["states_where_only_population_differs"] == 1
    assert any("mix begin" in note and "population" in note for note in report.notes)


def log_replay(name: str, change: Callable[[TraceLog], object]) -> LogReplay:
    real = read_machine_folder(FOLDERS / name)
    log = parse_trace(read_lines(cast("Path", real.trace_path)), name)
    mapping = machine_mapping(real, pcpu_base_addr=pcpu_base_addr_from(log.events))
    config = MachineConfig.from_mapping(mapping, where=name)
    change(log)
    return LogReplay(name, config, log, early_allocs_for("6.1"))


def test_a_chunk_at_another_address_is_a_divergence() -> None:
    shift = 4 << 20
    places: list[tuple[int, int]] = []

    def change(log: TraceLog) -> None:
        created = next(event for event in log.events if event.kind == "create")
        places.append((created.line_no, created.base_addr))
        log.events[:] = [
            event._replace(
                base_addr=event.base_addr - shift,
                ptr=event.ptr - shift if event.kind != "create" else 0,
            )
            if event.base_addr == created.base_addr
            else event
            for event in log.events
        ]

    run = log_replay("formats-2cpu", change)
    run.prepare()
    assert run.addresses_hold
    report = run.run()
    line_no, base = places[0]
    kinds = {row.kind for row in report.divergences}
    assert kinds == {"chunk base", "address"}
    found = next(row for row in report.divergences if row.kind == "chunk base")
    assert (found.expected, found.got) == (f"{base - shift:#x}", f"{base:#x}")
    assert abs(found.line_no - line_no) <= 3


def test_a_changed_early_allocation_is_a_divergence() -> None:
    run = log_replay("formats-2cpu", lambda log: None)
    rows = list(run.early)
    rows[5] = rows[5]._replace(ptr=rows[5].ptr + 4)
    run.early = rows
    run.prepare()
    report = run.run()
    kinds = [(row.line_no, row.kind) for row in report.divergences]
    assert kinds == [(0, f"early operation {rows[5].seq}")]
    assert report.divergences[0].expected == f"{rows[5].ptr:#x}"


# -- small logs -----------------------------------------------------------------------------------------

CONFIG = small_config(cpus=2, work="scripted")


def replayed(kernel: LoggedKernel, config: MachineConfig = CONFIG) -> ReplayReport:
    run = LogReplay("hand-made", config, log_of(kernel.events), early=())
    run.prepare()
    assert run.why_late() == ""
    return run.run()


def busy_kernel() -> LoggedKernel:
    kernel = LoggedKernel(CONFIG)
    kernel.print(*kernel.alloc(64))
    areas = []
    for size in (30000, 30000, 8192, 30000, 64, 30000):
        lines = kernel.alloc(size)
        kernel.print(*lines, after_us=100)
        areas.append(lines[-1])
        if kernel.engine.asked_cpu >= 0:
            kernel.print(*kernel.work(), after_us=100)
    for area in areas[:4]:
        kernel.print(kernel.free(area), after_us=100)
        if kernel.engine.asked_cpu >= 0:
            kernel.print(*kernel.work(), after_us=100)
    return kernel


def test_a_hand_made_log_is_done_by_the_whole_machine() -> None:
    kernel = busy_kernel()
    report = replayed(kernel)
    assert report.divergences == []
    assert report.nr_operations == sum(row.kind in ("alloc", "free") for row in kernel.events)
    assert report.nr_compared == sum(row.kind == "alloc" for row in kernel.events)
    assert report.timeline is not None
    chunks = report.timeline.machine.percpu.chunks
    real = kernel.engine.percpu.chunks
    assert {n: tuple(c.areas()) for n, c in chunks.items()} == {
        n: tuple(c.areas()) for n, c in real.items()
    }
    assert any("addresses are not comparable" in note for note in report.notes)


def test_a_failed_request_of_the_log_fails_on_the_machine() -> None:
    kernel = busy_kernel()
    failed = kernel.alloc(30000, atomic=True)[-1]
    while failed.kind != "alloc_fail":
        kernel.print(failed, after_us=100)
        if kernel.engine.asked_cpu >= 0:
            kernel.print(*kernel.work(), after_us=100)
        failed = kernel.alloc(30000, atomic=True)[-1]
    kernel.print(failed, after_us=100)
    kernel.print(*kernel.work(), after_us=100)
    report = replayed(kernel)
    assert report.divergences == []
    assert report.timeline is not None
    assert [mark.kind for mark in report.timeline.marks()].count("f") == 1


def test_a_cpu_that_the_machine_has_not_is_taken_for_its_first() -> None:
    kernel = LoggedKernel(CONFIG)
    kernel.print(*kernel.alloc(64, cpu=1))
    kernel.events[0] = kernel.events[0]._replace(cpu=77)
    assert replayed(kernel).divergences == []


def test_a_log_that_begins_late_is_told_by_its_first_allocation() -> None:
    kernel = LoggedKernel(CONFIG)
    kernel.alloc(64)
    kernel.print(*kernel.alloc(64))
    run = LogReplay("hand-made", CONFIG, log_of(kernel.events), early=())
    run.prepare()
    why = run.why_late()
    assert "line 1" in why
    assert "the log has offset 64 of the first chunk, a fresh machine offset 0" in why
    nothing = LogReplay("empty", CONFIG, log_of([]), early=())
    nothing.prepare()
    assert nothing.why_late() == "the log holds no allocation"
