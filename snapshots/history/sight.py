"""What an expression is looked up in: a machine at a moment, and what happened until then.

    Sight ── machine      as it stands: chunks, zones, CPUs, memory, page tables
          ── happened     counted events: how often a tracepoint fired, a place was allocated

The functions here find things that take more than one look: memory through the page tables, the area at a
__percpu pointer, a CPU's copy of a variable. Nobody takes a step for them, and nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from kernel_sim.cpu import Cpu
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.zone import Zone
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES, MIN_ALLOC_SHIFT

Value: TypeAlias = int | str | bool | tuple[int | str | None, ...] | None
NUMBER_BYTES_MAX: Final = 8
ALL_CPUS: Final = -1
PHYS_END: Final = 1 << 52
CPUS_SHOWN_MAX: Final = 4096


@dataclass(slots=True)
class Sight:
    """A machine that stands at a moment. happened: by tracepoint name, or by pointer of an area."""

    machine: Machine
    nr_events: int = 0
    happened: dict[str | int, int] = field(default_factory=dict)


class AreaAt(NamedTuple):
    """What starts at a __percpu pointer; size_bytes is 0 where no area does."""

    size_bytes: int
    chunk: int | None
    generation: int


class Leaf(NamedTuple):
    """The entry that maps an address, all 0 where none does."""

    entry: int
    pfn: int | None
    size_bytes: int | None
    flag_mask: int
    is_pte: bool


def area_at(sight: Sight, ptr: int) -> AreaAt:
    """Return the allocation that starts at a __percpu pointer."""
    percpu = sight.machine.bitmap
    generation = sight.happened.get(ptr, 0)
    if percpu is None:
        live = sight.machine.system.live_areas()
        return AreaAt(next((size for at, size in live if at == ptr), 0), None, generation)
    addr = percpu.addr_of(ptr)
    chunk = percpu.chunk_of(addr)
    if chunk is None:
        return AreaAt(0, None, generation)
    offset_bytes = addr - chunk.base_addr
    nr_bits = (
        0 if offset_bytes % MIN_ALLOC_BYTES else chunk.area_bits(offset_bytes >> MIN_ALLOC_SHIFT)
    )
    return AreaAt(nr_bits * MIN_ALLOC_BYTES, chunk.number, generation)


def leaf_at(sight: Sight, virt: int) -> Leaf:
    """Return the entry that maps a virtual address."""
    space = sight.machine.space
    mode = space.mode
    found = space.find_leaf(virt) if 0 <= virt <= sight.machine.arch.address_mask else None
    if found is None:
        return Leaf(0, None, None, 0, True)
    _, entry, shift = found
    size_bytes = 1 << shift
    pfn = (entry & mode.pfn_mask & -size_bytes) // PAGE_SIZE_BYTES
    return Leaf(entry, pfn, size_bytes, mode.flag_mask, size_bytes == PAGE_SIZE_BYTES)


def bytes_at(sight: Sight, virt: int, size_bytes: int) -> int | str | None:
    """Return bytes at a virtual address, None if a page of them is not mapped."""
    machine = sight.machine
    end = virt + size_bytes
    if virt < 0 or end - 1 > machine.arch.address_mask:
        return None
    pieces: list[bytes] = []
    while virt < end:
        length = min(end - virt, PAGE_SIZE_BYTES - virt % PAGE_SIZE_BYTES)
        phys = machine.space.translate(virt)
        if phys is None:
            return None
        pieces.append(machine.memory.read(phys, length))
        virt += length
    return _shown(b"".join(pieces))


def frames_bytes(sight: Sight, phys: int, size_bytes: int) -> int | str | None:
    """Return bytes at a physical address; untouched memory reads as zeros."""
    if phys < 0 or phys + size_bytes > PHYS_END:
        return None
    return _shown(sight.machine.memory.read(phys, size_bytes))


def _shown(data: bytes) -> int | str:
    return int.from_bytes(data, "little") if len(data) <= NUMBER_BYTES_MAX else data.hex()


def percpu_value(
    sight: Sight, ptr: int, cpu: int = ALL_CPUS, size_bytes: int = 0
) -> int | str | tuple[int | str | None, ...] | None:
    """Return a CPU's copy of what a __percpu pointer points to; of all possible CPUs as a row."""
    machine = sight.machine
    nr_bytes = size_bytes or machine.arch.word_bytes
    if cpu == ALL_CPUS:
        cpus = machine.topology.possible[:CPUS_SHOWN_MAX]
        return tuple(_copy(sight, ptr, each, nr_bytes) for each in cpus)
    return _copy(sight, ptr, cpu, nr_bytes) if cpu in machine.cpus else None


def _copy(sight: Sight, ptr: int, cpu: int, nr_bytes: int) -> int | str | None:
    virt = sight.machine.system.copy_addr(ptr, cpu)
    return None if virt is None else bytes_at(sight, virt, nr_bytes)


def zone_numbered(sight: Sight, which: int | str) -> Zone | None:
    """Return a zone by its number among all; by name only if no other node has one of that name."""
    zones = sight.machine.pages.zones
    if isinstance(which, int):
        return zones[which] if 0 <= which < len(zones) else None
    named = [zone for zone in zones if zone.name == which]
    return named[0] if len(named) == 1 else None


def zone_named(sight: Sight, node: int, which: int | str) -> Zone | None:
    """Return a zone of a node, by name or by its number within the node."""
    zones = [zone for zone in sight.machine.pages.zones if zone.node == node]
    if isinstance(which, int):
        return zones[which] if 0 <= which < len(zones) else None
    return next((zone for zone in zones if zone.name == which), None)


def call_of(cpu: Cpu, what: str) -> str | None:
    """Return name, context, innermost function or lock waited for of a CPU's call, None without one."""
    call = cpu.current
    if call is None:
        return None
    if what == "name":
        return call.name
    if what == "context":
        return call.context
    if what == "wish":
        return call.wish.name if call.wish is not None else None
    frames = call.frames()
    return frames[0] if frames else call.name
