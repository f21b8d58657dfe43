"""Memory references of an access, the CPU's number known and the datum counted: what each design costs.

    __per_cpu_offset[c] ─► datum              2     static areas, every chunk from afar
    ptrs[c]             ─► datum              2     alloc_percpu() before 2009
                           datum              1     blocks, a base register
    per_cpu_offset__v ─► table[c] ─► datum    3     a pointer for every variable

Every path is stated here and really gone by a CPU of the machine: its loads are counted, not these words.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.reference_count import Reference, count_references
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Beside, Figure
from snapshots.figures.km_figures import most_wasteful
from snapshots.figures.machines import (
    bitmap_machine,
    block_machine,
    chunk_machine,
    hybrid_machine,
    km_machine,
    legacy_machine,
    offsets_machine,
    rfc_machine,
)
from snapshots.figures.mail_arithmetic import in_words
from snapshots.figures.measuring import alloc, load_module, section_ptr
from snapshots.figures.seeing import both, script, show
from snapshots.timeline import Timeline

Path: TypeAlias = tuple[str, ...]

DATUM: Final = "datum"
BY_OFFSET: Final[Path] = ("__per_cpu_offset[c]", DATUM)
BY_POINTER: Final[Path] = ("ptrs[c]", DATUM)
BY_OFFSET_POINTER: Final[Path] = ("per_cpu_offset__v", "table[c]", DATUM)
AT_ONCE: Final[Path] = (DATUM,)
OBJECT_BYTES: Final = 64


def references_of(run: Timeline, ptr: int, owner: int | None = None, cpu: int = 0) -> int:
    """Return how many references a CPU makes to read a copy; owner None: its own, by the short way."""
    return len(references(run, ptr, owner, cpu))


def references(run: Timeline, ptr: int, owner: int | None = None, cpu: int = 0) -> list[Reference]:
    """Return the references of such an access; the CPU's TLB stays as it is."""
    machine = run.machine
    return count_references(machine, cpu, ptr, owner, access=machine.access.trial(cpu))


def static_ptr(run: Timeline) -> int:
    """Return what names the first static variable."""
    return run.machine.system.percpu_start


def static_area(bench: Bench) -> Figure:
    """R1: a static variable."""
    inputs = bench.inputs
    run = bench.fresh(legacy_machine(inputs, inputs.small_box_cpus))
    return Figure(
        what="per_cpu(v, c) of a static variable",
        system="legacy-static",
        unit="references",
        formula=shown(BY_OFFSET),
        exact=len(BY_OFFSET),
        ours=references_of(run, static_ptr(run), 1),
        beside=(Beside("own", len(BY_OFFSET), references_of(run, static_ptr(run))),),
        run=run,
        command=show("legacy-2cpu", "references", "0", "__per_cpu_start", "1"),
        shows=(told(BY_OFFSET),),
    )


def pointer_array(bench: Bench) -> Figure:
    """R2: an area of the old alloc_percpu()."""
    inputs = bench.inputs
    run = bench.fresh(legacy_machine(inputs, inputs.small_box_cpus))
    return Figure(
        what="per_cpu_ptr(p, c) of alloc_percpu()",
        system="legacy-ptrarray",
        unit="references",
        formula=shown(BY_POINTER),
        exact=len(BY_POINTER),
        ours=references_of(run, alloc(run, OBJECT_BYTES), 1),
        run=run,
        command=script("alloc-percpu", "legacy-2cpu"),
        shows=(told(BY_POINTER),),
    )


def block(bench: Bench) -> Figure:
    """R3: an object of a block."""
    run = bench.fresh(block_machine(bench.inputs))
    return Figure(
        what="per_cpu_ptr(p, c) of an object in a block",
        system="block-2005",
        unit="references",
        formula=shown(AT_ONCE),
        exact=len(AT_ONCE),
        ours=references_of(run, alloc(run, OBJECT_BYTES), 1),
        run=run,
        command=script("block", "block-8way"),
        shows=(told(AT_ONCE),),
    )


def offset_pointer(bench: Bench) -> Figure:
    """R4: a variable with an offset pointer, of the kernel and of a module."""
    inputs = bench.inputs
    run = bench.fresh(offsets_machine(inputs, inputs.small_box_cpus))
    load_module(run, OBJECT_BYTES)
    return Figure(
        what="per_cpu(v, c) with an offset pointer for v: one more than a static area",
        system="rostedt-2006-modules",
        unit="references",
        formula=shown(BY_OFFSET_POINTER),
        exact=len(BY_OFFSET_POINTER),
        ours=references_of(run, static_ptr(run), 1),
        beside=(
            Beside("of a module", len(BY_OFFSET_POINTER), references_of(run, section_ptr(run), 1)),
        ),
        run=run,
        command=show("offsets-2cpu", "references", "0", "__per_cpu_start", "1"),
        shows=(told(BY_OFFSET_POINTER),),
    )


