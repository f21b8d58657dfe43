"""Figures of the block allocator, from the mail of 14 January 2005.

    block   │ 8 KiB a CPU, for NR_CPUS │ management: descriptor, 2048 buf_ctl's │
                                         9 pages: 36 bytes of pointers on the stack

The mail's "not dependent on NR_CPUS" is true of the buf_ctl's; the descriptor of the only code that we have,
of September 2005, has page pointers for every CPU.
"""

from __future__ import annotations

from itertools import count
from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BlockGeometry
from kernel_sim.percpu.block_pool import BlockPool
from kernel_sim.percpu.refill_workload import RefillWorkload
from kernel_sim.percpu.stretch import DYNAMIC, FREE, METADATA, PADDING
from kernel_sim.random_state import RandomState
from snapshots.figures.bench import Bench, Description
from snapshots.figures.figure import Beside, Figure, MailFigure
from snapshots.figures.inputs import FigureInputs
from snapshots.figures.machines import block_machine
from snapshots.figures.mail_arithmetic import in_bytes, plain
from snapshots.figures.measuring import alloc, free, sum_of_bytes
from snapshots.figures.seeing import saved, script
from snapshots.timeline import Timeline

SYSTEM: Final = "block-2005"
BLOCK_BYTES: Final = 2 * PAGE_SIZE_BYTES
PAGES_PER_CPU: Final = 2
CURRENCY_BYTES: Final = 4
INT_BYTES: Final = 4
MANAGEMENT: Final = "management"
SMALL_BYTES: Final = 64
PERMILLE: Final = 1000
WITH_ARRAY: Final = "the descriptor has page pointers for every CPU that the kernel is built for"


def management_bytes(word_bytes: int, nr_page_pointers: int) -> int:
    """Return the buf_ctl's and a descriptor: address, page pointers, list, bitmap, free list, head, count."""
    objects = BLOCK_BYTES // CURRENCY_BYTES
    buf_ctls = 3 * word_bytes * objects
    fields = word_bytes + 2 * word_bytes + objects // 8 + INT_BYTES * objects + 2 * INT_BYTES
    return buf_ctls + align_up(fields + word_bytes * nr_page_pointers, word_bytes)


def management_pages(word_bytes: int, nr_cpus: int) -> int:
    """Return the pages of the code's structures: twice as many page pointers as all CPUs have pages.

    With few CPUs that is not enough for the management pages themselves; then there are as many as it takes.
    """
    of_cpus = PAGES_PER_CPU * nr_cpus
    nr_pointers = 2 * of_cpus
    while nr_pointers < of_cpus + pages_of(management_bytes(word_bytes, nr_pointers)):
        nr_pointers = of_cpus + pages_of(management_bytes(word_bytes, nr_pointers))
    return pages_of(management_bytes(word_bytes, nr_pointers))


def pages_of(size_bytes: int) -> int:
    """Return how many pages so many bytes take."""
    return align_up(size_bytes, PAGE_SIZE_BYTES) // PAGE_SIZE_BYTES


def mailed_pages(word_bytes: int) -> int:
    """Return what the mail counts: no page pointers, so nothing of NR_CPUS."""
    return pages_of(management_bytes(word_bytes, 0))


def most_cpus(nr_pages: int) -> int:
    """Return the largest NR_CPUS of i386 whose structures fit into so many pages."""
    return next(nr_cpus - 1 for nr_cpus in count(1) if management_pages(4, nr_cpus) > nr_pages)


def management(bench: Bench) -> Figure:
    """Figure 13: management pages of a block that was really made."""
    nr_cpus = bench.inputs.nr_cpus
    run = _with_one_block(bench, block_machine(bench.inputs))
    return Figure(
        what="BLOCK_MANAGEMENT_PAGES",
        system=SYSTEM,
        unit="pages",
        formula=f"align_up({_sum(nr_cpus)}, {PAGE_SIZE_BYTES}) / {PAGE_SIZE_BYTES}",
        exact=management_pages(4, nr_cpus),
        ours=_pages_of(run),
        mail=plain("9", mailed_pages(4)),
        because=f"{WITH_ARRAY}: {nr_cpus} here" * (mailed_pages(4) != management_pages(4, nr_cpus)),
        run=run,
        command=script("block", "block-8way"),
        shows=(f"block management pages {management_pages(4, nr_cpus)}",),
    )


def stack(bench: Bench) -> Figure:
    """Figure 14: pointers to those pages on valloc_percpu()'s stack."""
    inputs = bench.inputs
    nr_cpus = inputs.nr_cpus
    pages = management_pages(4, nr_cpus)
    run = _with_one_block(bench, block_machine(inputs))
    mailed = mailed_pages(4)
    wide = block_machine(inputs, arch="x86-64", nr_cpus=nr_cpus, name="block-x86-64")
    return Figure(
        what="stack for the pointers to them, i386",
        system=SYSTEM,
        unit="bytes",
        formula=f"{pages} x 4",
        exact=pages * 4,
        ours=_stack_of(run),
        mail=in_bytes("36 bytes", mailed_pages(4) * 4),
        because=WITH_ARRAY * (pages != mailed_pages(4)),
        note=f"of 4-byte pointers: {mailed} of 8 bytes are {8 * mailed}, and the structures grow as well",
        beside=(
            Beside(
                "on x86-64",
                management_pages(8, nr_cpus) * 8,
                _stack_of(_with_one_block(bench, wide)),
            ),
        ),
        run=run,
        command=script("block", "block-8way"),
        shows=(f"stack bytes {pages * 4}",),
    )


