"""Figures of static areas with room for modules, as the mail of 15 April 2006 counts them.

one CPU    │ .data.percpu 17892 │ 28 │ room for modules 14848 │     28: to the end of the cache line
                                └────── 14876, "14K" ────────┘
"""

from __future__ import annotations

from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.percpu.stretch import PADDING, RESERVED_ROOM, STATIC, Stretch
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.inputs import FigureInputs
from snapshots.figures.machines import default_build, legacy_machine
from snapshots.figures.mail_arithmetic import in_kib, plain, whole_kib, with_kib
from snapshots.figures.measuring import largest, load_module, offset_of_cpu, sum_of_bytes
from snapshots.figures.seeing import show
from snapshots.timeline import Timeline

SYSTEM: Final = "legacy-static"
REST_OF_PAGE: Final = "rest of the page"  # of the whole allocation, not of an area
CUT_FIRST: Final = "the mail cuts to whole K before it goes on"


def area_bytes(inputs: FigureInputs, line_bytes: int) -> int:
    """Return what each CPU gets: a maximum, not a sum, as the code has it and the mail's own arithmetic."""
    return max(align_up(inputs.static_bytes, line_bytes), inputs.enough_room_bytes)


def spare_bytes(inputs: FigureInputs) -> int:
    """Return what each CPU gets beyond the section."""
    return area_bytes(inputs, inputs.usual_line_bytes) - inputs.static_bytes


def spare_bytes_of(run: Timeline) -> int:
    """Return what all CPUs' areas have beyond the section, from a run.machine."""

    def is_spare(stretch: Stretch) -> bool:
        is_room = stretch.kind in (RESERVED_ROOM, PADDING) and stretch.what != REST_OF_PAGE
        return is_room and stretch.cpu >= 0

    return sum_of_bytes(run, is_spare)


def spare_text(inputs: FigureInputs) -> str:
    """Return the formula of what each CPU gets beyond the section, with numbers."""
    line_bytes = inputs.usual_line_bytes
    room = area_bytes(inputs, line_bytes)
    return f"{room} - {inputs.static_bytes}"


def enough_room(bench: Bench) -> Figure:
    """Figure 1: how far apart two CPUs' areas are."""
    inputs = bench.inputs
    run = bench.seen(legacy_machine(inputs, inputs.small_box_cpus))
    static = align_up(inputs.static_bytes, inputs.usual_line_bytes)
    return Figure(
        what="what is set aside for each CPU: PERCPU_ENOUGH_ROOM",
        system=SYSTEM,
        unit="bytes",
        formula=f"max({static}, {inputs.enough_room_bytes})",
        exact=area_bytes(inputs, inputs.usual_line_bytes),
        ours=offset_of_cpu(run, 1) - offset_of_cpu(run, 0),
        mail=with_kib("32768 (32K)", inputs.enough_room_bytes),
        note='the mail says "section size + PERCPU_ENOUGH_ROOM"; code and arithmetic take the larger one',
        run=run,
        command=show("legacy-2cpu", "account"),
        shows=(str(area_bytes(inputs, inputs.usual_line_bytes)),),
    )


def static_section(bench: Bench) -> Figure:
    """Figure 2: the section, as every CPU has it."""
    inputs = bench.inputs
    run = bench.seen(legacy_machine(inputs, inputs.small_box_cpus))
    return Figure(
        what=".data.percpu, as a CPU has it",
        system=SYSTEM,
        unit="bytes",
        formula="the size of the section",
        exact=inputs.static_bytes,
        ours=sum_of_bytes(run, lambda each: each.kind == STATIC and each.cpu == 1),
        mail=with_kib("17892 (17K)", inputs.static_bytes),
        run=run,
        command=show("legacy-2cpu", "account"),
        shows=(str(inputs.static_bytes),),
    )


def spare_of_one(bench: Bench) -> Figure:
    """Figure 3: what one CPU has for modules that may come."""
    inputs = bench.inputs
    run = bench.seen(legacy_machine(inputs, 1))
    return Figure(
        what="extra space for modules, one CPU",
        system=SYSTEM,
        unit="bytes",
        formula=spare_text(inputs),
        exact=spare_bytes(inputs),
        ours=spare_bytes_of(run),
        mail=with_kib("14876 (14K)", inputs.enough_room_bytes - inputs.static_bytes),
        run=run,
        command=show("legacy-1cpu", "account"),
        shows=split_text(inputs, 1),
    )


def spare_of_two(bench: Bench) -> Figure:
    """Figure 4: the same on the mail's own run.machine."""
    inputs = bench.inputs
    nr_cpus = inputs.small_box_cpus
    run = bench.seen(legacy_machine(inputs, nr_cpus))
    mailed = (inputs.enough_room_bytes - inputs.static_bytes) * nr_cpus
    return Figure(
        what=f"the same for {nr_cpus} CPUs",
        system=SYSTEM,
        unit="bytes",
        formula=f"({spare_text(inputs)}) x {nr_cpus}",
        exact=spare_bytes(inputs) * nr_cpus,
        ours=spare_bytes_of(run),
        mail=with_kib("29752 (or 29K)", mailed, "or "),
        run=run,
        command=show("legacy-2cpu", "account"),
        shows=split_text(inputs, nr_cpus),
    )


