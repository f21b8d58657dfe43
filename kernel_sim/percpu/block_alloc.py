"""alloc_percpu() and free_percpu() of the block allocator, and what it does when a CPU comes up.

    __alloc_percpu ─► lock, look from firstnotfull on ─► found: unlock, zero every possible CPU's copy
                          └► nowhere: unlock, add a block, look again ─► no memory: NULL
    free_percpu    ─► lock, search the object by its address ─► none: BUG
                          └► its block has others: re-sorted; has none: given back at once

It is slow and may sleep: for boot and module loading, not for interrupts. An alignment above a page can be
met by no block on purpose; as posted, blocks are added until memory is gone, otherwise it is refused.
Source: "[patch 2/11]" and "[patch 11/11]", LKML, 13 Sep 2005.
"""

from __future__ import annotations

from kernel_sim.alignment import align_up
from kernel_sim.errors import KernelBug
from kernel_sim.events import PercpuAllocPercpu, PercpuAllocPercpuFail, PercpuFreePercpu
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_HIGHMEM, GFP_KERNEL, may_sleep
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_area import map_pages, page_near, valloc_percpu, vfree_percpu
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, PAGES_PER_CPU
from kernel_sim.percpu.block_memory import order_of
from kernel_sim.percpu.block_percpu import BY_CALLER, BlockPercpu
from kernel_sim.percpu.buf_ctl import BufCtl
from kernel_sim.primitives import PREEMPT

KERN_WARNING = 4  # what a line without a level gets
EINVAL = 22
HOTPLUG_GFP = GFP_ATOMIC | GFP_HIGHMEM


async def __alloc_percpu(
    percpu: BlockPercpu, cpu: int, size: int, align: int, gfp: int, call_site: str
) -> int:
    """Return the address of CPU 0's copy of a new object, or 0.

    size is rounded up to whole currency units, as the macro alloc_percpu() does. Raises KernelBug for
    flags that the macro refuses, in the posting in which it takes any.
    """
    await PREEMPT
    if percpu.posting == BY_CALLER and gfp & ~(GFP_ATOMIC | GFP_KERNEL):
        raise KernelBug(
            f"kernel BUG: alloc_percpu() with flags {gfp:#x}; it takes GFP_KERNEL, GFP_ATOMIC"
        )
    currency_bytes = percpu.geometry.currency_bytes
    mask = percpu.machine.arch.address_mask  # both are a size_t: what is negative is vast
    size, align = size & mask, align & mask
    size_bytes = align_up(size, currency_bytes) & mask
    align = align or currency_bytes
    buf_ctl = None
    if _is_possible(percpu, cpu, size_bytes, align):
        while buf_ctl is None:
            await percpu.lock
            buf_ctl = _get_obj(percpu, cpu, size_bytes, align)
            percpu.lock.release()
            if buf_ctl is None and not await add_percpu_block(percpu, cpu, gfp):
                break
    if buf_ctl is None:
        percpu.machine.emit(cpu, PercpuAllocPercpuFail(False, not may_sleep(gfp), size, align))
        return 0
    await PREEMPT
    _zero_obj(percpu, cpu, buf_ctl)
    base = percpu.pool.blocks[buf_ctl.block_number].start_addr
    percpu.machine.emit(
        cpu,
        PercpuAllocPercpu(
            call_site, False, not may_sleep(gfp), size, align, base, buf_ctl.addr - base,
            buf_ctl.addr, size_bytes * len(percpu.possible), gfp,
        ),
    )  # fmt: skip
    return buf_ctl.addr


def _is_possible(percpu: BlockPercpu, cpu: int, size_bytes: int, align: int) -> bool:
    """Say whether a request can be met at all; if not, the log says why."""
    if size_bytes > BLOCK_BYTES:
        text = f"alloc_percpu: size {size_bytes} requested is more than I can handle"
        percpu.machine.printk(cpu, KERN_WARNING, text)
        return False
    if align > PAGE_SIZE_BYTES and not percpu.geometry.as_posted:
        text = f"alloc_percpu: alignment {align} requested is more than a page"
        percpu.machine.printk(cpu, KERN_WARNING, text)
        return False
    return size_bytes > 0


