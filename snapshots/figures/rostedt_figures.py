"""Figures of the two proposals of 2006: offset pointers (April), page-aligned areas and a window (May).

saved on n CPUs = n x (32768 - 17892) - 4368       room that is no longer kept, less the pointers' section
slack           = align_up(17892, 4096) - 17892    what small modules may use beside the kernel's own
"""

from __future__ import annotations

from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.stretch import PADDING, RESERVED_ROOM, STATIC, TABLE, Stretch
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.inputs import FigureInputs
from snapshots.figures.legacy_figures import (
    CUT_FIRST,
    REST_OF_PAGE,
    area_bytes,
    spare_bytes,
    spare_bytes_of,
    spare_text,
    split_text,
)
from snapshots.figures.machines import (
    default_build,
    hybrid_machine,
    legacy_machine,
    offsets_machine,
)
from snapshots.figures.mail_arithmetic import in_kib, whole_kib, with_kib
from snapshots.figures.measuring import (
    largest,
    load_module,
    offset_of_cpu,
    section_ptr,
    sum_of_bytes,
)
from snapshots.figures.seeing import both, show
from snapshots.timeline import Timeline

OFFSETS: Final = "rostedt-2006-modules"
VM: Final = "rostedt-2006-vm"
SECTION: Final = ".data.percpu_offset"
POINTER_BYTES: Final = 4


