"""What the mail of January 2005 claims of blocks beside its figures, each measured.

C1  one reference less than alloc_percpu()       C4  alloc_percpu()'s array is not node-local
C2  one less than a static variable              C5  pages for possible CPUs only
C3  copies on their CPUs' nodes                  C6  no array of NR_CPUS pointers for each area
"""

from __future__ import annotations

from typing import Final

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.stretch import HOLE, TABLE, Stretch
from snapshots.figures.bench import Bench
from snapshots.figures.block_figures import BLOCK_BYTES, management_pages
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.machines import block_machine, legacy_machine, on_two_nodes
from snapshots.figures.mail_arithmetic import in_words, in_words_inside
from snapshots.figures.measuring import alloc, sum_of_bytes
from snapshots.figures.reference_figures import (
    AT_ONCE,
    BY_OFFSET,
    BY_POINTER,
    OBJECT_BYTES,
    references,
    references_of,
    static_ptr,
    told,
)
from snapshots.figures.seeing import script
from snapshots.timeline import Timeline

SYSTEM: Final = "block-2005"
GUARD: Final = "guard page"


def less_than_pointer_array(bench: Bench) -> Figure:
    """C1: references saved against the old alloc_percpu()."""
    inputs = bench.inputs
    old = bench.fresh(legacy_machine(inputs, inputs.small_box_cpus))
    new = bench.fresh(block_machine(inputs))
    was = references_of(old, alloc(old, OBJECT_BYTES), 1)
    less = len(BY_POINTER) - len(AT_ONCE)
    return Figure(
        what="references less than with the existing alloc_percpu()",
        system=SYSTEM,
        unit="references",
        formula=f"{len(BY_POINTER)} - {len(AT_ONCE)}",
        exact=less,
        ours=was - references_of(new, alloc(new, OBJECT_BYTES), 1),
        run=new,
        mail=in_words("One less memory reference", less, "less memory reference"),
        command=script("block", "block-8way"),
        shows=(told(AT_ONCE),),
    )


def less_than_static(bench: Bench) -> Figure:
    """C2: references saved against a static variable of the same run.machine."""
    run = bench.fresh(block_machine(bench.inputs))
    less = len(BY_OFFSET) - len(AT_ONCE)
    was = references_of(run, static_ptr(run), 1)
    return Figure(
        what="references less than with static per-CPU areas",
        system=SYSTEM,
        unit="references",
        formula=f"{len(BY_OFFSET)} - {len(AT_ONCE)}",
        exact=less,
        ours=was - references_of(run, alloc(run, OBJECT_BYTES), 1),
        mail=in_words_inside("one mem ref less", less, "mem ref less"),
        run=run,
        command=script("block", "block-8way"),
        shows=(told(AT_ONCE),),
    )


def node_local(bench: Bench) -> Figure:
    """C3: where the copies of a block's objects lie."""
    nr_cpus = bench.inputs.small_box_cpus
    run = bench.fresh(on_two_nodes(block_machine(bench.inputs), nr_cpus, "block-2node"))
    ptr = alloc(run, OBJECT_BYTES)
    remote = sum(_remote_references(run, cpu, ptr) for cpu in range(nr_cpus))
    return Figure(
        what='"truly node local allocation": bytes of copies that lie on another node than their CPU',
        system=SYSTEM,
        unit="bytes",
        formula="every page is asked for on its CPU's node",
        exact=0,
        ours=account_of(run.machine).misplaced_bytes,
        beside=(
            Beside("references of all CPUs to their copies that go to another node", 0, remote),
        ),
        run=run,
        command=script("block", "block-2node"),
        shows=("0 bytes lie on another node than where they should",),
    )


