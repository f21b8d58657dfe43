"""A line is as the kernel writes it, and our reader of real logs reads it back field by field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.events import (
    EVENT_TYPES,
    Event,
    MmPageAlloc,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuCreateChunk,
    PercpuDestroyChunk,
    PercpuFreePercpu,
    Printk,
    TlbFlush,
    WorkQueued,
)
from kernel_sim.mm.gfp import gfp_from_text
from snapshots.export.trace_text import (
    fields_text,
    stamp_text,
    task_text,
    trace_header,
    trace_line,
    what_text,
)
from snapshots.logs.ftrace import parse_trace

ADDRESS = st.integers(0, (1 << 64) - 1)
SIZE = st.integers(0, 1 << 20)
FLAG = st.booleans()
SITE = st.sampled_from(["", "f+0x1/0x2", "__kmem_cache_create+0x366"])
PERCPU_EVENTS = st.one_of(
    st.builds(
        PercpuAllocPercpu, SITE, FLAG, FLAG, SIZE, SIZE, ADDRESS, SIZE, ADDRESS, SIZE,
        st.sampled_from([0xCC0, 0xA20, 0x400DC0]),
    ),
    st.builds(PercpuFreePercpu, ADDRESS, SIZE, ADDRESS),
    st.builds(PercpuAllocPercpuFail, FLAG, FLAG, SIZE, SIZE),
    st.builds(PercpuCreateChunk, ADDRESS),
    st.builds(PercpuDestroyChunk, ADDRESS),
)  # fmt: skip


def line_of(event: Event, *, step: int = 65870, cpu: int = 2, irq: bool = False) -> str:
    return trace_line(step, cpu, "ip-792", event, irq=irq, word_bytes=8)


def test_an_allocation_reads_as_in_the_log_of_a_real_kernel() -> None:
    event = PercpuAllocPercpu(
        "alloc_desc+0x50/0x250", False, False, 4, 4, 0xFFFF88807B437000, 2208, 0x378A0, 16, 0xCC0
    )
    real = (
        "          <idle>-0       [000] .....     0.618678: percpu_alloc_percpu:"
        " call_site=alloc_desc+0x50/0x250 reserved=0 is_atomic=0 size=4 align=4"
        " base_addr=ffff88807b437000 off=2208 ptr=00000000000378a0 bytes_alloc=16"
        " gfp_flags=GFP_KERNEL\n"
    )
    assert trace_line(618678, 0, "<idle>-0", event, irq=False, word_bytes=8) == real


def test_a_free_reads_as_in_the_log_of_a_real_kernel() -> None:
    event = PercpuFreePercpu(0xFFFFC90000037000, 9832, 0x39668)
    real = (
        "            init-1       [000] d..1.     1.506394: percpu_free_percpu:"
        " base_addr=ffffc90000037000 off=9832 ptr=0000000000039668\n"
    )
    assert trace_line(1506394, 0, "init-1", event, irq=False, word_bytes=8) == real


@given(PERCPU_EVENTS, st.integers(0, 1 << 40), st.integers(0, 4095), FLAG)
def test_our_reader_reads_every_field_back(event: Event, step: int, cpu: int, irq: bool) -> None:
    log = parse_trace([line_of(event, step=step, cpu=cpu, irq=irq)], "test")
    [read] = log.events
    assert (read.task, read.pid, read.cpu, read.stamp) == ("ip", 792, cpu, step * 1000)
    assert ((read.flags or "")[2] == "h") == irq
    for name, value in event._asdict().items():
        if name == "gfp_flags":
            assert gfp_from_text(read.gfp) == value
        else:
            assert getattr(read, name) == value


def test_the_header_tells_that_nothing_was_lost() -> None:
    event = line_of(PercpuCreateChunk(0xFFFFE8FFFF000000))
    log = parse_trace((trace_header(1, 4) + event).splitlines(keepends=True), "test")
    assert (log.entries_in_buffer, log.entries_written, log.nr_cpus) == (1, 1, 4)
    assert log.is_complete


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Printk(6, "one\ntwo \x1b[31m"), "<6>one?two ?[31m"),
        (TlbFlush(1, -1), "pages:-1 reason:remote shootdown"),
        (MmPageAlloc(-1, 0, 0xCC0, 0), "pfn=-0x1 order=0 gfp_flags=GFP_KERNEL node=0"),
        (WorkQueued("pcpu_balance_work"), "work=pcpu_balance_work"),
    ],
)
def test_other_events_are_one_line_each(event: Event, fields: str) -> None:
    assert fields_text(event, 8) == fields
    assert line_of(event).count("\n") == 1


def test_32_bit_pointers_have_eight_digits() -> None:
    assert fields_text(PercpuCreateChunk(0xC1000000), 4) == "base_addr=c1000000"


def test_every_event_of_the_catalogue_has_a_text() -> None:
    for kind in EVENT_TYPES.values():
        event = kind(*(1 for _ in kind._fields))  # type: ignore[attr-defined]
        assert fields_text(event, 8)


@pytest.mark.parametrize(
    ("by", "task"),
    [
        ("ip-792", "ip-792"),
        ("kworker/u8:1-260", "kworker/u8:1-260"),
        ("", "task-7"),
        ("boot", "boot-7"),
        ("# kmemscope x\n-1", "? kmemscope x?-1"),
        ("a" * 500, "a" * 120 + "-7"),
    ],
)
def test_a_task_is_a_name_and_a_pid_on_one_line(by: str, task: str) -> None:
    assert task_text(by, 7) == task


def test_a_position_is_a_time_in_microseconds() -> None:
    assert stamp_text(0) == "0.000000"
    assert stamp_text(65870) == "0.065870"
    assert stamp_text(12_000_001) == "12.000001"
    assert what_text(5, PercpuCreateChunk(1), 4) == (
        "    0.000005: percpu_create_chunk: base_addr=00000001"
    )
