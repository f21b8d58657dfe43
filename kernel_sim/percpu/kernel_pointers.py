"""`.data.percpu_offset` of the kernel: a pointer for every per-CPU variable, in the image, once for all CPUs.

    __per_cpu_offset_start                                              __per_cpu_offset_end
    │ per_cpu_offset__a │ per_cpu_offset__b │ …  all of them ──► __per_cpu_offset[]

The size of the section is what a build gave; which variables there were is not known. Those that the
description names have the first pointers, in the order of their addresses; whatever lies before the first
of them shares the other pointers evenly.
Source: "[PATCH 01/05] percpu main.c setup", 14 April 2006.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.percpu.registers import write_at_boot
from kernel_sim.percpu.stretch import TABLE, Stretch

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

SECTION_BOUNDS = ("__per_cpu_start", "__per_cpu_end")


@dataclass(frozen=True, slots=True)
class KernelPointers:
    """Where the section lies, and which variable has which pointer of it; variables: ascending."""

    addr: int
    nr_bytes: int
    word_bytes: int
    percpu_start: int
    static_bytes: int
    variables: tuple[int, ...]

    @classmethod
    def of(cls, machine: Machine, nr_bytes: int) -> KernelPointers:
        """Return a machine's section of nr_bytes. Raises ConfigError if it cannot have that size."""
        config, word_bytes = machine.config, machine.arch.word_bytes
        start = machine.symbol("__per_cpu_start")
        end = start + config.percpu.static_bytes
        named = dict.fromkeys(
            addr
            for name, addr in machine.symbols.items()
            if start <= addr < end and name not in SECTION_BOUNDS
        )
        needed = max(len(named), 1) * word_bytes
        if nr_bytes % word_bytes or nr_bytes < needed:
            raise ConfigError(
                f"{config.name}: [percpu.options] offset_section_bytes: {nr_bytes}; expected a multiple"
                f" of {word_bytes} from {needed} on, a pointer for every per-CPU variable of [symbols]"
            )
        addr = machine.image_addr + 3 * machine.image_bytes // 4
        variables = tuple(sorted(named))
        return cls(addr, nr_bytes, word_bytes, start, config.percpu.static_bytes, variables)

    @property
    def nr_pointers(self) -> int:
        """How many pointers the section has."""
        return self.nr_bytes // self.word_bytes

    def addr_of(self, ptr: int) -> int:
        """Return where the pointer of the variable at a link address lies."""
        index = bisect_right(self.variables, ptr) - 1
        if index < 0:
            nr_rest = self.nr_pointers - len(self.variables)
            index = len(self.variables) + (ptr - self.percpu_start) * nr_rest // self.static_bytes
        return self.addr + min(index, self.nr_pointers - 1) * self.word_bytes

    def fill(self, machine: Machine) -> None:
        """Let every pointer name __per_cpu_offset[], and the section have the linker script's names."""
        table = machine.symbol("__per_cpu_offset")
        for addr in range(self.addr, self.addr + self.nr_bytes, self.word_bytes):
            write_at_boot(machine, addr, table, self.word_bytes)
        machine.symbols.setdefault("__per_cpu_offset_start", self.addr)
        machine.symbols.setdefault("__per_cpu_offset_end", self.addr + self.nr_bytes)

    def stretch(self) -> Stretch:
        """Return the section as one stretch."""
        what = f".data.percpu_offset, {self.nr_pointers} pointers"
        return Stretch("kernel image, pointers", self.addr, self.nr_bytes, TABLE, what)

    def check(self, machine: Machine) -> None:
        """Raise InvariantBroken unless every pointer names __per_cpu_offset[]."""
        expected = machine.symbol("__per_cpu_offset").to_bytes(self.word_bytes, "little")
        phys = machine.space.translate(self.addr)
        held = b"" if phys is None else machine.memory.read(phys, self.nr_bytes)
        if held != expected * self.nr_pointers:
            raise InvariantBroken(
                f".data.percpu_offset at {self.addr:#x}: not all pointers name __per_cpu_offset[]"
            )
