"""The catalogue of what a machine tells the outside: one typed row per tracepoint.

Names and fields are those of the kernel's tracepoints where one exists, so that an ftrace log can be read
as a run and a run written as an ftrace log. Rows marked *ours* have no tracepoint in Linux: population,
work and log lines leave no trace line there, and a debugger must show them all the same.

A row has no time: the step and the CPU at which it happened are kept beside it (EventAt).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from kernel_sim.modules.module_events import ModuleFree, ModuleGet, ModuleLoad, ModulePut


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


class MmPageAlloc(NamedTuple):
    """Pages were handed out; pfn is -1 and order what was asked where there were none."""

    pfn: int
    order: int
    gfp_flags: int
    node: int


class MmPageFree(NamedTuple):
    """Pages came back."""

    pfn: int
    order: int


class TlbFlush(NamedTuple):
    """A CPU dropped translations: pages -1 for all; reason 1 asked by another CPU, 2 by itself."""

    reason: int
    pages: int


class PageFaultKernel(NamedTuple):
    """A CPU met an address that it may not use: what CR2 holds and the error code."""

    address: int
    error_code: int


class KmallocNode(NamedTuple):
    """A slab object was handed out; sizes in bytes."""

    call_site: str
    ptr: int
    bytes_req: int
    bytes_alloc: int
    gfp_flags: int
    node: int


class Kfree(NamedTuple):
    """A slab object came back."""

    call_site: str
    ptr: int


class AllocVmapArea(NamedTuple):
    """A vmalloc area was taken; failed: there was no such hole."""

    addr: int
    size: int
    failed: bool


class FreeVmapArea(NamedTuple):
    """A vmalloc area was given back, to be purged later."""

    addr: int


class PurgeVmapAreas(NamedTuple):
    """Lazily freed areas of a range of addresses became free."""

    start: int
    end: int


class CpuhpEnter(NamedTuple):
    """A CPU hotplug callback begins: for which CPU, on the way to which state."""

    for_cpu: int
    target: int
    idx: int
    fun: str


class CpuhpExit(NamedTuple):
    """A CPU hotplug callback ended with ret; state is where the CPU stands now."""

    for_cpu: int
    state: int
    idx: int
    ret: int


class PercpuAddBlock(NamedTuple):
    """Ours: the block allocator made a block, with pages for management and for CPUs."""

    base_addr: int
    management_pages: int
    cpu_pages: int


class PercpuFreeBlock(NamedTuple):
    """Ours: the block allocator gave a block back."""

    base_addr: int


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
    | MmPageAlloc
    | MmPageFree
    | TlbFlush
    | PageFaultKernel
    | KmallocNode
    | Kfree
    | AllocVmapArea
    | FreeVmapArea
    | PurgeVmapAreas
    | CpuhpEnter
    | CpuhpExit
    | ModuleLoad
    | ModuleFree
    | ModuleGet
    | ModulePut
    | PercpuAddBlock
    | PercpuFreeBlock
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
    MmPageAlloc: "mm_page_alloc",
    MmPageFree: "mm_page_free",
    TlbFlush: "tlb_flush",
    PageFaultKernel: "page_fault_kernel",
    KmallocNode: "kmalloc",
    Kfree: "kfree",
    AllocVmapArea: "alloc_vmap_area",
    FreeVmapArea: "free_vmap_area_noflush",
    PurgeVmapAreas: "purge_vmap_area_lazy",
    CpuhpEnter: "cpuhp_enter",
    CpuhpExit: "cpuhp_exit",
    ModuleLoad: "module_load",
    ModuleFree: "module_free",
    ModuleGet: "module_get",
    ModulePut: "module_put",
    PercpuAddBlock: "percpu_add_block",
    PercpuFreeBlock: "percpu_free_block",
}
"""In this order for ever: a recording writes the place of a row, so a new one goes to the end."""
EVENT_TYPES: dict[str, type] = {name: row for row, name in EVENT_NAMES.items()}


class EventAt(NamedTuple):
    """An event with the step and the CPU at which it happened."""

    step: int
    cpu: int
    event: Event
