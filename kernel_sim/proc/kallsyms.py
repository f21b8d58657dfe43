"""/proc/kallsyms: symbols by address; of the simulated machine, the static per-CPU variables.

    0000000000000000 A __per_cpu_start
    0000000000034080 A steal_time            an offset in every CPU's unit
    0000000000035000 A __per_cpu_end

Per-CPU symbols of x86-64 are absolute and count from 0. Source: kernel/kallsyms.c, Linux 6.1:
s_show().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine

ABSOLUTE = "A"
DATA = "D"  # where they lie inside the image, on i386
PER_CPU_END = "__per_cpu_end"


class SymbolRow(NamedTuple):
    """One symbol; kind is one letter as of nm, module "" for the kernel itself."""

    addr: int
    kind: str
    name: str
    module: str


def kallsyms_rows(machine: Machine) -> tuple[SymbolRow, ...]:
    """Return the machine's static per-CPU symbols by offset; equal ones in the config's order."""
    arch = machine.config.kernel.arch
    end = machine.system.percpu_start + machine.system.static_bytes
    kind = ABSOLUTE if arch.percpu_is_zero_based else DATA
    rows = [
        SymbolRow(addr, kind, name, "")
        for name, addr in machine.symbols.items()
        if machine.percpu_symbol_offset(name) is not None or (name == PER_CPU_END and addr == end)
    ]
    return tuple(sorted(rows, key=lambda row: row.addr))


def kallsyms_text(rows: tuple[SymbolRow, ...], nr_digits: int = 16) -> str:
    """Return the file as the kernel prints it; addresses have 8 digits on i386."""
    return "".join(
        f"{row.addr:0{nr_digits}x} {row.kind} {row.name}"
        + (f"\t[{row.module}]" if row.module else "")
        + "\n"
        for row in rows
    )
