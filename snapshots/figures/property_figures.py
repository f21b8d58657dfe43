"""What the mails say of their systems without a number, counted: what is left behind, what grows in unison.

    P1  blocks: pages that a block leaves behind of which one page could not be had
    P2  the hybrid of May 2006: a CPU that comes gets the saved image, in pages of its node
    P3  chunks: units grow and shrink in unison
    P4  chunks in kernel memory: fully upfront

A row is zero where nothing may differ; what was tried stands beside it.
"""

from __future__ import annotations

from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.events import PercpuPopulate
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.random_state import RandomState
from snapshots.figures.bench import Bench
from snapshots.figures.block_figures import PAGES_PER_CPU, SMALL_BYTES, management_pages
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.machines import block_machine, chunk_machine, hybrid_machine
from snapshots.figures.measuring import alloc, bytes_at, do, free, free_pages
from snapshots.figures.seeing import script
from snapshots.timeline import Timeline

BLOCK_PAGES: Final = "valloc_percpu"
WORD_BYTES: Final = 4
MARK: Final = 0x5EED5EED
MARK_BYTES: Final = MARK.to_bytes(WORD_BYTES, "little")
MARK_EVERY_BYTES: Final = 500
NR_ALLOCATIONS: Final = 60
UNIT_AREA_BYTES: Final = 4000


def unwinding(bench: Bench) -> Figure:
    """P1: let each page of a block fail in turn, and count what is gone."""
    inputs = bench.inputs
    nr_tried = nr_left = 0
    while True:
        run = bench.fresh(block_machine(inputs))
        before = _pages_in_use(run)
        run.take("fail_page_alloc", 0, (f"nth={nr_tried} caller={BLOCK_PAGES}",))
        if alloc(run, SMALL_BYTES):
            break
        nr_left += _pages_in_use(run) - before
        nr_tried += 1
    nr_pages = management_pages(4, inputs.nr_cpus) + PAGES_PER_CPU * inputs.small_box_cpus
    return Figure(
        what="pages left behind by a block of which one page could not be had, each in turn",
        system="block-2005",
        unit="pages",
        formula="all or nothing",
        exact=0,
        ours=nr_left,
        beside=(Beside("pages that could not be had", nr_pages, nr_tried),),
        run=run,
        command=script("unwinding", "block-8way"),
        shows=("0 stretches with 'block 0'",),
    )


def hot_added(bench: Bench) -> Figure:
    """P2: the image is written all over, then a CPU comes and gets it."""
    inputs = bench.inputs
    run = bench.fresh(hybrid_machine(inputs, to_come=True, name="hybrid-to-come"))
    machine, coming = run.machine, inputs.small_box_cpus - 1
    start = machine.system.percpu_start
    marked = range(0, inputs.static_bytes - WORD_BYTES + 1, MARK_EVERY_BYTES)
    for offset in marked:
        do(run, 0, "write", start + offset, MARK, WORD_BYTES)
    result = do(run, 0, "cpu_up", coming)
    copy = machine.system.copy_addr(start, coming) or 0
    image = bytes_at(run, start, inputs.static_bytes)
    theirs = bytes_at(run, copy, inputs.static_bytes)
    area = align_up(inputs.static_bytes, PAGE_SIZE_BYTES)
    pages = [machine.space.translate(copy + at) or 0 for at in range(0, area, PAGE_SIZE_BYTES)]
    nodes = [machine.pages.node_of_pfn(phys >> PAGE_SHIFT) for phys in pages]
    home = machine.topology.node_of_cpu[coming]
    return Figure(
        what="bytes in which a hot-added CPU's copy is not the saved image",
        system="rostedt-2006-vm",
        unit="bytes",
        formula=f"the image of {inputs.static_bytes} bytes is copied",
        exact=0,
        ours=sum(one != other for one, other in zip(image, theirs, strict=True)),
        beside=(
            Beside("cpu_up()", 0, result if isinstance(result, int) else -1),
            Beside("marks that were written to the image", len(marked), theirs.count(MARK_BYTES)),
            Beside("pages on the CPU's node", area // PAGE_SIZE_BYTES, nodes.count(home)),
        ),
        run=run,
        command=script("hot-added", "hybrid-to-come"),
        shows=(f"node 1  {area}",),
    )  # fmt: skip


def in_unison(bench: Bench) -> Figure:
    """P3: areas come and go at random; then every unit of a chunk has the same pages, or none has."""
    inputs = bench.inputs
    run = bench.fresh(chunk_machine(inputs))
    random, live = RandomState.from_seed(inputs.refill_seed), list[int]()
    for _ in range(NR_ALLOCATIONS):
        live.append(alloc(run, UNIT_AREA_BYTES + random.below(UNIT_AREA_BYTES)))
        if random.below(3) == 0:
            free(run, live.pop(random.below(len(live))))
    backed: dict[str, dict[int, list[bool]]] = {}
    for unit, start, nr_bytes in _later_units(run):
        for page in range(nr_bytes >> PAGE_SHIFT):
            is_backed = run.machine.space.translate(start + (page << PAGE_SHIFT)) is not None
            backed.setdefault(unit, {}).setdefault(page, []).append(is_backed)
    pages = [states for of_chunk in backed.values() for states in of_chunk.values()]
    nr_populated = sum(
        event.page_end - event.page_start
        for index in range(run.nr_events)
        if isinstance(event := run.event_at(index).event, PercpuPopulate)
    )
    return Figure(
        what='"all units grow or shrink in unison": pages that some units of a chunk have and others not',
        system="chunk-2009",
        unit="pages",
        formula="every page is populated for all units or for none",
        exact=0,
        ours=sum(any(states) and not all(states) for states in pages),
        beside=(Beside("pages that every unit has", nr_populated, sum(map(all, pages))),),
        run=run,
        command=script("area-at-134k", "chunk-draft"),
        shows=("no pages yet",),
    )


def _later_units(run: Timeline) -> list[tuple[str, int, int]]:
    """Return (chunk, first address, bytes) of every unit of every chunk but the first."""
    units: dict[str, tuple[int, int]] = {}
    for each in run.machine.system.stretches():
        if each.strip.startswith("chunk ") and each.cpu >= 0:
            start, nr_bytes = units.get(each.strip, (each.addr, 0))
            units[each.strip] = start, nr_bytes + each.size_bytes
    return [(strip.split(",")[0], *place) for strip, place in units.items()]


def _pages_in_use(run: Timeline) -> int:
    """Return, but for a constant, the pages in use, without page tables: those are never given back."""
    return -free_pages(run) - run.machine.space.nr_table_pages