def many_cpus(bench: Bench) -> Figure:
    """Figure 15: the same on 512-way, about which the review asked."""
    inputs = bench.inputs
    nr_cpus = inputs.many_nr_cpus
    pages = management_pages(4, nr_cpus)
    run = _with_one_block(bench, block_machine(inputs, nr_cpus=nr_cpus))
    mailed = mailed_pages(4)
    as_mailed = block_machine(inputs, nr_cpus=nr_cpus, mail_mode=True, name="block-mail-mode")
    return Figure(
        what=f"stack on {nr_cpus}-way",
        system=SYSTEM,
        unit="bytes",
        formula=f"{pages} x 4; {_sum(nr_cpus)} bytes are {pages} pages",
        exact=pages * 4,
        ours=_stack_of(run),
        mail=in_bytes("36 bytes", mailed_pages(4) * 4),
        because=(
            f'"not dependent on NR_CPUS" leaves out that {WITH_ARRAY}; up to {most_cpus(mailed)} fit in'
            f" {mailed} pages"
        ),
        beside=(
            Beside(
                "in mail_mode", mailed_pages(4) * 4, _stack_of(_with_one_block(bench, as_mailed))
            ),
        ),
        run=run,
        command=script("block", "block-512way"),
        shows=(f"stack bytes {pages * 4}",),
    )


def utilisation(bench: Bench) -> Figure:
    """Figure 16: how full blocks are after random frees, per mille."""
    inputs = bench.inputs
    run = bench.fresh(block_machine(inputs, nr_blocks=inputs.refill_blocks, name="block-refill"))
    _workload(inputs).run(lambda size: alloc(run, size), lambda ptr: free(run, ptr))
    used = sum_of_bytes(run, lambda each: each.kind == DYNAMIC and each.cpu == 0)
    unused = sum_of_bytes(run, lambda each: each.kind == FREE and each.cpu == 0)
    exact = _utilisation_of_lists(inputs)
    sizes = f"{inputs.refill_smallest_bytes} to {inputs.refill_largest_bytes} bytes"
    return Figure(
        what="utilisation with random sized allocations after repeated random frees",
        system=SYSTEM,
        unit="per mille",
        formula=(
            f"the lists alone, without memory: {inputs.refill_blocks} blocks, {sizes},"
            f" {inputs.refill_rounds} rounds of {inputs.refill_freed_percent} % freed,"
            f" seed {inputs.refill_seed}"
        ),
        exact=exact,
        ours=PERMILLE * used // (used + unused),
        mail=MailFigure("98%", f"{exact // 10}%", exact // 10 * 10),
        because="the mail has whole percents" * (exact % 10 != 0),
        note="the mail does not say which sizes: those of counters give 98 %, larger ones less",
        run=run,
        command=saved("16", "account"),
        shows=(str(used), str(unused)),
    )


def _sum(nr_cpus: int) -> str:
    """Return what the management pages hold on i386: buf_ctl's, descriptor, page pointers."""
    buf_ctls = 3 * 4 * BLOCK_BYTES // CURRENCY_BYTES
    fields = management_bytes(4, 0) - buf_ctls
    return f"{buf_ctls} + {fields} + {2 * PAGES_PER_CPU * 4} x {nr_cpus}"


def _pages_of(run: Timeline) -> int:
    """Return the management pages of all blocks."""
    nr_bytes = sum_of_bytes(
        run, lambda each: MANAGEMENT in each.strip and each.kind in (METADATA, PADDING)
    )
    return nr_bytes // PAGE_SIZE_BYTES


def _stack_of(run: Timeline) -> int:
    """Return what pointers to them take."""
    return _pages_of(run) * run.machine.arch.word_bytes


def _with_one_block(bench: Bench, description: Description) -> Timeline:
    run = bench.fresh(description)
    alloc(run, SMALL_BYTES)
    return run


def _workload(inputs: FigureInputs) -> RefillWorkload:
    return RefillWorkload(
        RandomState.from_seed(inputs.refill_seed),
        smallest_bytes=inputs.refill_smallest_bytes,
        largest_bytes=inputs.refill_largest_bytes,
        nr_rounds=inputs.refill_rounds,
        freed_percent=inputs.refill_freed_percent,
    )


def _utilisation_of_lists(inputs: FigureInputs) -> int:
    """Do the same work on the allocator's lists alone, per mille."""
    pool = BlockPool(BlockGeometry(word_bytes=4, nr_cpus=inputs.nr_cpus))
    stride = pool.geometry.nr_area_pages * PAGE_SIZE_BYTES

    def take(size_bytes: int) -> int:
        size_bytes = align_up(size_bytes, CURRENCY_BYTES)
        found = pool.take(size_bytes=size_bytes, align=CURRENCY_BYTES)
        if found is None and pool.next_number < inputs.refill_blocks:
            pool.add(Block.fresh(pool.geometry, PAGE_SIZE_BYTES + pool.next_number * stride))
            found = pool.take(size_bytes=size_bytes, align=CURRENCY_BYTES)
        return found.addr if found is not None else 0

    def give(addr: int) -> None:
        found = pool.objects.find(addr)
        if found is not None:
            pool.give(found)

    _workload(inputs).run(take, give)
    return PERMILLE * pool.used_bytes // pool.room_bytes
