from __future__ import annotations

import pytest

from snapshots.errors import TraceError
from snapshots.logs.trace_log import (
    TraceEvent,
    TraceLog,
    pcpu_base_addr_from,
    pointers_look_hashed,
    possible_cpus_from,
)

BASE = 0xFFFF88803C400000
CHUNK = 0xFFFFE8FFFFC00000
MASK = (1 << 64) - 1


def alloc(size: int, bytes_alloc: int, line_no: int = 1) -> TraceEvent:
    return TraceEvent(
        line_no, "alloc", "a", 1, 0, None, 1, size=size, align=4, bytes_alloc=bytes_alloc,
        base_addr=CHUNK, ptr=CHUNK - BASE & MASK,
    )  # fmt: skip


def free(base: int, off: int, ptr: int) -> TraceEvent:
    return TraceEvent(1, "free", "a", 1, 0, None, 1, base_addr=base, off=off, ptr=ptr)


def log_of(*events: TraceEvent) -> TraceLog:
    return TraceLog("x", "default", "time", "ns", events=list(events))


@pytest.mark.parametrize(("size", "bytes_alloc", "cpus"), [(4, 16, 2), (5, 48, 4), (272, 816, 1)])
def test_the_price_of_an_area_tells_the_possible_cpus(
    size: int, bytes_alloc: int, cpus: int
) -> None:
    assert possible_cpus_from([alloc(size, bytes_alloc)]) == cpus


def test_without_a_price_the_cpus_are_unknown() -> None:
    assert possible_cpus_from([alloc(4, 0), free(CHUNK, 0, 0)]) is None


@pytest.mark.parametrize(("size", "bytes_alloc"), [(4, 20), (8, 33)])
def test_prices_that_disagree_are_refused_with_their_line(size: int, bytes_alloc: int) -> None:
    with pytest.raises(TraceError, match=r"line 9: .*expected 2 as on line 1"):
        possible_cpus_from([alloc(4, 16), alloc(size, bytes_alloc, line_no=9)])


def test_kernels_without_cgroup_pointers_are_known_by_too_few_cpus() -> None:
    assert possible_cpus_from([alloc(8, 32)], nr_online=4) == 4
    assert possible_cpus_from([alloc(8, 8)]) == 1


def test_real_pointers_agree_on_the_base_of_all_units() -> None:
    events = [free(CHUNK, off, CHUNK + off - BASE & MASK) for off in (0, 8, 4096)]
    assert pcpu_base_addr_from(events) == BASE
    assert not pointers_look_hashed(log_of(*events))


def test_pointers_of_32_bit_kernels_are_real_too() -> None:
    events = [free(0xF7800000, 8, 0xF7800008 - 0xF7A00000 & 0xFFFFFFFF), free(0xF7A00000, 4, 4)]
    assert pcpu_base_addr_from(events) == 0xF7A00000


def test_hashed_pointers_disagree() -> None:
    assert pointers_look_hashed(log_of(free(0x440F8000, 0, 0x286903D6), free(0x440F8000, 4, 0x81)))


def test_a_base_inside_a_page_is_hashed() -> None:
    assert pointers_look_hashed(log_of(free(0x440F89F2, 8, 0x286903D6)))


def test_a_log_without_pointers_does_not_look_hashed() -> None:
    assert not pointers_look_hashed(log_of())
