"""/proc/vmallocinfo: every area of vmalloc space, who asked for it, and what lies behind it.

    0xffffc9000000d000-0xffffc9000000f000    8192 gen_pool_add_owner+0x3a/0xc0 pages=1 vmalloc N0=1
    0xffffe8ffffc00000-0xffffe8ffffe00000 2097152 pcpu_get_vm_areas+0x0/0x1080 vmalloc
    0xffffc90000918000-0xffffc9000091d000   20480 unpurged vm_area

The size includes the guard page. Areas of the per-CPU allocator show no pages: the kernel does
not book their pages on the area. Freed areas that wait for their purge come last.
Source: mm/vmalloc.c, Linux 6.1: s_show(), show_numa_info(), show_purge_info().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.vmalloc import VmArea
from kernel_sim.proc.sources import vmalloc_areas

UNPURGED = "unpurged vm_area"
NAMELESS = "pcpu_page_first_chunk"  # registered before anybody notes callers


class NodePages(NamedTuple):
    """How many pages of an area lie on a node."""

    node: int
    nr_pages: int


class VmallocRow(NamedTuple):
    """One area; caller is "" and phys None where the kernel prints none.

    flags are the words of the line: ioremap, vmalloc, vmap, user, dma-coherent, vpages, or
    "unpurged vm_area", or "vm_map_ram".
    """

    start: int
    end: int
    size_bytes: int
    caller: str
    nr_pages: int
    phys: int | None
    flags: tuple[str, ...]
    node_pages: tuple[NodePages, ...]


def vmallocinfo_rows(machine: Machine) -> tuple[VmallocRow, ...]:
    """Return a row for every area, those that wait for the purge last."""
    areas, lazy = vmalloc_areas(machine)
    in_use = [_row(machine, area) for area in areas]
    return (
        *in_use,
        *(
            VmallocRow(area.start, area.end, area.size_bytes, "", 0, None, (UNPURGED,), ())
            for area in lazy
        ),
    )


def _row(machine: Machine, area: VmArea) -> VmallocRow:
    node_pages: dict[int, int] = {}
    for virt in range(area.start, area.end, PAGE_SIZE_BYTES) if area.nr_pages else ():
        page_phys = machine.space.translate(virt)
        if page_phys is not None:
            node = machine.pages.node_of_pfn(page_phys >> PAGE_SHIFT)
            node_pages[node] = node_pages.get(node, 0) + 1
    return VmallocRow(
        area.start,
        area.end,
        area.size_bytes,
        "" if area.caller == NAMELESS else area.caller,
        area.nr_pages,
        area.phys or None,
        (area.kind,),
        tuple(NodePages(node, node_pages[node]) for node in sorted(node_pages)),
    )


def vmallocinfo_text(rows: tuple[VmallocRow, ...], nr_digits: int = 16) -> str:
    """Return the file as the kernel prints it; addresses have 8 digits on i386."""
    return "".join(_line(row, nr_digits) for row in rows)


def _line(row: VmallocRow, nr_digits: int) -> str:
    words = [row.caller] if row.caller else []
    if row.nr_pages:
        words.append(f"pages={row.nr_pages}")
    if row.phys is not None:
        words.append(f"phys={row.phys:#018x}")
    words += row.flags
    words += (f"N{each.node}={each.nr_pages}" for each in row.node_pages)
    place = f"0x{row.start:0{nr_digits}x}-0x{row.end:0{nr_digits}x}"
    return f"{place} {row.size_bytes:7} {' '.join(words)}\n"
