"""Runs to ask about, and the slow model: every step sought afresh, values read by hand-written functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from snapshots.timeline import Timeline
from tests.snapshots.conftest import BUSY, GFP_KERNEL, recorded, small_config

INPUTS_OF_SEGMENT = 5
LAST = [
    *(("free", n, n * 5) for n in range(9)),
    ("drain",),
    ("knob", 1, ("purge_vmap",)),
    ("drain",),
]


@contextmanager
def short_segments(inputs: int) -> Iterator[None]:
    """Close a segment every few inputs."""
    with mock.patch("snapshots.timeline.KEYFRAME_EVERY_INPUTS", inputs):
        yield


@pytest.fixture(scope="module")
def run() -> Timeline:
    """A run in short segments, standing at its end."""
    with short_segments(INPUTS_OF_SEGMENT):
        again = [("free", 1, 0), ("drain",), ("alloc", 2, 8192, 64, GFP_KERNEL), ("drain",)]
        timeline = recorded(
            small_config(cpus=3, policy="random", seed=3), [*BUSY, *again * 3, *LAST]
        )
    assert len(timeline.heads) > 4
    return timeline


# -- the slow model ------------------------------------------------------------------------------------

Read = Callable[[Timeline], object]


def _chunk(number: int, what: str) -> Read:
    def read(timeline: Timeline) -> object:
        chunk = timeline.machine.percpu.chunks.get(number)
        return None if chunk is None else getattr(chunk, what)

    return read


def _memory(machine: Machine, virt: int, nr_bytes: int) -> int | None:
    """Read byte by byte, each through a walk of its own."""
    value = 0
    for place in range(nr_bytes):
        phys = machine.space.walk(virt + place).phys
        if phys is None:
            return None
        value |= machine.memory.read(phys, 1)[0] << 8 * place
    return value


def first_ptr(timeline: Timeline) -> int:
    """The __percpu pointer of the first allocation of the run."""
    events = (timeline.event_at(number).event for number in range(timeline.nr_events))
    return next(event.ptr for event in events if type(event).__name__ == "PercpuAllocPercpu")  # type: ignore[union-attr]


def chunk_base(timeline: Timeline) -> int:
    """Where unit 0 of the first dynamic chunk of the run lies."""
    events = (timeline.event_at(number).event for number in range(timeline.nr_events))
    return next(event.base_addr for event in events if type(event).__name__ == "PercpuCreateChunk")  # type: ignore[union-attr]


def readings(timeline: Timeline) -> dict[str, Read]:
    """Expressions, each with a function that says the same without the compiler and the catalogue."""
    ptr, base = first_ptr(timeline), chunk_base(timeline)
    last_unit = max(timeline.machine.cpus)

    def copy_of(machine: Machine, cpu: int) -> int | None:
        return _memory(machine, ptr + machine.per_cpu_offset(cpu), 1)

    def live(timeline: Timeline) -> bool:
        percpu = timeline.machine.percpu
        return any(
            chunk.base_addr + 4 * bit == percpu.addr_of(ptr)
            for chunk in percpu.chunks.values()
            for bit, _ in chunk.areas()
        )

    def happened(timeline: Timeline, name: str) -> int:
        rows = [timeline.event_at(n) for n in range(timeline.events_before(timeline.step))]
        return sum(type(row.event).__name__ == name for row in rows)

    def born(timeline: Timeline) -> int:
        rows = [timeline.event_at(n).event for n in range(timeline.events_before(timeline.step))]
        return sum(type(row).__name__ == "PercpuAllocPercpu" and row.ptr == ptr for row in rows)  # type: ignore[union-attr]

    def below(timeline: Timeline) -> bool:
        chunk = timeline.machine.percpu.chunks.get(1)
        return chunk is not None and chunk.free_bytes < 20000

    def entry(timeline: Timeline) -> int:
        walk = timeline.machine.space.walk(base)
        return 0 if walk.phys is None else walk.levels[-1].entry

    def gone(timeline: Timeline) -> bool:
        chunks = timeline.machine.percpu.chunks
        return 1 not in chunks and (2 in chunks or timeline.machine.work.queued_cpu >= 0)

    return {
        "chunk[0].free_bytes": _chunk(0, "free_bytes"),
        "chunk[1].nr_populated": _chunk(1, "nr_populated"),
        "chunk[2].nr_alloc": _chunk(2, "nr_alloc"),
        "chunk[1].exists": lambda timeline: 1 in timeline.machine.percpu.chunks,
        "zone[1].free_pages": lambda timeline: timeline.machine.pages.zones[1].buddy.nr_free_pages,
        "percpu.nr_chunks": lambda timeline: timeline.machine.percpu.statistics.nr_chunks,
        "cpu[1].call": lambda timeline: (
            timeline.machine.cpus[1].stack[-1].name if timeline.machine.cpus[1].stack else None
        ),
        f"cpu[{last_unit}].nr_calls": lambda timeline: len(timeline.machine.cpus[last_unit].stack),
        "vmalloc.nr_areas + vmalloc.nr_lazy": lambda timeline: (
            len(timeline.machine.vmalloc.areas) + len(timeline.machine.vmalloc.lazy)
        ),
        "work.queued_cpu": lambda timeline: timeline.machine.work.queued_cpu,
        "log.nr_lines": lambda timeline: len(timeline.machine.kernel_log),
        f"percpu[{ptr}, all, 1]": lambda timeline: tuple(
            copy_of(timeline.machine, cpu) for cpu in timeline.machine.topology.possible
        ),
        f"percpu[{ptr}, 1, 1]": lambda timeline: copy_of(timeline.machine, 1),
        f"mem[{base}, 4]": lambda timeline: _memory(timeline.machine, base, 4),
        f"pte[{base + 2 * PAGE_SIZE_BYTES}].present": lambda timeline: (
            timeline.machine.space.walk(base + 2 * PAGE_SIZE_BYTES).phys is not None
        ),
        f"pte[{base}]": entry,
        f"area[{ptr}].live": live,
        f"area[{ptr}].generation": born,
        "nr_events[percpu_free_percpu]": lambda timeline: happened(timeline, "PercpuFreePercpu"),
        "nr_events": lambda timeline: timeline.events_before(timeline.step),
        "fault": lambda timeline: timeline.machine.fault is not None,
        "chunk[1].free_bytes < 20000": below,
        "not chunk[1].exists and (chunk[2].exists or work.queued_cpu >= 0)": gone,
        "step & 4": lambda timeline: timeline.step & 4,
        "step & 6": lambda timeline: timeline.step & 6,  # true values that change
    }


def scan(timeline: Timeline, read: Read) -> list[object]:
    """The value at every step from the first to the last, each sought afresh."""
    here = timeline.step
    values: list[object] = []
    for step in range(timeline.first_step, timeline.end_step + 1):
        timeline.seek(step)
        values.append(read(timeline))
    timeline.seek(here)
    return values


def changes_in(values: list[object], first_step: int) -> list[tuple[int, object, object]]:
    """(step, old, new) of every change among the values of all steps."""
    return [
        (first_step + at, values[at - 1], values[at])
        for at in range(1, len(values))
        if values[at] != values[at - 1]
    ]
