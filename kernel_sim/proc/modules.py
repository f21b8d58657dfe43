"""/proc/modules: what is loaded, how large, used by whom, and where.

    virtio 20480 2 virtio_blk,virtio_pci, Live 0xffffffffc0424000
    name   bytes references and users     state core address

The size is that of the core and, while a module starts, of its init part. Youngest first.
Source: kernel/module/procfs.c, Linux 6.1: m_show(), print_unload_info().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.proc.sources import loaded_modules


class ModuleRow(NamedTuple):
    """One module; state is Live, Loading or Unloading, taints such as "OE" or ""."""

    name: str
    size_bytes: int
    nr_references: int
    used_by: tuple[str, ...]
    state: str
    core_addr: int
    taints: str


def modules_rows(machine: Machine) -> tuple[ModuleRow, ...]:
    """Return a row for every module, the youngest first."""
    return tuple(
        ModuleRow(
            module.name,
            module.size_bytes,
            module.nr_references,
            module.used_by,
            module.state,
            module.core_addr,
            "",
        )
        for module in loaded_modules(machine)
    )


def modules_text(rows: tuple[ModuleRow, ...], nr_digits: int = 16) -> str:
    """Return the file as the kernel prints it; addresses have 8 digits on i386."""
    return "".join(_line(row, nr_digits) for row in rows)


def _line(row: ModuleRow, nr_digits: int) -> str:
    users = "".join(f"{name}," for name in row.used_by) or "-"
    taints = f" ({row.taints})" if row.taints else ""
    return (
        f"{row.name} {row.size_bytes} {row.nr_references} {users} {row.state}"
        f" 0x{row.core_addr:0{nr_digits}x}{taints}\n"
    )
