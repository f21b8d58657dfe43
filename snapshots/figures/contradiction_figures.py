"""Where a mail and code, or two versions of the code, do not say the same: both are run.

    X1  chunks in kernel memory: as posted a new area is not zero, later it is
    X2  offset pointers: the posted loop takes the section's bytes for a number of pointers
    X3  chunks: without memory the first commit takes pages away that neighbours use

A row's figure is of the code as posted; what was meant, or mended later, is measured beside it.
"""

from __future__ import annotations

from itertools import count
from typing import Final

from kernel_sim.percpu.stretch import TABLE, Stretch
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.km_figures import CHUNKS_MAX, most_wasteful, pages_of_new_chunk
from snapshots.figures.machines import (
    KM_REQUEST_BYTES,
    chunk_machine,
    km_machine,
    offsets_machine,
)
from snapshots.figures.measuring import alloc, do, free, load_module, word_at
from snapshots.figures.seeing import saved
from snapshots.timeline import Timeline

WORD_BYTES: Final = 4
MARK: Final = 0x5EED5EED
AREA_BYTES: Final = 2048
PAGE_BYTES: Final = 4096
PAGES: Final = "pcpu_alloc_pages"


def not_zeroed(bench: Bench) -> Figure:
    """X1: an area is written, given back, and given out again."""
    layout = most_wasteful(bench.inputs.km_layouts)
    posted = bench.fresh(km_machine(*layout, clears=False, name="km-as-posted"))
    mended = bench.fresh(km_machine(*layout))
    return Figure(
        what="words of a former owner in a new area, as posted",
        system="percpu-km-2010",
        unit="words",
        formula="populate is a noop: one was written, one is there",
        exact=1,
        ours=_words_left(posted),
        note="vm chunks clear every area; kernel memory did so from 2.6.37 on",
        beside=(Beside("from 2.6.37 on", 0, _words_left(mended)),),
        run=posted,
        command=saved("X1", "x", "percpu:0xc0004000@0", "16"),
        shows=("ed 5e ed 5e",),
    )


def overrun(bench: Bench) -> Figure:
    """X2: words that are filled with a module's table."""
    inputs = bench.inputs
    nr_cpus, nr_pointers = inputs.small_box_cpus, inputs.module_variables
    posted = bench.fresh(offsets_machine(inputs, nr_cpus, overruns=True, name="offsets-as-posted"))
    meant = bench.fresh(offsets_machine(inputs, nr_cpus))
    ours = _words_filled(posted, nr_pointers)
    table, pointers = _module_tables(posted)
    return Figure(
        what=f"pointers that are filled in for {nr_pointers} variables of a module, as posted",
        system="rostedt-2006-modules",
        unit="words",
        formula=f"bytes of the section, {nr_pointers} x {WORD_BYTES}, taken for its pointers",
        exact=nr_pointers * WORD_BYTES,
        ours=ours,
        beside=(Beside("as meant", nr_pointers, _words_filled(meant, nr_pointers)),),
        run=posted,
        command=saved("X2", "x", f"{pointers.addr:#x}", str(2 * WORD_BYTES * ours)),
        shows=(table.addr.to_bytes(WORD_BYTES, "little").hex(" "),),
    )


def neighbours(bench: Bench) -> Figure:
    """X3: an area that cannot get its second page takes the first with it, where another one lies."""
    inputs = bench.inputs
    first = bench.fresh(chunk_machine(inputs))
    mended = bench.fresh(chunk_machine(inputs, stage=".31", name="chunk-31"))
    return Figure(
        what="copies of a neighbour left without a page by an area that could not be had, first code",
        system="chunk-2009",
        unit="copies",
        formula="the whole range is depopulated, in all units",
        exact=inputs.nr_units,
        ours=_copies_without_page(first),
        beside=(Beside("in 2.6.31", 0, _copies_without_page(mended)),),
        run=first,
        command=saved("X3", "stretches", "chunk"),
        shows=("hole",),
    )


def _words_left(run: Timeline) -> int:
    """Return 1 if what was written to an area of a new chunk is in the one after it, else 0."""
    pages_of_new_chunk(run)
    ptr = alloc(
        run, KM_REQUEST_BYTES
    )  # as large as the one for which the chunk was made: it lies there
    do(run, 0, "this_cpu_write", ptr, MARK, WORD_BYTES)
    free(run, ptr)
    again = alloc(run, KM_REQUEST_BYTES)
    return int(do(run, 0, "this_cpu_read", again, WORD_BYTES) == MARK)


def _words_filled(run: Timeline, nr_variables: int) -> int:
    """Load a module; return the words from its pointers on that hold the address of its table."""
    load_module(run, nr_variables * WORD_BYTES, nr_variables=nr_variables)
    table, pointers = _module_tables(run)
    return next(
        number
        for number in count()
        if word_at(run, pointers.addr + number * WORD_BYTES) != table.addr
    )


def _module_tables(run: Timeline) -> tuple[Stretch, Stretch]:
    """Return a module's table of offsets, and its pointers to it."""
    table, pointers = (
        each for each in run.machine.system.stretches() if each.kind == TABLE and each.ptr
    )
    return table, pointers


def _copies_without_page(run: Timeline) -> int:
    """Let an area fail whose first page another one has; return that one's copies without memory."""
    before = 0
    for _ in range(CHUNKS_MAX):
        before = run.nr_events
        neighbour = alloc(run, AREA_BYTES)
        names = [type(run.event_at(at).event).__name__ for at in range(before, run.nr_events)]
        if "PercpuCreateChunk" in names:
            break
    run.take("fail_page_alloc", 0, (f"nth=0 caller={PAGES}",))
    alloc(run, PAGE_BYTES)
    machine = run.machine
    copies = [machine.system.copy_addr(neighbour, cpu) for cpu in machine.topology.possible]
    return sum(addr is not None and machine.space.translate(addr) is None for addr in copies)
