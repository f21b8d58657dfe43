"""An event in a few words: a short name and what matters of it, for rows where room is short.

percpu_alloc_percpu …    ──►  alloc    32 B first+0x2f0 f+0x1
mm_page_alloc …          ──►  page+    0x1f3 order 0 of node 1
"""

from __future__ import annotations

from kernel_sim.events import (
    AllocVmapArea,
    CpuhpEnter,
    CpuhpExit,
    Event,
    FreeVmapArea,
    Kfree,
    KmallocNode,
    MmPageAlloc,
    MmPageFree,
    PageFaultKernel,
    PercpuAddBlock,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuCreateChunk,
    PercpuDepopulate,
    PercpuDestroyChunk,
    PercpuFreeBlock,
    PercpuFreePercpu,
    PercpuPopulate,
    Printk,
    PurgeVmapAreas,
    TlbFlush,
    WorkBegan,
    WorkQueued,
)
from kernel_sim.modules.module_events import ModuleFree, ModuleGet, ModuleLoad, ModulePut
from kernel_sim.percpu.chunk import RESERVED
from tui.debugger.event_text import event_fields
from tui.debugger.session import Session

GONE_MASK = (1 << 32) - 1
Brief = tuple[str, str]


def event_brief(session: Session, event: Event) -> Brief:
    """Return an event as a short name, at most 6 characters, and what matters of it."""
    brief = _of_percpu(session, event) or _of_memory(event) or _of_machine(event)
    return brief or (type(event).__name__[:6], event_fields(event))


def _of_percpu(session: Session, event: Event) -> Brief | None:
    match event:
        case PercpuAllocPercpu():
            atomic = " atomic" if event.is_atomic else ""
            where = _area_text(session, event)
            return "alloc", f"{event.size} B {where}{atomic} {event.call_site}"
        case PercpuFreePercpu():
            return "free", _area_text(session, event)
        case PercpuAllocPercpuFail():
            atomic = " atomic" if event.is_atomic else ""
            return "fail!", f"{event.size} B, align {event.align}{atomic}"
        case PercpuCreateChunk():
            return "chunk+", f"created at {event.base_addr:#x}"
        case PercpuDestroyChunk():
            return "chunk−", f"destroyed at {event.base_addr:#x}"
        case PercpuAddBlock():
            pages = f"{event.cpu_pages} pages and {event.management_pages} of management"
            return "block+", f"{event.base_addr:#x}, {pages}"
        case PercpuFreeBlock():
            return "block−", f"{event.base_addr:#x}"
        case PercpuPopulate():
            pages = _pages(event.page_start, event.page_end)
            return "pages+", f"{pages} of {_name(session, event.base_addr)}"
        case PercpuDepopulate():
            pages = _pages(event.page_start, event.page_end)
            return "pages−", f"{pages} of {_name(session, event.base_addr)}"
        case WorkQueued():
            return "work", f"{event.work} queued"
        case WorkBegan():
            return "work", f"{event.work} begins"
        case Printk():
            return "log", event.text
    return None


def _of_memory(event: Event) -> Brief | None:
    match event:
        case MmPageAlloc():
            if event.pfn < 0:
                return "page!", f"no page of order {event.order} for node {event.node}"
            return "page+", f"{event.pfn:#x} order {event.order} of node {event.node}"
        case MmPageFree():
            return "page−", f"{event.pfn:#x} order {event.order}"
        case KmallocNode():
            return "slab+", f"{event.bytes_req} B at {event.ptr:#x}, room {event.bytes_alloc}"
        case Kfree():
            return "slab−", f"{event.ptr:#x}"
        case AllocVmapArea():
            if event.failed:
                return "vmap!", f"no room for {event.size} B"
            return "vmap+", f"{event.size} B at {event.addr:#x}"
        case FreeVmapArea():
            return "vmap−", f"{event.addr:#x}, not flushed yet"
        case PurgeVmapAreas():
            return "purge", f"{event.start:#x}-{event.end:#x}"
        case TlbFlush():
            pages = "all" if event.pages < 0 else f"{event.pages} page{'s' * (event.pages != 1)}"
            return "flush", f"{pages}, {event_fields(event).rpartition(':')[2]}"
        case PageFaultKernel():
            return "fault!", f"{event.address:#x} error code {event.error_code:#x}"
    return None


def _of_machine(event: Event) -> Brief | None:
    match event:
        case CpuhpEnter():
            return "cpuhp", f"cpu {event.for_cpu}: {event.idx} {event.fun}"
        case CpuhpExit():
            if event.ret:
                return "cpuhp!", f"cpu {event.for_cpu}: {event.idx} failed with {event.ret}"
            return "cpuhp", f"cpu {event.for_cpu}: {event.idx} done"
        case ModuleLoad():
            return "insmod", event.name
        case ModuleFree():
            return "rmmod", event.name
        case ModuleGet():
            return "get", f"{event.name}, refcnt {event.refcnt}"
        case ModulePut():
            return "put", f"{event.name}, refcnt {event.refcnt}"
    return None


def _pages(start: int, end: int) -> str:
    return str(start) if end == start + 1 else f"{start}-{end - 1}"


def _area_text(session: Session, event: PercpuAllocPercpu | PercpuFreePercpu) -> str:
    """Return a place in a chunk; of a system without the bitmap allocator's chunks the ptr."""
    if session.machine.bitmap is None:
        return f"{event.ptr:#x}"
    return f"{_name(session, event.base_addr)}+{event.off:#x}"


def _name(session: Session, base_addr: int) -> str:
    """Return a chunk's short name; one that is not there now goes by the end of its address."""
    percpu = session.machine.bitmap
    chunks = percpu.chunks if percpu is not None else {}
    number = next((each for each in chunks if chunks[each].base_addr == base_addr), None)
    if number is None:
        return f"…{base_addr & GONE_MASK:08x}"
    return {0: "first", RESERVED: "reserved"}.get(number, f"chunk {number}")