def array_is_remote(bench: Bench) -> Figure:
    """C4: where the pointer array of the old alloc_percpu() lies, for a CPU of the other node."""
    inputs = bench.inputs
    nr_cpus = inputs.small_box_cpus
    description = on_two_nodes(legacy_machine(inputs, nr_cpus), nr_cpus, "legacy-2node")
    run = bench.fresh(description)
    ptr = alloc(run, OBJECT_BYTES)
    path = references(run, ptr, cpu=nr_cpus - 1)
    node = run.machine.topology.node_of_cpu[nr_cpus - 1]
    return Figure(
        what='"the NR_CPUS place holder is not node local": remote references of a CPU to its own copy',
        system="legacy-ptrarray",
        unit="references",
        formula="the array, where the CPU that allocated it was",
        exact=len(BY_POINTER) - 1,
        ours=sum(each.node != node for each in path),
        beside=(Beside("of them the datum", 0, int(path[-1].node != node)),),
        run=run,
        command=script("alloc-percpu-2node", "legacy-2node"),
        shows=(f"{len(BY_POINTER) - 1} of the references go to another node",),
    )


def possible_only(bench: Bench) -> Figure:
    """C5: pages of a block behind the address space of CPUs that cannot be there."""
    inputs = bench.inputs
    nr_possible = inputs.small_box_cpus
    nr_others = inputs.nr_cpus - nr_possible
    run = bench.fresh(block_machine(inputs))
    ptr = alloc(run, OBJECT_BYTES)
    block = ptr - ptr % PAGE_SIZE_BYTES
    others = range(
        block + nr_possible * BLOCK_BYTES, block + inputs.nr_cpus * BLOCK_BYTES, PAGE_SIZE_BYTES
    )
    nr_pages = nr_possible * (BLOCK_BYTES >> PAGE_SHIFT) + management_pages(4, inputs.nr_cpus)
    backed = sum_of_bytes(run, lambda each: _in_block(each) and each.kind != HOLE)
    kept = sum_of_bytes(
        run, lambda each: _in_block(each) and each.kind == HOLE and each.what != GUARD
    )
    return Figure(
        what='"cpu_possible cpus only": pages of a block for CPUs that are not possible',
        system=SYSTEM,
        unit="pages",
        formula=f"none for {nr_others} of NR_CPUS {inputs.nr_cpus}",
        exact=0,
        ours=sum(run.machine.space.translate(addr) is not None for addr in others),
        beside=(
            Beside("address space kept for them", nr_others * BLOCK_BYTES, kept),
            Beside("pages of the block", nr_pages, backed >> PAGE_SHIFT),
        ),
        run=run,
        command=script("block", "block-8way"),
        shows=("not possible: no pages", str(nr_others * BLOCK_BYTES)),
    )


def no_pointer_array(bench: Bench) -> Figure:
    """C6: bytes of tables that one more area costs."""
    inputs = bench.inputs
    before = inputs.nr_cpus * 4
    return Figure(
        what="\"doesn't need a NR_CPUS pointer array for each allocation\": bytes of tables an area costs",
        system=SYSTEM,
        unit="bytes",
        formula="none; before, 4 bytes for each of NR_CPUS",
        exact=0,
        ours=_table_bytes_of_an_area(bench.fresh(block_machine(inputs))),
        beside=(
            Beside(
                "before", before,
                _table_bytes_of_an_area(
                    bench.fresh(legacy_machine(inputs, inputs.small_box_cpus))
                ),
            ),
        ),
        command=script("alloc-percpu", "legacy-2cpu"),
        shows=(f"ptrs[{inputs.nr_cpus}]", str(before)),
    )  # fmt: skip


def _remote_references(run: Timeline, cpu: int, ptr: int) -> int:
    node = run.machine.topology.node_of_cpu[cpu]
    return sum(each.node != node for each in references(run, ptr, cpu=cpu))


def _in_block(stretch: Stretch) -> bool:
    return stretch.strip.startswith("block ")


def _table_bytes_of_an_area(run: Timeline) -> int:
    def tables() -> int:
        return sum_of_bytes(run, lambda each: each.kind == TABLE)

    alloc(run, OBJECT_BYTES)
    before = tables()
    alloc(run, OBJECT_BYTES)
    return tables() - before
