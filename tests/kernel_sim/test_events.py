"""The catalogue of events."""

from __future__ import annotations

from typing import get_args

from kernel_sim.events import (
    EVENT_NAMES,
    EVENT_TYPES,
    Event,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuCreateChunk,
    PercpuDestroyChunk,
    PercpuFreePercpu,
)


def test_every_event_has_one_name() -> None:
    assert tuple(EVENT_NAMES) == get_args(Event)
    assert {name: row for row, name in EVENT_NAMES.items()} == EVENT_TYPES
    assert len(EVENT_TYPES) == len(EVENT_NAMES)


def test_fields_are_those_of_the_kernels_tracepoints() -> None:
    """As `format` files of Linux 6.1 list them; 6.1 is the first release with call_site."""
    fields = {EVENT_NAMES[row]: row._fields for row in (
        PercpuAllocPercpu, PercpuFreePercpu, PercpuAllocPercpuFail, PercpuCreateChunk,
        PercpuDestroyChunk,
    )}  # fmt: skip
    assert fields == {
        "percpu_alloc_percpu": (
            "call_site", "reserved", "is_atomic", "size", "align", "base_addr", "off", "ptr",
            "bytes_alloc", "gfp_flags",
        ),
        "percpu_free_percpu": ("base_addr", "off", "ptr"),
        "percpu_alloc_percpu_fail": ("reserved", "is_atomic", "size", "align"),
        "percpu_create_chunk": ("base_addr",),
        "percpu_destroy_chunk": ("base_addr",),
    }  # fmt: skip
