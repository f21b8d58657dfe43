"""The catalogue of what a machine tells the outside: one typed row per tracepoint.

Names and fields are those of the kernel's tracepoints where one exists, so that an ftrace log can be read
as a run and a run written as an ftrace log. Rows marked *ours* have no tracepoint in Linux: population,
work and log lines leave no trace line there, and a debugger must show them all the same.

A row has no time: the step and the CPU at which it happened are kept beside it (EventAt).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class PercpuAllocPercpu(NamedTuple):
    """An allocation succeeded; sizes and offsets in bytes."""

    call_site: str
    reserved: bool
    is_atomic: bool
    size: int
    align: int
    base_addr: int
    off: int
    ptr: int
    bytes_alloc: int
    gfp_flags: int


class PercpuFreePercpu(NamedTuple):
    """An area was given back."""

    base_addr: int
    off: int
    ptr: int


class PercpuAllocPercpuFail(NamedTuple):
    """A request found no room or no page."""

    reserved: bool
    is_atomic: bool
    size: int
    align: int


class PercpuCreateChunk(NamedTuple):
    """A chunk exists; it is not on a list yet."""

    base_addr: int


class PercpuDestroyChunk(NamedTuple):
    """A chunk is gone, its pages before it."""

    base_addr: int


class PercpuPopulate(NamedTuple):
    """Ours: pages [page_start, page_end) of every unit of a chunk were backed."""

    base_addr: int
    page_start: int
    page_end: int


class PercpuDepopulate(NamedTuple):
    """Ours: pages [page_start, page_end) of every unit of a chunk went back to the page allocator."""

    base_addr: int
    page_start: int
    page_end: int


class WorkQueued(NamedTuple):
    """Ours: the background work was asked for and is now queued on the CPU that asked."""

    work: str


class WorkBegan(NamedTuple):
    """Ours: a kworker took the work up."""

    work: str


class Printk(NamedTuple):
    """Ours: the kernel printed a line."""

    level: int
    text: str


Event: TypeAlias = (
    PercpuAllocPercpu
    | PercpuFreePercpu
    | PercpuAllocPercpuFail
    | PercpuCreateChunk
    | PercpuDestroyChunk
    | PercpuPopulate
    | PercpuDepopulate
    | WorkQueued
    | WorkBegan
    | Printk
)

EVENT_NAMES: dict[type, str] = {
    PercpuAllocPercpu: "percpu_alloc_percpu",
    PercpuFreePercpu: "percpu_free_percpu",
    PercpuAllocPercpuFail: "percpu_alloc_percpu_fail",
    PercpuCreateChunk: "percpu_create_chunk",
    PercpuDestroyChunk: "percpu_destroy_chunk",
    PercpuPopulate: "percpu_populate",
    PercpuDepopulate: "percpu_depopulate",
    WorkQueued: "workqueue_queue_work",
    WorkBegan: "workqueue_execute_start",
    Printk: "console",
}
EVENT_TYPES: dict[str, type] = {name: row for row, name in EVENT_NAMES.items()}


class EventAt(NamedTuple):
    """An event with the step and the CPU at which it happened."""

    step: int
    cpu: int
    event: Event
