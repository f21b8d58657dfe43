"""/proc/iomem: physical addresses as a tree, what firmware said of them and what lies inside.

    00100000-7ffdcfff : System RAM
      01000000-01e01d31 : Kernel code
    7ffdd000-7fffffff : Reserved

The kernel's own parts are shown where the machine's symbols say how far they go.
Source: kernel/resource.c, Linux 6.1: r_show(); arch/x86/kernel/setup.c for the kernel's parts.
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.sources import SYSTEM_RAM, memory_map

INDENT = "  "
KERNEL_PARTS = (
    ("Kernel code", "_text", "_etext"),
    ("Kernel rodata", "__start_rodata", "__end_rodata"),
    ("Kernel data", "_sdata", "_edata"),
    ("Kernel bss", "__bss_start", "__bss_stop"),
)


class IomemRow(NamedTuple):
    """One range, first and last byte; depth 0 lies in no other."""

    depth: int
    start: int
    last: int
    name: str


def kernel_parts(machine: Machine) -> tuple[tuple[str, PhysRange], ...]:
    """Return code, rodata, data and bss where the machine's symbols name both ends of them."""
    symbols = machine.symbols
    base = machine.config.kernel.arch.image_map_addr
    return tuple(
        (name, PhysRange(symbols[first] - base, symbols[end] - 1 - base))
        for name, first, end in KERNEL_PARTS
        if first in symbols and base <= symbols[first] < symbols.get(end, 0)
    )


def iomem_rows(machine: Machine) -> tuple[IomemRow, ...]:
    """Return the memory map with the kernel inside, ascending."""
    parts = kernel_parts(machine)
    rows: list[IomemRow] = []
    for each, kind in memory_map(machine):
        rows.append(IomemRow(0, each.start, each.last, kind))
        if kind == SYSTEM_RAM:
            rows += (
                IomemRow(1, part.start, part.last, name)
                for name, part in parts
                if each.start <= part.start and part.last <= each.last
            )
    return tuple(rows)


def iomem_text(rows: tuple[IomemRow, ...]) -> str:
    """Return the file as the kernel prints it."""
    return "".join(
        f"{INDENT * row.depth}{row.start:08x}-{row.last:08x} : {row.name}\n" for row in rows
    )
