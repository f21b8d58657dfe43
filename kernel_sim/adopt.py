"""Making the machine agree with a log where nothing explains what the real kernel did.

A divergence is counted once and reported; then the log's placement is taken over with these, so that
the user still sees what the machine did, and what follows can still be judged. None of them is a kernel
function: they change the allocator's state and, where pages are needed, back them.
"""

from __future__ import annotations

from kernel_sim.errors import ConfigError
from kernel_sim.events import (
    PercpuAllocPercpu,
    PercpuCreateChunk,
    PercpuFreePercpu,
)
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.tlb_flush import TLB_REMOTE_SHOOTDOWN, flush_own
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.percpu.backing_vm import VmBacking
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.primitives import run_undisturbed


def adopt_alloc(
    machine: Machine,
    cpu: int,
    number: int,
    off: int,
    size: int,
    align: int,
    gfp: int,
    call_site: str,
) -> None:
    """Place an area where the log has it; areas in its way are given back first."""
    chunk = _chunk_of(machine, number)
    size = max(size + MIN_ALLOC_BYTES - 1 & -MIN_ALLOC_BYTES, MIN_ALLOC_BYTES)
    end = (chunk.nr_pages << PAGE_SHIFT) - chunk.end_offset
    if not chunk.start_offset <= off <= end - size or off % MIN_ALLOC_BYTES:
        raise ConfigError(f"chunk {number}: no area of {size} bytes can lie at offset {off}")
    percpu = machine.percpu
    percpu.adopt_area(number, off, size)
    page_end = off + size + PAGE_SIZE_BYTES - 1 >> PAGE_SHIFT
    for start, end in tuple(chunk.unpopulated_runs(off >> PAGE_SHIFT, page_end)):
        populate = percpu.backing.pcpu_populate_chunk(cpu, chunk, start, end, GFP_KERNEL)
        if not run_undisturbed(populate):
            raise ConfigError(f"chunk {number}: no memory for pages that the log has backed")
        percpu.count_populated(chunk, start, end)
    percpu.backing.clear_area(cpu, chunk, off, size)
    ptr = percpu.ptr_of(chunk.base_addr + off)
    nr_bytes = size * percpu.nr_possible_cpus + size // MIN_ALLOC_BYTES * 8
    is_atomic = gfp & GFP_KERNEL != GFP_KERNEL
    machine.emit(
        cpu,
        PercpuAllocPercpu(
            call_site, number < 0, is_atomic, size, align, chunk.base_addr, off, ptr, nr_bytes, gfp
        ),
    )


def adopt_free(machine: Machine, cpu: int, number: int, off: int) -> None:
    """Give back the area that starts at an offset, without the kernel's afterthoughts."""
    chunk = _chunk_of(machine, number)
    percpu = machine.percpu
    if off % MIN_ALLOC_BYTES or not chunk.area_bits(off // MIN_ALLOC_BYTES):
        raise ConfigError(f"chunk {number}: no area starts at offset {off}")
    percpu.forget_area(chunk, off)
    ptr = percpu.ptr_of(chunk.base_addr + off)
    machine.emit(cpu, PercpuFreePercpu(chunk.base_addr, off, ptr))


def adopt_create(machine: Machine, cpu: int, base_addr: int) -> None:
    """Make a chunk; at base_addr if that is not 0 and lies in free address space."""
    percpu, places = machine.percpu, machine.places
    if not isinstance(percpu.backing, VmBacking):
        fresh = run_undisturbed(percpu.backing.pcpu_create_chunk(cpu, GFP_KERNEL))
        if fresh is None:
            raise ConfigError("no memory for the chunk that the log creates here")
        percpu.enlist(fresh)
        return
    areas = None
    if base_addr:
        wanted = tuple(base_addr + offset for offset in places.group_offsets)
        areas = machine.vmalloc.take_at(wanted, places.group_sizes)
    areas = areas or machine.vmalloc.get_vm_areas(
        places.group_offsets, places.group_sizes, places.atom_size_bytes
    )
    flush_purged(machine, machine.vmalloc)
    if areas is None:
        raise ConfigError("no address space for the chunk that the log creates here")
    number = percpu.next_number
    percpu.next_number = number + 1
    base = areas[0] - places.group_offsets[0]
    chunk = Chunk.fresh(
        number=number, base_addr=base, nr_pages=percpu.unit_size_bytes >> PAGE_SHIFT
    )
    chunk.data = tuple(areas)
    percpu.add_chunk(chunk)
    percpu.statistics.chunk_alloc()
    percpu.enlist(chunk)
    machine.emit(cpu, PercpuCreateChunk(base))


def adopt_destroy(machine: Machine, cpu: int, number: int) -> None:
    """Drop a chunk with whatever is in it."""
    chunk = _chunk_of(machine, number)
    if chunk.immutable:
        raise ConfigError(f"chunk {number} is part of the first unit and cannot be destroyed")
    percpu = machine.percpu
    percpu.delist(chunk)
    for start, end in tuple(chunk.populated_runs()):
        run_undisturbed(percpu.backing.pcpu_depopulate_chunk(cpu, chunk, start, end))
    run_undisturbed(percpu.backing.pcpu_destroy_chunk(cpu, chunk))


def flush_purged(machine: Machine, space: VmallocSpace) -> None:
    """Let every CPU forget at once, within this step, what a purge made free."""
    purged = space.take_purged()
    if purged is not None:
        for online in machine.online_cpus():
            if online in machine.tlbs:
                flush_own(machine, online, TLB_REMOTE_SHOOTDOWN, purged)


def _chunk_of(machine: Machine, number: int) -> Chunk:
    chunk = machine.percpu.chunks.get(number)
    if chunk is None:
        raise ConfigError(f"there is no chunk {number} at step {machine.step}")
    return chunk
