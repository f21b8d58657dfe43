"""Figures of the draft of chunks, from the mail of 13 February 2009.

    c0 │ u0 │ u1 │ u2 │ u3 │    c1 │ u0 │ u1 │ u2 │ u3 │     UNIT_SIZE 128k
         static variables            │  └ 512 bytes at 6k of each: "an area at 134k"
                                     └ what is before it, filled first

The linear 134k is the mail's way of counting; committed code has chunks and offsets only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from kernel_sim.errors import ConfigError
from kernel_sim.events import MmPageAlloc
from kernel_sim.mm.gfp import GFP_HIGHMEM
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_lists import GFP_COLD
from kernel_sim.percpu.stretch import Stretch
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Beside, Figure, MailFigure
from snapshots.figures.inputs import KIB
from snapshots.figures.machines import chunk_machine
from snapshots.figures.measuring import alloc, offset_of_cpu
from snapshots.figures.seeing import script, show
from snapshots.timeline import Timeline

SYSTEM: Final = "chunk-2009"
FILLER_BYTES: Final = 32 * KIB
INT_BYTES: Final = 4
FLAG_NAMES: Final[Mapping[int, str]] = {GFP_HIGHMEM: "HIGHMEM", GFP_COLD: "COLD"}
BOTH: Final = GFP_HIGHMEM | GFP_COLD


def place(bench: Bench) -> Figure:
    """Figure 18: where in which chunk the area lies."""
    inputs = bench.inputs
    run, copies = found = with_area(bench)
    chunk, offset = divmod(inputs.area_linear_bytes, inputs.unit_bytes)
    return Figure(
        what=f"an area at {_k(inputs.area_linear_bytes)} lies at this offset",
        system=SYSTEM,
        unit=f"bytes of c{chunk}",
        formula=f"{inputs.area_linear_bytes} - {chunk} x {inputs.unit_bytes}",
        exact=offset,
        ours=found.offset_bytes,
        mail=MailFigure("6k of c1", f"{_k(offset)} of c{chunk}", offset),
        note="the linear number is the mail's; no code had it",
        beside=(
            Beside("chunk", chunk, _chunk_number(copies[0])),
            Beside("end", offset + inputs.area_bytes, found.offset_bytes + copies[0].size_bytes),
        ),
        run=run,
        command=script("area-at-134k", "chunk-draft"),
        shows=(f"size={inputs.area_bytes} ", f" off={offset} "),
    )


def size(bench: Bench) -> Figure:
    """Figure 19: the area's size, and the pages behind its copies."""
    inputs = bench.inputs
    run, copies = found = with_area(bench)
    offset = inputs.area_linear_bytes % inputs.unit_bytes
    first, last = offset >> PAGE_SHIFT, offset + inputs.area_bytes - 1 >> PAGE_SHIFT
    frames: dict[int, None] = {}
    for copy in copies:
        for addr in range(copy.addr & -PAGE_SIZE_BYTES, copy.end, PAGE_SIZE_BYTES):
            frames[run.machine.space.translate(addr) or 0] = None
    page = found.offset_bytes >> PAGE_SHIFT
    return Figure(
        what="size of that area in every unit",
        system=SYSTEM,
        unit="bytes",
        formula="as asked",
        exact=inputs.area_bytes,
        ours=copies[0].size_bytes,
        mail=MailFigure("512bytes", f"{inputs.area_bytes}bytes", inputs.area_bytes),
        beside=(
            Beside("its first page in the unit", first, page),
            Beside("pages behind its copies", inputs.nr_units * (last - first + 1), len(frames)),
        ),
        run=run,
        command=script("area-at-134k", "chunk-draft"),
        shows=(f" {inputs.area_bytes}  dynamic",),
    )


def units(bench: Bench) -> Figure:
    """Figure 20: units of a chunk."""
    inputs = bench.inputs
    run, copies = with_area(bench)
    return Figure(
        what="units of a chunk: num_possible_cpus()",
        system=SYSTEM,
        unit="units",
        formula="CPUs that are possible",
        exact=inputs.nr_units,
        ours=len(copies),
        mail=MailFigure(
            "u0 | u1 | u2 | u3",
            " | ".join(f"u{u}" for u in range(inputs.nr_units)),
            inputs.nr_units,
        ),
        run=run,
        command=script("area-at-134k", "chunk-draft"),
        shows=tuple(f"unit of cpu {cpu}" for cpu in range(inputs.nr_units)),
    )


