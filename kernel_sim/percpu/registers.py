"""How a CPU finds itself after boot: base registers, `__per_cpu_offset[]`, and two variables of its own.

    __per_cpu_offset[c]     what code adds to a ptr to reach CPU c's copy
    base register           the same, or another thing of the system's; 0 where the CPU has none
    this_cpu_off, cpu_number   per-CPU variables, where the machine's symbols have them

Source: setup_per_cpu_areas(), Linux 6.1 arch/x86/kernel/setup_percpu.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.errors import ConfigError

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

CPU_NUMBER_BYTES = 4


def load_registers(machine: Machine) -> None:
    """Set registers, table and variables of every possible CPU from what the system says."""
    system, word_bytes = machine.system, machine.arch.word_bytes
    for cpu in machine.topology.possible:
        machine.cpus[cpu].gs_base = system.base_of(cpu)
        offset = system.per_cpu_offset(cpu)
        set_offset(machine, cpu, offset)
        for name, value, size in (
            ("this_cpu_off", offset, word_bytes),
            ("cpu_number", cpu, CPU_NUMBER_BYTES),
        ):
            if machine.percpu_symbol_offset(name) is not None:
                addr = system.copy_addr(machine.symbols[name], cpu)
                if addr is not None:
                    write_at_boot(machine, addr, value, size)


def set_offset(machine: Machine, cpu: int, offset: int) -> None:
    """Set a CPU's entry of __per_cpu_offset[]."""
    word_bytes = machine.arch.word_bytes
    write_at_boot(
        machine, machine.symbol("__per_cpu_offset") + cpu * word_bytes, offset, word_bytes
    )


def write_at_boot(machine: Machine, virt: int, value: int, size_bytes: int) -> None:
    """Write a number through the page tables alone. Raises ConfigError where nothing is mapped."""
    phys = machine.space.translate(virt)
    if phys is None:
        raise ConfigError(
            f"{machine.config.name}: [symbols]: {virt:#x} is not mapped; expected an address in the"
            f" kernel image, from {machine.image_addr:#x} on, or none"
        )
    machine.memory.write(phys, value.to_bytes(size_bytes, "little"))
