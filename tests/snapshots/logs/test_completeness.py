"""Whether a log holds every operation since boot, and what it lacks if not."""

from __future__ import annotations

import pytest

from snapshots.logs.completeness import Completeness, judge, lost_by_tracer
from snapshots.logs.early_allocs import EarlyAlloc
from snapshots.logs.machine_folder import RealMachine, read_machine_folder
from snapshots.logs.trace_log import LostLine, TraceEvent
from tests.snapshots.conftest import GOLDEN, LOGGED_BASE, LoggedKernel, log_of, small_config

CONFIG = small_config()
UNIT_BYTES = CONFIG.alloc_info().unit_size_bytes


@pytest.fixture
def kernel() -> LoggedKernel:
    return LoggedKernel(CONFIG)


def judged(
    events: list[TraceEvent], *, hashed: bool = False, early: tuple[EarlyAlloc, ...] = ()
) -> Completeness:
    return judge(log_of(events), early, None if hashed else LOGGED_BASE, UNIT_BYTES)


def test_a_log_of_everything_is_complete(kernel: LoggedKernel) -> None:
    areas = [kernel.alloc(size) for size in (64, 30000, 8)]
    for lines in areas:
        kernel.print(*lines)
    kernel.print(kernel.free(areas[1][-1]), kernel.free(areas[0][-1]))
    found = judged(kernel.events)
    assert found.is_complete
    assert found.reasons == []
    assert judged([]).is_complete


def test_a_free_of_something_unknown_is_named(kernel: LoggedKernel) -> None:
    old = kernel.alloc(64)[-1]
    kernel.print(*kernel.alloc(64), kernel.free(old))
    found = judged(kernel.events)
    assert found.reasons == ["1 frees of objects that the log did not allocate, at line 2"]


def test_a_free_of_an_early_object_is_known(kernel: LoggedKernel) -> None:
    old = kernel.alloc(64)[-1]
    kernel.print(*kernel.alloc(64), kernel.free(old))
    early = EarlyAlloc(1, "alloc", 64, 8, False, 0xCC0, "here", old.ptr)
    gone = EarlyAlloc(2, "free", 0, 0, False, 0, "", old.ptr)
    assert judged(kernel.events, early=(early,)).is_complete
    assert not judged(kernel.events, early=(early, gone)).is_complete


def test_an_allocation_on_a_live_area_is_named(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    kernel.print(area, area)
    assert judged(kernel.events).reasons == [
        "1 allocations where the log has something live, at line 2"
    ]


def test_a_chunk_that_nobody_created_is_named(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64), kernel.alloc(30000)[-1])
    assert judged(kernel.events).reasons == [
        "1 chunks were created before tracing began, the first seen at line 2"
    ]


def test_a_destroyed_chunk_is_known_no_longer(kernel: LoggedKernel) -> None:
    lines = kernel.alloc(30000)
    kernel.print(*lines, kernel.free(lines[-1]), lines[0]._replace(kind="destroy"), lines[-1])
    assert list(judged(kernel.events).unknown_bases) == [lines[0].base_addr]


def test_the_first_unit_is_one_chunk_where_pointers_are_hashed(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64), *kernel.alloc(30000))
    assert judged(kernel.events, hashed=True).is_complete
    assert not judged([kernel.events[0], kernel.events[2]], hashed=True).is_complete


def test_lost_events_and_overwritten_entries_are_reasons(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64))
    log = log_of(kernel.events)
    log.lost = [LostLine(3, "CPU:0 [LOST 5 EVENTS]")]
    log.entries_in_buffer, log.entries_written = 5, 9
    assert judge(log, (), LOGGED_BASE, UNIT_BYTES).reasons == [
        "the log says that events were lost, at line 3",
        "the log holds 5 of 9 entries: the ring buffer overwrote the rest",
    ]


def test_long_lists_of_lines_are_cut(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    kernel.print(*[area] * 20)
    reason = judged(kernel.events).reasons[0]
    assert reason.startswith("19 allocations")
    assert reason.endswith("and 7 more")


def test_what_the_tracer_lost_is_told_for_each_cpu() -> None:
    lossy: RealMachine = read_machine_folder(GOLDEN / "kernel-6.1" / "lost-events-2cpu")
    assert lost_by_tracer(lossy) == [
        "CPU 0: the tracer overwrote 2001 and dropped 0 events",
        "CPU 1: the tracer overwrote 3722 and dropped 0 events",
    ]
    whole = read_machine_folder(GOLDEN / "kernel-6.1" / "formats-2cpu")
    assert lost_by_tracer(whole) == []
