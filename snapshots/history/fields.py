"""What can be asked of a machine: components, their parts and their fields, one row each.

    chunk[3].free_bytes      component `chunk`, found by its number, field `free_bytes`
    percpu[runqueues, 2]     component `percpu[]`: what is found is the value itself
    percpu.nr_alloc          component `percpu`, of which there is one

Completion, help and the compiler all read this table; a new field is a new row. A getter only looks: it
changes nothing, and what is not there is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kernel_sim.mm.paging import PRESENT, flag_names
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES, MdBlock
from snapshots.history.field_rows import (
    ADDRESS,
    BITS,
    BYTES,
    BYTES_MAX,
    COUNT,
    EITHER,
    NUMBER,
    PAGES,
    TEXT,
    Component,
    Parameter,
    Row,
    Rows,
    flag,
    number,
    text_row,
)
from snapshots.history.sight import (
    ALL_CPUS,
    Sight,
    area_at,
    bytes_at,
    call_of,
    frames_bytes,
    leaf_at,
    percpu_value,
    zone_named,
    zone_numbered,
)
from snapshots.history.system_fields import SYSTEM_COMPONENTS

EXISTS: Final = "exists"
_EXISTS: Final = flag("whether it is there; never missing itself", lambda thing: thing is not None)


def _hints(of: Callable[[Any], MdBlock]) -> Rows:
    """Return the rows of a block's or a chunk's hints."""
    return {
        "contig_hint_bytes": number(
            BYTES, "largest free run known", lambda it: of(it).contig_hint * MIN_ALLOC_BYTES
        ),
        "contig_hint_start": number(
            BITS, "where that run begins", lambda it: of(it).contig_hint_start
        ),
        "scan_hint_bytes": number(
            BYTES, "a smaller run before it", lambda it: of(it).scan_hint * MIN_ALLOC_BYTES
        ),
        "first_free": number(BITS, "first free bit", lambda it: of(it).first_free),
        "left_free": number(BITS, "free bits at the beginning", lambda it: of(it).left_free),
        "right_free": number(BITS, "free bits at the end", lambda it: of(it).right_free),
    }


_CHUNK: Final[Rows] = {
    EXISTS: _EXISTS,
    "free_bytes": number(BYTES, "not allocated", lambda it: it.free_bytes),
    "nr_alloc": number(COUNT, "live areas", lambda it: it.nr_alloc),
    "max_alloc_bytes": number(BYTES, "largest area ever", lambda it: it.max_alloc_bytes),
    "nr_pages": number(PAGES, "of a unit", lambda it: it.nr_pages),
    "nr_populated": number(PAGES, "of a unit that are backed", lambda it: it.nr_populated),
    "nr_empty_pop_pages": number(
        PAGES, "backed and without an area", lambda it: it.nr_empty_pop_pages
    ),
    "populated": number(COUNT, "bit i: page i is backed", lambda it: it.populated),
    "base_addr": number(ADDRESS, "of unit 0", lambda it: it.base_addr),
    "slot": number(COUNT, "list it is on; -1 none", lambda it: it.slot),
    "isolated": flag("kept from allocations", lambda it: it.isolated),
    "immutable": flag("no pages come or go", lambda it: it.immutable),
    "written": flag("may hold bytes other than zero", lambda it: it.written),
    **_hints(lambda it: it.md),
}
_ZONE: Final[Rows] = {
    "name": text_row("DMA, DMA32, Normal or HighMem", lambda it: it.name),
    "node": number(COUNT, "it belongs to", lambda it: it.node),
    "free_pages": number(PAGES, "free in the buddy allocator", lambda it: it.buddy.nr_free_pages),
    "list_pages": number(PAGES, "on the lists of CPUs", lambda it: it.nr_list_pages),
    "present_pages": number(PAGES, "of memory", lambda it: it.buddy.nr_present_pages),
    "reserved_pages": number(PAGES, "set aside", lambda it: it.buddy.nr_reserved_pages),
    "nr_blocks": number(COUNT, "allocated blocks", lambda it: len(it.buddy.allocated)),
    **{
        name: number(COUNT, f"counter {name}", lambda it, place=place: it.numa[place])  # type: ignore[misc]
        for place, name in enumerate(
            ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")
        )
    },
}
_CPU: Final[Rows] = {
    EXISTS: _EXISTS,
    "online": flag("whether it runs", lambda it: it.online),
    "node": number(COUNT, "its NUMA node", lambda it: it.node),
    "hotplug_state": number(COUNT, "last step of coming up", lambda it: it.hotplug_state),
    "gs_base": number(ADDRESS, "base register (fs on i386)", lambda it: it.gs_base),
    "call": text_row("the call under way", lambda it: call_of(it, "name")),
    "function": text_row("innermost kernel function under way", lambda it: call_of(it, "function")),
    "context": text_row("task, irq, kworker, kthread, stopper", lambda it: call_of(it, "context")),
    "waits_for": text_row("the lock it asked for", lambda it: call_of(it, "wish")),
    "nr_calls": number(COUNT, "under way, interrupted ones too", lambda it: len(it.stack)),
    "nr_pending": number(
        COUNT, "calls and interrupts in line", lambda it: len(it.pending) + len(it.interrupts)
    ),
}
_STATISTICS: Final = {
    "nr_alloc": "allocations since boot",
    "nr_dealloc": "frees since boot",
    "nr_cur_alloc": "live areas",
    "nr_max_alloc": "most live areas ever",
    "nr_chunks": "chunks",
    "nr_max_chunks": "most chunks ever",
}
_PERCPU: Final[Rows] = {
    **{
        name: number(COUNT, text, lambda it, name=name: getattr(it.statistics, name))  # type: ignore[misc]
        for name, text in _STATISTICS.items()
    },
    "min_alloc_bytes": number(BYTES, "least ever", lambda it: it.statistics.min_alloc_bytes),
    "max_alloc_bytes": number(BYTES, "most ever", lambda it: it.statistics.max_alloc_bytes),
    "nr_populated": number(PAGES, "backed, of units", lambda it: it.nr_populated),
    "nr_empty_pop_pages": number(PAGES, "backed and empty", lambda it: it.nr_empty_pop_pages),
    "atomic_alloc_failed": flag("the work shall populate more", lambda it: it.atomic_alloc_failed),
    "lock_holder": number(COUNT, "CPU that has pcpu_lock, or -1", lambda it: it.lock.holder),
    "mutex_holder": number(
        COUNT, "CPU that has pcpu_alloc_mutex, or -1", lambda it: it.mutex.holder
    ),
}
_VMALLOC: Final[Rows] = {
    "nr_areas": number(COUNT, "areas, freed ones too until the purge", lambda it: len(it.areas)),
    "nr_lazy": number(COUNT, "areas freed and not purged", lambda it: len(it.lazy)),
    "nr_lazy_pages": number(PAGES, "of those", lambda it: it.nr_lazy_pages),
}
_MODULE: Final[Rows] = {
    EXISTS: _EXISTS,
    "refcnt": number(COUNT, "users, and 1 for being there", lambda it: it.refcnt),
    "state": text_row("MODULE_STATE_LIVE, …", lambda it: it.state),
    "core_addr": number(ADDRESS, "of its core part", lambda it: it.core_addr),
    "size_bytes": number(BYTES, "as /proc/modules has it", lambda it: it.size_bytes),
    "percpu_ptr": number(ADDRESS, "of its per-CPU variables", lambda it: it.percpu_ptr),
}
_WORK: Final[Rows] = {
    "queued_cpu": number(COUNT, "where it is queued, or -1", lambda it: it.queued_cpu),
    "nr_requests": number(COUNT, "since it last began", lambda it: it.nr_requests),
}
_FAULT: Final[Rows] = {
    "reason": text_row("why the machine stopped", lambda it: it.reason),
    "cpu": number(COUNT, "where", lambda it: it.cpu),
    "addr": number(ADDRESS, "of a page fault, else missing", lambda it: it.addr if it.addr >= 0 else None),
}  # fmt: skip
_PTE: Final[Rows] = {
    "present": flag("whether a page is mapped", lambda it: bool(it.entry & PRESENT)),
    "pfn": number(COUNT, "frame of the page", lambda it: it.pfn),
    "flags": text_row(
        "names of the flag bits, by |",
        lambda it: "|".join(flag_names(it.entry & it.flag_mask, is_pte=it.is_pte)) or None,
    ),
    "size_bytes": number(BYTES, "of the page", lambda it: it.size_bytes),
}
_AREA: Final[Rows] = {
    "live": flag("whether an allocated area starts there", lambda it: it.size_bytes > 0),
    "size_bytes": number(BYTES, "of the area", lambda it: it.size_bytes or None),
    "chunk": number(COUNT, "that holds it", lambda it: it.chunk),
    "generation": number(
        COUNT, "how often this run allocated that very place", lambda it: it.generation
    ),
}
_TLB: Final[Rows] = {
    "nr_entries": number(COUNT, "translations it holds", lambda it: it.nr_entries),
    "full_flushes": number(COUNT, "flushes of all", lambda it: it.counters.full_flushes),
    "entries_flushed": number(COUNT, "dropped by flushes", lambda it: it.counters.entries_flushed),
    "spurious_faults": number(
        COUNT, "accesses that a stale entry forbade", lambda it: it.counters.spurious_faults
    ),
}
_ONE_OF_CPUS: Final = Parameter("CPU")
_ZONE_NAME: Final = Parameter("ZONE", EITHER)
_SIZE: Final = Parameter("BYTES", constant=True, least=1, most=BYTES_MAX)
_ADDR: Final = Parameter("ADDR")


def _itself(kind: str, unit: str, text: str) -> Row:
    return Row(kind, unit, text, lambda thing: thing)


def _chunk(sight: Sight, number: int) -> Chunk | None:
    percpu = sight.machine.bitmap
    return percpu.chunks.get(number) if percpu is not None else None


def _block(sight: Sight, number: int, block: int) -> object:
    chunk = _chunk(sight, number)
    blocks = chunk.blocks if chunk is not None else []
    return blocks[block] if 0 <= block < len(blocks) else None


_CHUNK_NUMBER: Final = Parameter("N", names={"first": 0, "reserved": RESERVED}, least=RESERVED)

ALL: Final = (
    Component(
        "chunk", "a chunk of per-CPU memory; N may be first or reserved",
        _chunk, (_CHUNK_NUMBER,), _CHUNK, of_bitmap=True,
    ),
    Component(
        "chunk.block", "the hints on one page of a chunk", _block,
        (_CHUNK_NUMBER, Parameter("PAGE")), {EXISTS: _EXISTS, **_hints(lambda it: it)},
        of_bitmap=True,
    ),
    Component(
        "zone", "a zone by its number among all, or by its name where only one has it",
        zone_numbered, (_ZONE_NAME,), _ZONE, is_fixed=True,
    ),
    Component(
        "node.zone", "a zone of a node, by name or by number within it", zone_named,
        (Parameter("NODE"), _ZONE_NAME), _ZONE, is_fixed=True,
    ),
    Component(
        "cpu", "a possible CPU", lambda sight, number: sight.machine.cpus.get(number),
        (_ONE_OF_CPUS,), _CPU, is_fixed=True,
    ),
    Component(
        "tlb", "a CPU's TLB", lambda sight, number: sight.machine.tlbs.get(number),
        (_ONE_OF_CPUS,), _TLB, is_fixed=True,
    ),
    Component(
        "module", "a loaded module",
        lambda sight, name: sight.machine.modules.find_module(name),
        (Parameter("NAME", TEXT),), _MODULE,
    ),
    Component(
        "percpu", "counters of the bitmap allocator", lambda sight: sight.machine.bitmap, (), _PERCPU,
        of_bitmap=True,
    ),
    *SYSTEM_COMPONENTS,
    Component("vmalloc", "vmalloc space", lambda sight: sight.machine.vmalloc, (), _VMALLOC),
    Component("work", "the background work", lambda sight: sight.machine.work, (), _WORK),
    Component(
        "fault", "whether the machine stopped, and why", lambda sight: sight.machine.fault, (),
        _FAULT, flag("whether the machine stopped", lambda it: it is not None),
    ),
    Component(
        "log", "the kernel log", lambda sight: sight.machine.kernel_log, (),
        {
            "nr_lines": number(COUNT, "lines so far", len),
            "last": text_row("the newest line", lambda it: it[-1][1] if it else None),
        },
    ),
    Component(
        "step", "the position", lambda sight: sight.machine.step, (), {},
        _itself(NUMBER, COUNT, "steps taken"),
    ),
    Component(
        "area", "the allocation that starts at a __percpu pointer", area_at,
        (Parameter("PTR", constant=True),), _AREA,
        flag("whether it is live", lambda it: it is not None and it.size_bytes > 0),
    ),
    Component(
        "pte", "the entry that maps a virtual address; 0 if none does", leaf_at, (_ADDR,), _PTE,
        number(ADDRESS, "the raw entry", lambda it: it.entry),
    ),
    Component(
        "mem", "bytes at a virtual address; missing where a page is not mapped", bytes_at,
        (_ADDR, _SIZE), {}, _itself(NUMBER, ADDRESS, "a number up to 8 bytes, else hex digits"),
    ),
    Component(
        "phys", "bytes at a physical address", frames_bytes, (_ADDR, _SIZE), {},
        _itself(NUMBER, ADDRESS, "a number up to 8 bytes, else hex digits"),
    ),
)  # fmt: skip
PERCPU_VALUE: Final = Component(
    "percpu", "a per-CPU variable or place of a CPU; of all possible ones without CPU, or all",
    percpu_value,
    (
        Parameter("PTR"),
        Parameter("CPU", names={"all": ALL_CPUS}, optional=True),
        Parameter("BYTES", optional=True, constant=True, least=1, most=BYTES_MAX),
    ),
    {}, _itself(NUMBER, ADDRESS, "a word unless BYTES says otherwise"),
)  # fmt: skip
NR_EVENTS: Final = Component(
    "nr_events", "events so far, of all names", lambda sight: sight.nr_events, (), {},
    _itself(NUMBER, COUNT, "events so far"),
)  # fmt: skip
NR_EVENTS_NAMED: Final = Component(
    "nr_events", "events so far of one tracepoint",
    lambda sight, name: sight.happened.get(name, 0), (Parameter("EVENT", TEXT, constant=True),), {},
    _itself(NUMBER, COUNT, "events so far"),
)  # fmt: skip

PLAIN: Final[Mapping[str, Component]] = {
    each.name: each for each in (*ALL, NR_EVENTS) if not each.parameters
}
INDEXED: Final[Mapping[str, Component]] = {
    each.name: each for each in (*ALL, PERCPU_VALUE, NR_EVENTS_NAMED) if each.parameters
}
CATALOGUE: Final = (*ALL, PERCPU_VALUE, NR_EVENTS, NR_EVENTS_NAMED)
"""Every component, in the order in which help lists them."""


def field_words() -> tuple[str, ...]:
    """Return what completion offers: usages of components, with each of their fields."""
    words: list[str] = []
    for component in CATALOGUE:
        if component.value is not None:
            words.append(component.usage)
        words += [f"{component.usage}.{name}" for name in component.rows]
    return tuple(words)