def all_in_vm(bench: Bench) -> Figure:
    """R5: the posted RFC: constant addresses, and a small page for each."""
    run = bench.fresh(rfc_machine(bench.inputs))
    path = references(run, static_ptr(run), 1)
    return Figure(
        what="per_cpu(v, c) with everything in virtual memory: an address that needs no table",
        system="rostedt-2006-vm",
        unit="references",
        formula=shown(AT_ONCE),
        exact=len(AT_ONCE),
        ours=len(path),
        note="what it costs is a TLB entry for every 4 KiB",
        beside=(Beside("bytes of the page", PAGE_SIZE_BYTES, 1 << path[-1].report.page_shift),),
        run=run,
        command=show("rfc-2cpu", "references", "0", "__per_cpu_start", "1"),
        shows=(told(AT_ONCE), f" {PAGE_SIZE_BYTES}"),
    )


def hybrid(bench: Bench) -> Figure:
    """R6: the hybrid, by the array and by a register of the CPU's own."""
    inputs = bench.inputs
    run = bench.fresh(hybrid_machine(inputs))
    by_register = bench.fresh(hybrid_machine(inputs, access="register", name="hybrid-register"))
    own = references_of(by_register, static_ptr(by_register))
    return Figure(
        what="per_cpu(v, c) of page-aligned areas",
        system="rostedt-2006-vm",
        unit="references",
        formula=shown(BY_OFFSET),
        exact=len(BY_OFFSET),
        ours=references_of(run, static_ptr(run), 1),
        beside=(Beside("own copy, by a register", len(AT_ONCE), own),),
        run=run,
        command=both(
            show("hybrid-2cpu", "references", "0", "__per_cpu_start", "1"),
            show("hybrid-register", "references", "0", "__per_cpu_start"),
        ),
        shows=(told(BY_OFFSET), told(AT_ONCE)),
    )


def chunk(bench: Bench) -> Figure:
    """R7: an area of a chunk with an area map."""
    run = bench.fresh(chunk_machine(bench.inputs))
    return of_chunk(run, "per_cpu_ptr(p, c) of an area of a chunk", "area-at-134k")


def km_chunk(bench: Bench) -> Figure:
    """R8: an area of a chunk in kernel memory."""
    run = bench.fresh(km_machine(*most_wasteful(bench.inputs.km_layouts)))
    return of_chunk(run, "per_cpu_ptr(p, c) of an area in kernel memory", "km-chunk")


def bitmap(bench: Bench) -> Figure:
    """R9: an area of a chunk, today."""
    run = bench.fresh(bitmap_machine(bench.inputs))
    return of_chunk(run, "per_cpu_ptr(p, c) of an area of a chunk, today", "references-bitmap")


def of_chunk(run: Timeline, what: str, script_name: str) -> Figure:
    """Return the row of an area in a chunk: by the array from afar, by the base register of one's own."""
    ptr = alloc(run, OBJECT_BYTES)
    return Figure(
        what=what,
        system=run.machine.system.name,
        unit="references",
        formula=shown(BY_OFFSET),
        exact=len(BY_OFFSET),
        ours=references_of(run, ptr, 0, cpu=run.machine.topology.possible[-1]),
        beside=(Beside("own copy, by the base register", len(AT_ONCE), references_of(run, ptr)),),
        run=run,
        command=script(script_name, run.machine.config.name),
        shows=(told(BY_OFFSET), told(AT_ONCE)),
    )


def one_less(bench: Bench) -> Figure:
    """Figure 17: what is left of two references."""
    run = bench.fresh(block_machine(bench.inputs))
    less = len(BY_POINTER) - len(AT_ONCE)
    return Figure(
        what="references of an access: one less than before",
        system="block-2005",
        unit="references",
        formula=f"{len(BY_POINTER)} - {less}",
        exact=len(BY_POINTER) - less,
        ours=references_of(run, alloc(run, OBJECT_BYTES), 1),
        mail=in_words("One less memory reference", less, "less memory reference"),
        run=run,
        command=script("block", "block-8way"),
        shows=(told(AT_ONCE),),
    )


def shown(path: Path) -> str:
    """Return a path as it is written in a row."""
    return " -> ".join(path)


def told(path: Path) -> str:
    """Return what the view of an access says of a path of this length."""
    return f"{len(path)} reference{'s' * (len(path) != 1)}, the datum included"
