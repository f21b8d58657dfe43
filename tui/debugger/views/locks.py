"""Locks: who holds each, who waits."""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.primitives import Lock
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("lock"),
    Column("kind", help="a spinlock keeps interrupts out"),
    Column("holder", DEC, "CPU that has it"),
    Column("waiters", help="CPUs that asked for it and do not have it yet"),
)


def _locks(machine: Machine) -> tuple[Lock, ...]:
    """Return the locks that are always there, and those that a load under way has others wait for."""
    return (
        *machine.system.locks,
        machine.modules.mutex,
        machine.cpu_add_remove_lock,
        machine.cpu_hotplug_lock,
        *machine.modules.loading.values(),
    )


def locks_view(session: Session) -> Table:
    """Return a row for every lock of the kernel."""
    machine = session.machine
    rows: list[tuple[Cell, ...]] = []
    for lock in _locks(machine):
        waiters = [
            str(number)
            for number, cpu in machine.cpus.items()
            if cpu.stack and cpu.stack[-1].wish is lock and lock.holder != number
        ]
        kind = "spinlock" if lock.irqs_off else "mutex"
        holder = lock.holder if lock.holder >= 0 else None
        rows.append((lock.name, kind, holder, " ".join(waiters)))
    return Table(f"Locks at step {session.step}", COLUMNS, tuple(rows))
