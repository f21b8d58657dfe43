"""What the setup of an allocator with area maps printed at boot.

    v1      PERCPU: Allocated 44 4k pages, static data 45056 bytes
    .31     PERCPU: large pages @ffffc90000000000 s45056 r8192 d20480 u1048576
    .32     PERCPU: Embedded 18 pages/cpu @ffff88003fe00000 s45056 r8192 d20480 u524288
            pcpu-alloc: s45056 r8192 d20480 u524288 alloc=1*2097152

Source: mm/percpu.c and arch/x86/kernel/setup_percpu.c, Linux 2.6.30, 2.6.31 and 2.6.34.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.area_boot import AreaPlaced
from kernel_sim.percpu.area_plan import EMBED, LPAGE, STATIC
from kernel_sim.percpu.boot_log import (
    EINVAL,
    KERN_INFO,
    KERN_WARNING,
    BootLine,
    setup_percpu_line,
)
from kernel_sim.percpu.unit_boot import Units

if TYPE_CHECKING:
    from kernel_sim.machine import Machine


def area_boot_lines(
    machine: Machine, placed: AreaPlaced, units: Units, verify: tuple[BootLine, ...] = ()
) -> tuple[BootLine, ...]:
    """Return all lines; verify: what the backing said of the layout."""
    stage = placed.plan.choices.stage
    head = setup_percpu_line(machine.config)
    if not stage.has_groups:
        head = head._replace(text=head.text.removeprefix("setup_percpu: "))
    lines = [head, *_too_wide(machine, placed), BootLine(KERN_INFO, _built(machine, placed, units))]
    lines += verify
    if stage.has_groups:
        lines += [BootLine(KERN_INFO, text) for text in units.info.dump_lines()]
    return tuple(lines)


def _built(machine: Machine, placed: AreaPlaced, units: Units) -> str:
    """Return the line of the builder of the first chunk."""
    info, plan = units.info, placed.plan
    stage = plan.choices.stage
    at = f"@{units.base_addr:0{2 * machine.arch.word_bytes}x}"
    sizes = f"s{info.static_size_bytes} r{info.reserved_size_bytes}"
    static = f"static data {info.static_size_bytes} bytes"
    if plan.how == STATIC:
        per_cpu = align_up(info.static_size_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        return f"PERCPU: Allocated {per_cpu * len(units.places.cpus)} 4k pages, {static}"
    if plan.how == EMBED:
        nr_pages = info.size_sum_bytes >> PAGE_SHIFT
        sizes = f"{sizes} d{info.dyn_size_bytes} u{info.unit_size_bytes}"
        return f"PERCPU: Embedded {nr_pages} pages/cpu {at} {sizes}"
    if plan.how == LPAGE and stage.frees_at_once:
        return f"PERCPU: Remapped at {at[1:]} with large pages, {static}"
    if plan.how == LPAGE:
        return f"PERCPU: large pages {at} {sizes} d{info.dyn_size_bytes} u{info.unit_size_bytes}"
    nr_pages = info.unit_size_bytes >> PAGE_SHIFT
    if stage.has_groups:
        return f"PERCPU: {nr_pages} 4K pages/cpu {at} {sizes} d{info.dyn_size_bytes}"
    return f"PERCPU: {nr_pages} 4k pages/cpu {at} {sizes}"


def _too_wide(machine: Machine, placed: AreaPlaced) -> list[BootLine]:
    """Return the complaint about groups that lie too far apart, and what follows from it."""
    if not placed.too_wide_bytes:
        return []
    total = machine.config.vmalloc.total_bytes
    return [
        BootLine(
            KERN_WARNING,
            f"PERCPU: max_distance={placed.too_wide_bytes:#x} too large for vmalloc space {total:#x}",
        ),
        BootLine(
            KERN_WARNING,
            f"setup_percpu: auto allocator failed (-{EINVAL}), falling back to page size",
        ),
    ]
