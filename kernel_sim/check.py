"""Is the machine sound? Everything recomputed slowly from first principles, the first contradiction named.

    the per-CPU system     ──► its own check: maps, lists, hints, counters
    its pages              ──► on nobody else's frame, and nothing mapped beside
    free lists, tables     ──► every page free, reserved, or owned by exactly one user
    registers              ──► base register and __per_cpu_offset[] as the system says

Tests run it after every step of small machines; `check` in the debugger runs it where you stand.
"""

from __future__ import annotations

from kernel_sim.check_beneath import check_beneath
from kernel_sim.check_pages import check_pages
from kernel_sim.errors import InvariantBroken
from kernel_sim.machine import Machine
from kernel_sim.machine_state import check_cache


def check_machine(machine: Machine) -> None:
    """Raise InvariantBroken, naming the first thing that disagrees, unless all is sound.

    May be called at any step; figures that the kernel itself only makes right at the end of a call
    (empty page counts, who owns a page on its way) are checked when no call is under way.
    """
    machine.pages.check_invariants()
    machine.vmalloc.check_invariants()
    machine.memory.check_invariants()
    machine.space.check_invariants()
    machine.system.check(machine.is_idle and machine.fault is None)
    _check_registers(machine)
    check_cache(machine)
    if machine.is_idle and machine.fault is None:
        check_pages(machine)
        check_beneath(machine)


def _check_registers(machine: Machine) -> None:
    table = machine.symbol("__per_cpu_offset")
    for number, cpu in machine.cpus.items():
        base, offset = machine.system.base_of(number), machine.per_cpu_offset(number)
        _expect(f"cpu {number}", f"{machine.arch.base_register} base", base, cpu.gs_base)
        word_bytes = machine.arch.word_bytes
        phys = machine.space.translate(table + word_bytes * number)
        stored = None
        if phys is not None:
            stored = int.from_bytes(machine.memory.read(phys, word_bytes), "little")
        _expect(f"__per_cpu_offset[{number}]", "value", offset, stored)


def _expect(where: str, what: str, truth: object, held: object) -> None:
    if truth != held:
        raise InvariantBroken(f"{where}: {what} is {held}, recomputed {truth}")
