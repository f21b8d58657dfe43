"""Logs that cannot be predicted are shown as they are, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.logs.completeness import judge
from snapshots.logs.observed import UNKNOWN_OWNER, ObservedReplay
from snapshots.logs.replay import replay_path
from snapshots.logs.report import ReplayReport
from snapshots.logs.trace_log import TraceEvent, pcpu_base_addr_from
from snapshots.recording import open_recording, save_timeline
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT
from snapshots.verify import verify_recording
from tests.snapshots.conftest import (
    GOLDEN,
    LOGGED_BASE,
    LoggedKernel,
    events_of,
    inputs_of,
    log_of,
    plain_lines,
    small_config,
)

CONFIG = small_config(cpus=2, work="scripted")


def observed(events: list[TraceEvent]) -> ReplayReport:
    log = log_of(events)
    completeness = judge(log, (), pcpu_base_addr_from(events), CONFIG.alloc_info().unit_size_bytes)
    return ObservedReplay("hand-made", CONFIG, log, completeness).run()


def areas_of(report: ReplayReport) -> dict[int, list[tuple[int, int]]]:
    assert report.timeline is not None
    chunks = report.timeline.machine.percpu.chunks
    return {
        number: [(bit * 4, bits * 4) for bit, bits in chunk.areas()]
        for number, chunk in chunks.items()
    }


@pytest.fixture
def kernel() -> LoggedKernel:
    return LoggedKernel(CONFIG)


def test_a_log_with_lost_events_is_observed_and_says_why() -> None:
    report = replay_path(GOLDEN / "kernel-6.1" / "lost-events-2cpu")
    assert (report.kind, report.mode) == ("trace", "observed")
    assert report.counts["unmatched_frees"] == 1598
    assert report.nr_compared == 0
    assert report.divergences == []
    notes = "\n".join(report.notes)
    assert "CPU 0: the tracer overwrote 2001 and dropped 0 events" in notes
    assert "the log holds 2071 of 7794 entries" in notes
    assert "1598 frees of objects that the log did not allocate, at line" in notes
    assert report.nr_operations > 2000


def test_an_observed_run_is_a_run_like_any_other(tmp_path: Path) -> None:
    report = replay_path(GOLDEN / "kernel-6.1" / "lost-events-2cpu")
    assert report.timeline is not None
    path = tmp_path / "observed.kms"
    save_timeline(path, report.timeline, report.origin())
    assert verify_recording(path) == []
    opened = open_recording(path)
    assert (opened.origin.mode, opened.origin.source) == ("observed", "lost-events-2cpu")
    opened.timeline.seek(NO_LIMIT)
    assert state_digest(opened.timeline.machine) == state_digest(report.timeline.machine)
    opened.reader.close()


def test_areas_lie_where_the_log_has_them(kernel: LoggedKernel) -> None:
    kernel.print(*(kernel.alloc(64)[-1]._replace(off=off, ptr=off) for off in (1024, 4096)))
    events = [row._replace(base_addr=LOGGED_BASE, ptr=row.off) for row in kernel.events]
    report = observed(events)
    assert areas_of(report)[0] == [(1024, 64), (4096, 64)]
    assert report.nr_operations == 2


def test_objects_from_before_the_log_are_known_by_their_frees(kernel: LoggedKernel) -> None:
    old = kernel.alloc(64)[-1]
    new = kernel.alloc(64)[-1]
    kernel.print(new, kernel.free(old))
    report = observed(kernel.events)
    assert report.counts["unmatched_frees"] == 1
    assert report.counts["unknown_earlier_objects"] == 1
    assert report.counts["lines_left_out"] == 0
    assert areas_of(report)[0] == [(64, 64)]
    assert report.timeline is not None
    first = report.timeline.input_at(0)
    assert (first.do, first.args[5], first.by) == ("adopt_alloc", UNKNOWN_OWNER, "before the log")
    assert any("1 frees of objects that the log did not allocate" in note for note in report.notes)


def test_a_second_free_of_nothing_known_is_left_out(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    freed = kernel.free(area)
    kernel.print(area, freed, freed)
    report = observed(kernel.events)
    assert report.counts["lines_left_out"] == 1
    assert any("lines left out" in note and "3" in note for note in report.notes)


def test_an_allocation_on_top_of_another_means_a_free_was_lost(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    kernel.print(area, area._replace(size=128))
    report = observed(kernel.events)
    assert areas_of(report)[0] == [(0, 128)]
    assert any(
        "1 allocations where the log has something live, at line 2" in n for n in report.notes
    )


def test_chunks_from_before_the_log_are_there_from_the_start(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64))
    lines = kernel.alloc(30000)
    kernel.print(lines[-1])
    report = observed(kernel.events)
    assert set(areas_of(report)) == {0, 1}
    assert areas_of(report)[1] == [(0, 30000)]
    assert any("1 chunks were created before tracing began" in note for note in report.notes)


def test_chunks_come_and_go_with_their_lines(kernel: LoggedKernel) -> None:
    areas = []
    for _ in range(3):
        lines = kernel.alloc(30000)
        kernel.print(*lines)
        areas.append(lines[-1])
    for area in areas:
        kernel.print(kernel.free(area))
    destroyed = kernel.work()
    kernel.print(*destroyed)
    report = observed(kernel.events)
    assert report.timeline is not None
    marks = [mark.kind for mark in report.timeline.marks()]
    assert (marks.count("c"), marks.count("d")) == (3, len(destroyed))
    assert len(destroyed) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"off": 1 << 40},
        {"off": 3},
        {"off": -4},
        {"size": 1 << 40},
        {"size": 0},
        {"cpu": 999},
        {"cpu": None},
        {"align": 7},
    ],
)
def test_impossible_lines_do_no_harm(kernel: LoggedKernel, change: dict[str, object]) -> None:
    kernel.print(*kernel.alloc(64), *kernel.alloc(64), *kernel.alloc(8))
    kernel.events[1] = kernel.events[1]._replace(**change)
    report = observed(kernel.events)
    assert (0, 64) in areas_of(report)[0]
    assert (128, 8) in areas_of(report)[0]


def test_an_observed_run_can_be_gone_through_backwards(kernel: LoggedKernel) -> None:
    for size in (64, 30000, 4096, 8):
        kernel.print(*kernel.alloc(size))
    report = observed(kernel.events[2:])
    timeline = report.timeline
    assert timeline is not None
    events, inputs = events_of(timeline), inputs_of(timeline)
    end = state_digest(timeline.machine)
    timeline.seek(0)
    timeline.seek(NO_LIMIT)
    assert state_digest(timeline.machine) == end
    assert (events_of(timeline), inputs_of(timeline)) == (events, inputs)


def test_a_log_without_a_machine_is_shown_on_one_that_is_guessed(tmp_path: Path) -> None:
    trace = GOLDEN / "kernel-6.1" / "formats-2cpu" / "trace.txt.gz"
    path = tmp_path / "trace.txt"
    path.write_text("".join(plain_lines(trace)))
    report = replay_path(path)
    assert report.mode == "observed"
    assert any("the machine is not known" in note for note in report.notes)
    assert report.timeline is not None
    assert len(report.timeline.machine.cpus) == 2


def test_a_log_that_begins_late_is_observed(tmp_path: Path) -> None:
    folder = GOLDEN / "kernel-6.1" / "formats-2cpu"
    for name in ("dmesg-percpu.txt", "cmdline", "version", "trace-stats"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    lines = [line for line in plain_lines(folder / "trace.txt.gz") if not line.startswith("# entr")]
    (tmp_path / "trace.txt").write_text("".join(lines[:11] + lines[300:]))
    report = replay_path(tmp_path)
    assert report.mode == "observed"
    assert report.divergences == []
    assert "1 chunks were created before tracing began, the first seen at line" in report.notes[-1]


def test_hashed_pointers_without_a_machine_are_shown_too(tmp_path: Path) -> None:
    trace = GOLDEN / "kernel-6.1" / "hashed-kaslr-2cpu" / "trace.txt.gz"
    path = tmp_path / "trace.txt"
    path.write_text("".join(plain_lines(trace)[:3000]))
    report = replay_path(path)
    assert report.mode == "observed"
    assert report.nr_operations > 2000
    assert report.timeline is not None
    report.timeline.seek(0)
