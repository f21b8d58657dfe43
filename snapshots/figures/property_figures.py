"""What the mails say of their systems without a number, counted: what is left behind, what grows in unison.

    P1  blocks: pages that a block leaves behind of which one page could not be had
    P2  the hybrid of May 2006: a CPU that comes gets the saved image, in pages of its node
    P3  chunks: units grow and shrink in unison
    P4  chunks in kernel memory: fully upfront

A row is zero where nothing may differ; what was tried stands beside it.
"""

from __future__ import annotations

from typing import Final

from snapshots.figures.bench import Bench
from snapshots.figures.block_figures import PAGES_PER_CPU, SMALL_BYTES, management_pages
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.machines import block_machine
from snapshots.figures.measuring import alloc
from snapshots.figures.seeing import script
from snapshots.timeline import Timeline

BLOCK_PAGES: Final = "valloc_percpu"


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
    nr_pages = management_pages(4, inputs.nr_cpus) + PAGES_PER_CPU * min(
        inputs.small_box_cpus, inputs.nr_cpus
    )
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


def _pages_in_use(run: Timeline) -> int:
    """Return the pages that are neither free nor page tables, which are never given back."""
    pages = run.machine.pages
    free = pages.nr_free_pages + pages.nr_list_pages
    return -free - run.machine.space.nr_table_pages