def bases(bench: Bench) -> Figure:
    """Figure 21: how far apart base registers are."""
    inputs = bench.inputs
    run, copies = with_area(bench)
    cpus = range(1, inputs.nr_units)
    exact = tuple(cpu * inputs.unit_bytes for cpu in cpus)
    registers = [run.machine.cpus[cpu].gs_base for cpu in range(inputs.nr_units)]
    starts = [copy.addr for copy in copies]
    return Figure(
        what='"percpu base registers UNIT_SIZE apart", from cpu 0',
        system=SYSTEM,
        unit="bytes",
        formula=f"c x {inputs.unit_bytes}",
        exact=exact,
        ours=tuple(registers[cpu] - registers[0] for cpu in cpus),
        beside=(
            Beside(
                "in __per_cpu_offset[]", exact,
                tuple(offset_of_cpu(run, cpu) - offset_of_cpu(run, 0) for cpu in cpus),
            ),
            Beside("copies of the area", exact, tuple(starts[cpu] - starts[0] for cpu in cpus)),
        ),
        run=run,
        command=show("chunk-draft", "cpus"),
        shows=tuple(f"{register:#x}" for register in registers),
    )  # fmt: skip


def flags(bench: Bench) -> Figure:
    """Figure 22: what pages of chunks are asked for with, from the trace of every page."""
    inputs = bench.inputs
    run = with_area(bench).run
    asked = [each.gfp_flags for each in _page_requests(run) if each.gfp_flags & BOTH]
    chunk, offset = divmod(inputs.area_linear_bytes, inputs.unit_bytes)
    of_unit = inputs.unit_bytes >> PAGE_SHIFT
    nr_pages = (chunk - 1) * of_unit + -(-(offset + inputs.area_bytes) // PAGE_SIZE_BYTES)
    every = [bit for bit in FLAG_NAMES if asked and all(gfp & bit for gfp in asked)]
    return Figure(
        what="pages of the chunks up to that area, asked for with both flags",
        system=SYSTEM,
        unit="pages",
        formula=f"{nr_pages} pages x {inputs.nr_units} units",
        exact=nr_pages * inputs.nr_units,
        ours=sum(gfp & BOTH == BOTH for gfp in asked),
        mail=MailFigure(
            "HIGHMEM | COLD",
            " | ".join(FLAG_NAMES[bit] for bit in every),
            nr_pages * inputs.nr_units,
        ),
        beside=(Beside("with one of them only", 0, sum(gfp & BOTH != BOTH for gfp in asked)),),
        run=run,
        command=script("area-at-134k", "chunk-draft"),
        shows=(f"__GFP_HIGHMEM|{GFP_COLD:#x}",),
    )


class WithArea(NamedTuple):
    """A run in which there is the mail's area, and its copies by CPU."""

    run: Timeline
    copies: list[Stretch]

    @property
    def offset_bytes(self) -> int:
        """Where in its unit the first copy lies."""
        first = self.copies[0]
        stretches = self.run.machine.system.stretches()
        return first.addr - min(each.addr for each in stretches if each.strip == first.strip)


def with_area(bench: Bench) -> WithArea:
    """Return a run in which the area is where the mail has it: what lies before it is filled first.

    Raises ConfigError for a place where no area can be.
    """
    inputs = bench.inputs
    chunk, offset = divmod(inputs.area_linear_bytes, inputs.unit_bytes)
    if not chunk or offset % INT_BYTES or offset + inputs.area_bytes > inputs.unit_bytes:
        raise ConfigError(
            f"area_linear_bytes={inputs.area_linear_bytes}: expected a multiple of {INT_BYTES} from"
            f" {inputs.unit_bytes} on (c0 has the static variables) with {inputs.area_bytes} bytes to"
            " the end of the unit"
        )
    run = bench.fresh(chunk_machine(inputs))
    at = inputs.unit_bytes
    while at < inputs.area_linear_bytes:
        to_end = inputs.unit_bytes - at % inputs.unit_bytes
        filler = min(FILLER_BYTES, to_end, inputs.area_linear_bytes - at)
        alloc(run, filler)
        at += filler
    ptr = alloc(run, inputs.area_bytes)
    copies = [each for each in run.machine.system.stretches() if each.ptr == ptr]
    return WithArea(run, copies)


def _page_requests(run: Timeline) -> Iterator[MmPageAlloc]:
    for index in range(run.nr_events):
        event = run.event_at(index).event
        if isinstance(event, MmPageAlloc):
            yield event


def _chunk_number(area: Stretch) -> int:
    """Return the number of a later chunk, as its strip has it."""
    return int(area.strip.split(",")[0].removeprefix("chunk "))


def _k(size_bytes: int) -> str:
    return f"{size_bytes // KIB}k"