def spare_of_many(bench: Bench) -> Figure:
    """Figure 5: the same on the large machine of the mail's example."""
    inputs = bench.inputs
    nr_cpus = inputs.large_box_cpus
    run = bench.seen(legacy_machine(inputs, nr_cpus))
    each_kib = whole_kib(inputs.enough_room_bytes - inputs.static_bytes)
    return Figure(
        what=f"wasted on a machine of {nr_cpus} processors",
        system=SYSTEM,
        unit="bytes",
        formula=f"({spare_text(inputs)}) x {nr_cpus}",
        exact=spare_bytes(inputs) * nr_cpus,
        ours=spare_bytes_of(run),
        mail=in_kib("896K", each_kib * nr_cpus),
        because=f"{CUT_FIRST}: {each_kib}K x {nr_cpus}",
        run=run,
        command=show("legacy-64cpu", "account"),
        shows=split_text(inputs, nr_cpus),
    )


def largest_module(bench: Bench) -> Figure:
    """Figure 6: the largest section that a module can have, for each cache line."""
    inputs = bench.inputs
    exact = tuple(
        area_bytes(inputs, line) - align_up(inputs.static_bytes, line) for line in inputs.line_bytes
    )
    ours = tuple(_largest_that_loads(bench, line) for line in inputs.line_bytes)
    lines = ", ".join(map(str, inputs.line_bytes))
    lost = tuple(
        align_up(inputs.static_bytes, line) - inputs.static_bytes for line in inputs.line_bytes
    )
    measured = tuple(_lost_bytes(bench, line) for line in inputs.line_bytes)
    return Figure(
        what=f"the largest section that a module gets, cache lines of {lines} bytes",
        system=SYSTEM,
        unit="bytes",
        formula=f"{inputs.enough_room_bytes} - align_up({inputs.static_bytes}, L)",
        exact=exact,
        ours=ours,
        note=f"the mail's {spare_bytes(inputs)} promises more: what a cache line loses nobody gets",
        beside=(Beside("lost to the cache line", lost, measured),),
        command=show("legacy-2cpu", "stretches", RESERVED_ROOM),
        shows=(f"{exact[-1]}  reserved",),
    )


def default_cpus(bench: Bench) -> Figure:
    """Figure 11: NR_CPUS where nobody says anything, all of them possible."""
    inputs = bench.inputs
    run = bench.seen(default_build(inputs))
    return Figure(
        what="copies of a default build for i386, its possible map all ones",
        system=SYSTEM,
        unit="copies",
        formula="NR_CPUS",
        exact=inputs.nr_cpus,
        ours=nr_copies(run),
        mail=plain("8", inputs.nr_cpus),
        note="why the mail's box of 2 CPUs paid for 8: i386 began with CPU_MASK_ALL",
        run=run,
        command=show("legacy-default-build", "account"),
        shows=(f"cpu {inputs.nr_cpus - 1} ",),
    )


def example_cpus(bench: Bench) -> Figure:
    """Figure 12: processors of the example."""
    inputs = bench.inputs
    run = bench.seen(legacy_machine(inputs, inputs.large_box_cpus))
    return Figure(
        what="processors in the example of waste",
        system=SYSTEM,
        unit="copies",
        formula="CPUs of the machine",
        exact=inputs.large_box_cpus,
        ours=nr_copies(run),
        mail=plain("64", inputs.large_box_cpus),
        run=run,
        command=show("legacy-64cpu", "account"),
        shows=(f"cpu {inputs.large_box_cpus - 1} ",),
    )


def nr_copies(run: Timeline) -> int:
    """Return how many CPUs have a static section of their own."""
    cpus = dict.fromkeys(each.cpu for each in run.machine.system.stretches() if each.kind == STATIC)
    return len(cpus)


def _largest_that_loads(bench: Bench, line_bytes: int) -> int:
    inputs = bench.inputs
    description = legacy_machine(inputs, inputs.small_box_cpus, line_bytes=line_bytes)

    def fits(size_bytes: int) -> bool:
        return load_module(bench.fresh(description), size_bytes)

    return largest(fits, inputs.enough_room_bytes)


def _lost_bytes(bench: Bench, line_bytes: int) -> int:
    name = f"legacy-line{line_bytes}"
    inputs = bench.inputs
    run = bench.seen(legacy_machine(inputs, 1, line_bytes=line_bytes, name=name))
    return sum_of_bytes(
        run, lambda each: each.kind == PADDING and each.what != REST_OF_PAGE and each.cpu == 0
    )


def split_text(inputs: FigureInputs, nr_cpus: int) -> tuple[str, ...]:
    """Return all CPUs' room, and what each loses to the cache line: together they are the spare bytes."""
    lost = align_up(inputs.static_bytes, inputs.usual_line_bytes) - inputs.static_bytes
    return str((spare_bytes(inputs) - lost) * nr_cpus), f" {lost} "