def _get_obj(percpu: BlockPercpu, cpu: int, size_bytes: int, align: int) -> BufCtl | None:
    """Take an object from a block that has a place for it. Context: blklist_lock held."""
    before = order_of(percpu.pool)
    buf_ctl = percpu.pool.take(size_bytes=size_bytes, align=align)
    if buf_ctl is not None:
        percpu.memory.note_taken(cpu, percpu.pool, buf_ctl, before)
    return buf_ctl


def _zero_obj(percpu: BlockPercpu, cpu: int, buf_ctl: BufCtl) -> None:
    """Write zeros to every possible CPU's copy."""
    block = percpu.pool.blocks[buf_ctl.block_number]
    for owner in percpu.possible:
        if owner in block.cpu_pfns:
            addr = buf_ctl.addr + owner * BLOCK_BYTES
            percpu.machine.access.write(cpu, addr, bytes(buf_ctl.size_bytes))


async def add_percpu_block(percpu: BlockPercpu, cpu: int, gfp: int) -> bool:
    """Make a block and put it at the tail of the list; False without memory."""
    block = await valloc_percpu(percpu, cpu, gfp)
    if block is None:
        return False
    percpu.memory.set_start(cpu, block)
    await percpu.lock
    before = order_of(percpu.pool)
    percpu.pool.add(block)
    percpu.memory.write_order(cpu, percpu.pool, before)
    percpu.lock.release()
    return True


async def free_percpu(percpu: BlockPercpu, cpu: int, ptr: int) -> None:
    """Give an object back; 0 is nothing to do. Raises KernelBug for an address of no object."""
    await PREEMPT
    if not ptr:
        return
    await percpu.lock
    buf_ctl = percpu.pool.objects.find(ptr)
    if buf_ctl is None:
        raise KernelBug(f"kernel BUG at mm/percpu.c: free_percpu({ptr:#x}): no object is there")
    await free_percpu_obj(percpu, cpu, buf_ctl)
    percpu.lock.release()


async def free_percpu_obj(percpu: BlockPercpu, cpu: int, buf_ctl: BufCtl) -> None:
    """Take an object off its block, and the block back with its last one. Context: blklist_lock held."""
    before = order_of(percpu.pool)
    given = percpu.pool.give(buf_ctl)
    percpu.memory.note_given(cpu, percpu.pool, given, before)
    block = given.block
    offset_bytes = buf_ctl.addr - block.start_addr
    percpu.machine.emit(cpu, PercpuFreePercpu(block.start_addr, offset_bytes, buf_ctl.addr))
    if not block.size_used:
        await vfree_percpu(percpu, cpu, block)


def alloc_percpu_notify(percpu: BlockPercpu, cpu: int, coming: int) -> int:
    """Give every block pages for a CPU that comes up; -EINVAL if one cannot have them, a veto.

    A CPU that was possible when a block was made has its pages. What is new is not made like the other
    copies. Blocks that got pages before the one that failed keep them: it is asked again next time.
    """
    percpu.possible = dict.fromkeys(sorted((*percpu.possible, coming)))
    for block in percpu.pool.order.blocks:
        if coming not in block.cpu_pfns and not _allocate_chunk(percpu, cpu, coming, block):
            text = f"cpu_up: attempt to bring up CPU {coming} failed"
            percpu.machine.printk(cpu, KERN_WARNING, text)
            return -EINVAL
    return 0


def _allocate_chunk(percpu: BlockPercpu, cpu: int, coming: int, block: Block) -> bool:
    """Back one CPU's part of a block.

    Source: __allocate_chunk(), whose own unwinding frees the pages of all lower CPUs too; here only
    what was taken goes back.
    """
    pfns: list[int] = []
    while len(pfns) < PAGES_PER_CPU:
        pfn = page_near(percpu, cpu, coming, HOTPLUG_GFP)
        if pfn is None:
            break
        pfns.append(pfn)
    virt = block.start_addr + coming * BLOCK_BYTES
    if len(pfns) < PAGES_PER_CPU or not map_pages(percpu, cpu, virt, pfns):
        percpu.free_pages(cpu, pfns[::-1])
        return False
    for at, pfn in enumerate(pfns):
        percpu.memory.set_page(cpu, block.start_addr, coming * PAGES_PER_CPU + at, pfn)
    block.cpu_pfns[coming] = tuple(pfns)
    block.changed = True
    return True
