"""What can be asked of a machine: components, their parts and their fields, one row each.

    chunk[3].free_bytes      component `chunk`, found by its number, field `free_bytes`
    percpu[runqueues, 2]     component `percpu[]`: what is found is the value itself
    percpu.nr_alloc          component `percpu`, of which there is one

Completion, help and the compiler all read this table; a new field is a new row. A getter only looks: it
changes nothing, and what is not there is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from kernel_sim.mm.paging import PRESENT, flag_names
from kernel_sim.percpu.chunk import RESERVED
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES, MdBlock
from snapshots.history.sight import (
    ALL_CPUS,
    Sight,
    Value,
    area_at,
    bytes_at,
    call_of,
    frames_bytes,
    leaf_at,
    percpu_value,
    zone_named,
    zone_numbered,
)

NUMBER, TEXT, FLAG, ROW = "number", "text", "flag", "row"
EITHER: Final = "number or text"
BYTES, BITS, PAGES, ADDRESS, COUNT = "bytes", "bits", "pages", "address", ""
BYTES_MAX: Final = 4096
WIDE_BYTES: Final = 8
"""Up to so many bytes are a little-endian number; more are a text of hex digits."""


class Row(NamedTuple):
    """One field: what kind of value, in which unit, what it means, and how it is read."""

    kind: str
    unit: str
    help: str
    get: Callable[[Any], Value]


class Parameter(NamedTuple):
    """What stands in brackets; names are words that stand for numbers.

    constant: its value must not depend on the moment. least, most: bounds of a constant.
    """

    name: str
    kind: str = NUMBER
    names: Mapping[str, int] = {}
    optional: bool = False
    constant: bool = False
    least: int = 0
    most: int = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Component:
    """A thing that has fields; find() gives None where it is not there at a moment.

    value: what it is worth without a field, None if one must be named. is_fixed: boot made all there are,
    so that one that is not there is an error and not a missing value.
    """

    name: str
    help: str
    find: Callable[..., object]
    parameters: tuple[Parameter, ...] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    value: Row | None = None
    is_fixed: bool = False

    @property
    def usage(self) -> str:
        """How it is typed: chunk[N], node[N].zone[ZONE], percpu[PTR, CPU, BYTES]."""
        names = [parameter.name for parameter in self.parameters]
        outer, dot, inner = self.name.partition(".")
        if dot:
            return f"{outer}[{names[0]}].{inner}[{', '.join(names[1:])}]"
        return f"{self.name}[{', '.join(names)}]" if names else self.name


Rows: TypeAlias = dict[str, Row]


def _number(unit: str, text: str, get: Callable[[Any], Value]) -> Row:
    return Row(NUMBER, unit, text, get)


def _flag(text: str, get: Callable[[Any], Value]) -> Row:
    return Row(FLAG, "", text, get)


def _text(text: str, get: Callable[[Any], Value]) -> Row:
    return Row(TEXT, "", text, get)


EXISTS: Final = "exists"
_EXISTS: Final = _flag("whether it is there; never missing itself", lambda thing: thing is not None)


def _hints(of: Callable[[Any], MdBlock]) -> Rows:
    """Return the rows of a block's or a chunk's hints."""
    return {
        "contig_hint_bytes": _number(
            BYTES, "largest free run known", lambda it: of(it).contig_hint * MIN_ALLOC_BYTES
        ),
        "contig_hint_start": _number(
            BITS, "where that run begins", lambda it: of(it).contig_hint_start
        ),
        "scan_hint_bytes": _number(
            BYTES, "a smaller run before it", lambda it: of(it).scan_hint * MIN_ALLOC_BYTES
        ),
        "first_free": _number(BITS, "first free bit", lambda it: of(it).first_free),
        "left_free": _number(BITS, "free bits at the beginning", lambda it: of(it).left_free),
        "right_free": _number(BITS, "free bits at the end", lambda it: of(it).right_free),
    }


_CHUNK: Final[Rows] = {
    EXISTS: _EXISTS,
    "free_bytes": _number(BYTES, "not allocated", lambda it: it.free_bytes),
    "nr_alloc": _number(COUNT, "live areas", lambda it: it.nr_alloc),
    "max_alloc_bytes": _number(BYTES, "largest area ever", lambda it: it.max_alloc_bytes),
    "nr_pages": _number(PAGES, "of a unit", lambda it: it.nr_pages),
    "nr_populated": _number(PAGES, "of a unit that are backed", lambda it: it.nr_populated),
    "nr_empty_pop_pages": _number(
        PAGES, "backed and without an area", lambda it: it.nr_empty_pop_pages
    ),
    "populated": _number(COUNT, "bit i: page i is backed", lambda it: it.populated),
    "base_addr": _number(ADDRESS, "of unit 0", lambda it: it.base_addr),
    "slot": _number(COUNT, "list it is on; -1 none", lambda it: it.slot),
    "isolated": _flag("kept from allocations", lambda it: it.isolated),
    "immutable": _flag("no pages come or go", lambda it: it.immutable),
    "written": _flag("may hold bytes other than zero", lambda it: it.written),
    **_hints(lambda it: it.md),
}
_ZONE: Final[Rows] = {
    "name": _text("DMA, DMA32, Normal or HighMem", lambda it: it.name),
    "node": _number(COUNT, "it belongs to", lambda it: it.node),
    "free_pages": _number(PAGES, "free in the buddy allocator", lambda it: it.buddy.nr_free_pages),
    "list_pages": _number(PAGES, "on the lists of CPUs", lambda it: it.nr_list_pages),
    "present_pages": _number(PAGES, "of memory", lambda it: it.buddy.nr_present_pages),
    "reserved_pages": _number(PAGES, "set aside", lambda it: it.buddy.nr_reserved_pages),
    "nr_blocks": _number(COUNT, "allocated blocks", lambda it: len(it.buddy.allocated)),
    **{
        name: _number(COUNT, f"counter {name}", lambda it, place=place: it.numa[place])  # type: ignore[misc]
        for place, name in enumerate(
            ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")
        )
    },
}
_CPU: Final[Rows] = {
    EXISTS: _EXISTS,
    "online": _flag("whether it runs", lambda it: it.online),
    "node": _number(COUNT, "its NUMA node", lambda it: it.node),
    "hotplug_state": _number(COUNT, "last step of coming up", lambda it: it.hotplug_state),
    "gs_base": _number(ADDRESS, "base register (fs on i386)", lambda it: it.gs_base),
    "call": _text("the call under way", lambda it: call_of(it, "name")),
    "function": _text("innermost kernel function under way", lambda it: call_of(it, "function")),
    "context": _text("task, irq, kworker, kthread, stopper", lambda it: call_of(it, "context")),
    "waits_for": _text("the lock it asked for", lambda it: call_of(it, "wish")),
    "nr_calls": _number(COUNT, "under way, interrupted ones too", lambda it: len(it.stack)),
    "nr_pending": _number(
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
        name: _number(COUNT, text, lambda it, name=name: getattr(it.statistics, name))  # type: ignore[misc]
        for name, text in _STATISTICS.items()
    },
    "min_alloc_bytes": _number(BYTES, "least ever", lambda it: it.statistics.min_alloc_bytes),
    "max_alloc_bytes": _number(BYTES, "most ever", lambda it: it.statistics.max_alloc_bytes),
    "nr_populated": _number(PAGES, "backed, of units", lambda it: it.nr_populated),
    "nr_empty_pop_pages": _number(PAGES, "backed and empty", lambda it: it.nr_empty_pop_pages),
    "atomic_alloc_failed": _flag("the work shall populate more", lambda it: it.atomic_alloc_failed),
    "lock_holder": _number(COUNT, "CPU that has pcpu_lock, or -1", lambda it: it.lock.holder),
    "mutex_holder": _number(
        COUNT, "CPU that has pcpu_alloc_mutex, or -1", lambda it: it.mutex.holder
    ),
}
_VMALLOC: Final[Rows] = {
    "nr_areas": _number(COUNT, "areas, freed ones too until the purge", lambda it: len(it.areas)),
    "nr_lazy": _number(COUNT, "areas freed and not purged", lambda it: len(it.lazy)),
    "nr_lazy_pages": _number(PAGES, "of those", lambda it: it.nr_lazy_pages),
}
_MODULE: Final[Rows] = {
    EXISTS: _EXISTS,
    "refcnt": _number(COUNT, "users, and 1 for being there", lambda it: it.refcnt),
    "state": _text("MODULE_STATE_LIVE, …", lambda it: it.state),
    "core_addr": _number(ADDRESS, "of its core part", lambda it: it.core_addr),
    "size_bytes": _number(BYTES, "as /proc/modules has it", lambda it: it.size_bytes),
    "percpu_ptr": _number(ADDRESS, "of its per-CPU variables", lambda it: it.percpu_ptr),
}
_WORK: Final[Rows] = {
    "queued_cpu": _number(COUNT, "where it is queued, or -1", lambda it: it.queued_cpu),
    "nr_requests": _number(COUNT, "since it last began", lambda it: it.nr_requests),
}
_FAULT: Final[Rows] = {
    "reason": _text("why the machine stopped", lambda it: it.reason),
    "cpu": _number(COUNT, "where", lambda it: it.cpu),
    "addr": _number(ADDRESS, "of a page fault, else missing", lambda it: it.addr if it.addr >= 0 else None),
}  # fmt: skip
_PTE: Final[Rows] = {
    "present": _flag("whether a page is mapped", lambda it: bool(it.entry & PRESENT)),
    "pfn": _number(COUNT, "frame of the page", lambda it: it.pfn),
    "flags": _text(
        "names of the flag bits, by |",
        lambda it: "|".join(flag_names(it.entry & it.flag_mask, is_pte=it.is_pte)) or None,
    ),
    "size_bytes": _number(BYTES, "of the page", lambda it: it.size_bytes),
}
_AREA: Final[Rows] = {
    "live": _flag("whether an allocated area starts there", lambda it: it.size_bytes > 0),
    "size_bytes": _number(BYTES, "of the area", lambda it: it.size_bytes or None),
    "chunk": _number(COUNT, "that holds it", lambda it: it.chunk),
    "generation": _number(
        COUNT, "how often this run allocated that very place", lambda it: it.generation
    ),
}
_TLB: Final[Rows] = {
    "nr_entries": _number(COUNT, "translations it holds", lambda it: it.nr_entries),
    "full_flushes": _number(COUNT, "flushes of all", lambda it: it.counters.full_flushes),
    "entries_flushed": _number(COUNT, "dropped by flushes", lambda it: it.counters.entries_flushed),
    "spurious_faults": _number(
        COUNT, "accesses that a stale entry forbade", lambda it: it.counters.spurious_faults
    ),
}
_ONE_OF_CPUS: Final = Parameter("CPU")
_ZONE_NAME: Final = Parameter("ZONE", EITHER)
_SIZE: Final = Parameter("BYTES", constant=True, least=1, most=BYTES_MAX)
_ADDR: Final = Parameter("ADDR")


def _itself(kind: str, unit: str, text: str) -> Row:
    return Row(kind, unit, text, lambda thing: thing)


def _block(sight: Sight, number: int, block: int) -> object:
    chunk = sight.machine.percpu.chunks.get(number)
    blocks = chunk.blocks if chunk is not None else []
    return blocks[block] if 0 <= block < len(blocks) else None


_CHUNK_NUMBER: Final = Parameter("N", names={"first": 0, "reserved": RESERVED}, least=RESERVED)

ALL: Final = (
    Component(
        "chunk", "a chunk of per-CPU memory; N may be first or reserved",
        lambda sight, number: sight.machine.percpu.chunks.get(number), (_CHUNK_NUMBER,), _CHUNK,
    ),
    Component(
        "chunk.block", "the hints on one page of a chunk", _block,
        (_CHUNK_NUMBER, Parameter("PAGE")), {EXISTS: _EXISTS, **_hints(lambda it: it)},
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
    Component("percpu", "counters of the allocator", lambda sight: sight.machine.percpu, (), _PERCPU),
    Component("vmalloc", "vmalloc space", lambda sight: sight.machine.vmalloc, (), _VMALLOC),
    Component("work", "the background work", lambda sight: sight.machine.work, (), _WORK),
    Component(
        "fault", "whether the machine stopped, and why", lambda sight: sight.machine.fault, (),
        _FAULT, _flag("whether the machine stopped", lambda it: it is not None),
    ),
    Component(
        "log", "the kernel log", lambda sight: sight.machine.kernel_log, (),
        {
            "nr_lines": _number(COUNT, "lines so far", len),
            "last": _text("the newest line", lambda it: it[-1][1] if it else None),
        },
    ),
    Component(
        "step", "the position", lambda sight: sight.machine.step, (), {},
        _itself(NUMBER, COUNT, "steps taken"),
    ),
    Component(
        "area", "the allocation that starts at a __percpu pointer", area_at,
        (Parameter("PTR", constant=True),), _AREA,
        _flag("whether it is live", lambda it: it is not None and it.size_bytes > 0),
    ),
    Component(
        "pte", "the entry that maps a virtual address; 0 if none does", leaf_at, (_ADDR,), _PTE,
        _number(ADDRESS, "the raw entry", lambda it: it.entry),
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