def offset_section(bench: Bench) -> Figure:
    """Figure 7: the section that holds a pointer for every variable."""
    inputs = bench.inputs
    run = bench.seen(offsets_machine(inputs, inputs.small_box_cpus))
    nr_pointers = inputs.offset_section_bytes // POINTER_BYTES
    return Figure(
        what="size of .data.percpu_offset, once for all CPUs",
        system=OFFSETS,
        unit="bytes",
        formula="the size of the section",
        exact=inputs.offset_section_bytes,
        ours=_section_bytes(run),
        mail=with_kib("4368 (4K)", inputs.offset_section_bytes),
        note="more pointers than the kernel had variables: a size of that build, not to be counted again",
        beside=(Beside("pointers", nr_pointers, _section_bytes(run) // POINTER_BYTES),),
        run=run,
        command=show("offsets-2cpu", "stretches", "table"),
        shows=(str(inputs.offset_section_bytes), SECTION),
    )


def saved_on_first(bench: Bench) -> Figure:
    """Figure 8: the first CPU pays for the section."""
    room, section = _whole_kib(bench.inputs)
    return _saved(
        bench, 1, "saved for the first CPU", "10K", room - section, f"{room}K - {section}K"
    )


def saved_on_two(bench: Bench) -> Figure:
    """Figure 9: on the mail's box, as if NR_CPUS were the CPUs it has."""
    room, section = _whole_kib(bench.inputs)
    nr_cpus = bench.inputs.small_box_cpus
    mailed = room - section + (nr_cpus - 1) * room
    text = f"{room - section}K + {nr_cpus - 1} x {room}K"
    return _saved(bench, nr_cpus, f"saved on the mail's {nr_cpus} CPUs", "24K", mailed, text)


def saved_on_default(bench: Bench) -> Figure:
    """Figure 10: on the same box, with all of NR_CPUS possible."""
    room, section = _whole_kib(bench.inputs)
    nr_cpus = bench.inputs.nr_cpus
    mailed = room - section + (nr_cpus - 1) * room
    text = f"{room - section}K + {nr_cpus - 1} x {room}K"
    return _saved(bench, nr_cpus, f"saved with NR_CPUS {nr_cpus}", "108K", mailed, text)


def slack(bench: Bench) -> Figure:
    """Figure 25: what page alignment leaves behind each CPU's own section."""
    inputs = bench.inputs
    run = bench.seen(hybrid_machine(inputs))
    area = align_up(inputs.static_bytes, PAGE_SIZE_BYTES)
    in_lines = area - align_up(inputs.static_bytes, inputs.usual_line_bytes)
    static = sum_of_bytes(run, lambda each: each.kind == STATIC and each.cpu == 0)
    return Figure(
        what="slack of a page-aligned area, for small modules",
        system=VM,
        unit="bytes",
        formula=f"align_up({inputs.static_bytes}, {PAGE_SIZE_BYTES}) - {inputs.static_bytes}",
        exact=area - inputs.static_bytes,
        ours=offset_of_cpu(run, 1) - offset_of_cpu(run, 0) - static,
        beside=(
            Beside(
                f"largest module that goes there, aligned to {inputs.usual_line_bytes}", in_lines,
                _largest_in(bench, inputs.usual_line_bytes, is_slack=True),
            ),
        ),
        run=run,
        command=show("hybrid-2cpu", "account"),
        shows=(f" {area - inputs.static_bytes} ",),
    )  # fmt: skip


def window(bench: Bench) -> Figure:
    """Figure 26: the largest section that a module can have in its window."""
    inputs = bench.inputs
    area = align_up(inputs.static_bytes, PAGE_SIZE_BYTES)
    return Figure(
        what="the largest section that a module gets: no more variables than the kernel has",
        system=VM,
        unit="bytes",
        formula=f"align_up({inputs.static_bytes}, {PAGE_SIZE_BYTES}): from one CPU's window to the next",
        exact=area,
        ours=_largest_in(bench, POINTER_BYTES, is_slack=False),
        run=bench.seen(hybrid_machine(inputs)),
        command=show("hybrid-2cpu", "stretches", "window"),
        shows=(f" {area}  hole",),
    )


def _largest_in(bench: Bench, align_bytes: int, *, is_slack: bool) -> int:
    """Return the largest section that loads; is_slack: and lies behind the kernel's own."""
    description = hybrid_machine(bench.inputs)
    area = align_up(bench.inputs.static_bytes, PAGE_SIZE_BYTES)

    def fits(size_bytes: int) -> bool:
        run = bench.fresh(description)
        if not load_module(run, size_bytes, align_bytes):
            return False
        return not is_slack or section_ptr(run) - run.machine.system.percpu_start < area

    return largest(fits, 2 * area)


def _saved(
    bench: Bench, nr_cpus: int, what: str, printed: str, mailed_kib: int, mailed_text: str
) -> Figure:
    inputs = bench.inputs
    is_default = nr_cpus == inputs.nr_cpus
    before = default_build(inputs) if is_default else legacy_machine(inputs, nr_cpus)
    old = bench.seen(before)
    new = bench.seen(offsets_machine(inputs, nr_cpus))
    section = inputs.offset_section_bytes
    line_bytes = inputs.usual_line_bytes
    room = area_bytes(inputs, line_bytes) - align_up(inputs.static_bytes, line_bytes)
    aligned = _area_bytes_of(old) - _area_bytes_of(new) - _section_bytes(new)
    return Figure(
        what=what,
        system=OFFSETS,
        unit="bytes",
        formula=f"{nr_cpus} x ({spare_text(inputs)}) - {section}",
        exact=nr_cpus * spare_bytes(inputs) - section,
        ours=spare_bytes_of(old) - _section_bytes(new),
        mail=in_kib(printed, mailed_kib),
        because=f"{CUT_FIRST}: {mailed_text}",
        note=f"{line_bytes}-byte cache lines are lost either way, so less is really saved",
        beside=(Beside("memory really saved", nr_cpus * room - section, aligned),),
        run=new,
        command=both(
            show(str(before["name"]), "account"), show(f"offsets-{nr_cpus}cpu", "stretches", TABLE)
        ),
        shows=(*split_text(inputs, nr_cpus), f" {section}  {TABLE}"),
    )


def _whole_kib(inputs: FigureInputs) -> tuple[int, int]:
    """Return what the mail has of room and section, in K."""
    room = inputs.enough_room_bytes - inputs.static_bytes
    return whole_kib(room), whole_kib(inputs.offset_section_bytes)


def _section_bytes(run: Timeline) -> int:
    return sum_of_bytes(run, lambda each: each.kind == TABLE and SECTION in each.what + each.strip)


def _area_bytes_of(run: Timeline) -> int:
    """Return the bytes of all CPUs' areas."""

    def is_area(stretch: Stretch) -> bool:
        is_kind = stretch.kind in (STATIC, RESERVED_ROOM, PADDING)
        return is_kind and stretch.cpu >= 0 and stretch.what != REST_OF_PAGE

    return sum_of_bytes(run, is_area)
