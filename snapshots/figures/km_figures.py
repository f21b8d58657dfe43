"""Figures of chunks in kernel memory, from the commit of 9 April 2010.

    4 units of 9 pages    │ u0 │ u1 │ u2 │ u3 │      wasted 28      │    alloc_pages(order_base_2(36)): 64

A block of a power of two holds a chunk; what is beyond the units nobody can use, in every chunk.
"""

from __future__ import annotations

from typing import Final

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError, KernelBug
from kernel_sim.events import PercpuCreateChunk
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.area_km import pcpu_verify_alloc_info
from kernel_sim.percpu.boot_log import EINVAL
from snapshots.figures.bench import Bench, Description
from snapshots.figures.figure import Beside, Figure, MailFigure
from snapshots.figures.inputs import KIB, Layout
from snapshots.figures.machines import KM_REQUEST_BYTES, congruent_machine, km_machine
from snapshots.figures.measuring import alloc, free_pages
from snapshots.figures.seeing import boot_log, script
from snapshots.timeline import Timeline

SYSTEM: Final = "percpu-km-2010"
WASTING: Final = "percpu: wasting "
SMALL_BYTES: Final = 64
CHUNKS_MAX: Final = 1 << 12


def pages_of(layout: Layout) -> int:
    """Return the pages of all units of a chunk."""
    units, unit_kib = layout
    return units * unit_kib * KIB // PAGE_SIZE_BYTES


def block_of(layout: Layout) -> int:
    """Return the least power of two that is not less."""
    nr_pages = 1
    while nr_pages < pages_of(layout):
        nr_pages *= 2
    return nr_pages


def most_wasteful(layouts: tuple[Layout, ...]) -> Layout:
    """Return the layout that wastes most in each chunk."""
    return max(layouts, key=lambda layout: block_of(layout) - pages_of(layout))


def waste(bench: Bench) -> Figure:
    """Figure 23: pages that a chunk takes beyond its units, for each layout."""
    layouts = bench.inputs.km_layouts
    runs = [bench.fresh(km_machine(*layout)) for layout in layouts]
    exact = tuple(block_of(layout) - pages_of(layout) for layout in layouts)
    ours = tuple(
        pages_of_new_chunk(run) - pages_of(layout)
        for run, layout in zip(runs, layouts, strict=True)
    )
    shown = layouts.index(most_wasteful(layouts))
    name = "x".join(map(str, layouts[shown]))
    return Figure(
        what=f"order_base_2(nr_pages): pages wasted in each chunk, units x KiB {_shown(layouts)}",
        system=SYSTEM,
        unit="pages",
        formula="2^ceil(log2(n)) - n",
        exact=exact,
        ours=ours,
        beside=(Beside('told at boot, "wasting … pages"', exact, tuple(map(_told, runs))),),
        run=runs[shown],
        command=boot_log(f"km-{name}"),
        shows=(f"{WASTING}{exact[shown]} pages per chunk",),
    )


def two_groups(bench: Bench) -> Figure:
    """Figure 24: a layout with more than one group is refused, and its waste not even computed."""
    inputs = bench.inputs
    same = bench.fresh(congruent_machine(inputs, system="chunk-2009", name="chunk-2node"))
    info = same.machine.percpu_units.info
    error, lines = pcpu_verify_alloc_info(info)
    said = [line.text for line in lines]
    refused = _refusal(congruent_machine(inputs, system=SYSTEM, name="km-2node"))
    return Figure(
        what=f"{len(info.groups)} groups of CPUs: the result of pcpu_verify_alloc_info()",
        system=SYSTEM,
        unit="-EINVAL",
        formula="nr_groups != 1",
        exact=-EINVAL,
        ours=error,
        mail=MailFigure(
            "percpu: can't handle more than one groups", said[0] if said else "", -EINVAL
        ),
        beside=(
            Beside("lines about waste", 0, sum(text.startswith(WASTING) for text in said)),
            Beside("machines that are refused, with that line", 1, int(said[0] in refused)),
        ),
        run=same,
        command=boot_log("km-2node"),
        shows=("percpu: can't handle more than one groups", str(-EINVAL)),
    )


def upfront(bench: Bench) -> Figure:
    """P4: a chunk takes all its pages as it is made, and an area none."""
    layouts = bench.inputs.km_layouts
    exact = tuple(map(block_of, layouts))
    runs = [bench.fresh(km_machine(*layout)) for layout in layouts]
    ours, later = [], []
    for run in runs:
        ours.append(pages_of_new_chunk(run))
        before = free_pages(run)
        alloc(run, SMALL_BYTES)
        later.append(before - free_pages(run))
    return Figure(
        what='"fully upfront": free pages that go as a chunk is made',
        system=SYSTEM,
        unit="pages",
        formula="2^order",
        exact=exact,
        ours=tuple(ours),
        beside=(Beside("as an area of it is allocated", (0,) * len(layouts), tuple(later)),),
        run=runs[layouts.index(most_wasteful(layouts))],
        command=script("km-chunk", "km-6x128"),
        shows=("wasted tail",),
    )


def pages_of_new_chunk(run: Timeline) -> int:
    """Allocate until a chunk is made; returns the free pages that this took."""
    for _ in range(CHUNKS_MAX):
        before, nr_events = free_pages(run), run.nr_events
        alloc(run, KM_REQUEST_BYTES)
        events = (run.event_at(index).event for index in range(nr_events, run.nr_events))
        if any(isinstance(event, PercpuCreateChunk) for event in events):
            return before - free_pages(run)
    raise KernelBug(f"{CHUNKS_MAX} areas of {KM_REQUEST_BYTES} bytes fit into the first chunk")


def _told(run: Timeline) -> int:
    """Return how many pages the machine's log says are wasted; 0 if it says nothing."""
    said = [text for _, text in run.machine.kernel_log if text.startswith(WASTING)]
    return int(said[0].removeprefix(WASTING).split()[0]) if said else 0


def _refusal(description: Description) -> str:
    """Return why a machine cannot be, "" if it can."""
    try:
        boot(MachineConfig.from_mapping(description, where=str(description["name"])))
    except ConfigError as problem:
        return str(problem)
    return ""


def _shown(layouts: tuple[Layout, ...]) -> str:
    return " ".join(f"{units}x{unit_kib}" for units, unit_kib in layouts)
