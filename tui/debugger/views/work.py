"""The background work of the allocator: is it asked for, where, and who runs it."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import Cell, Column, Table

COLUMNS = (Column("fact"), Column("value"))
WORK_CALL = "pcpu_balance_workfn"


def work_view(session: Session) -> Table:
    """Return what is known about the balance work at the present."""
    machine = session.machine
    percpu, work = machine.percpu, machine.work
    running = [
        f"cpu {number}{' (interrupted)' if call is not cpu.stack[-1] else ''}"
        for number, cpu in machine.cpus.items()
        for call in cpu.stack
        if call.name == WORK_CALL
    ]
    rows: tuple[tuple[Cell, ...], ...] = (
        ("queued", work.queued_cpu >= 0),
        ("queued_on_cpu", work.queued_cpu if work.queued_cpu >= 0 else None),
        ("requests_since_it_began", work.nr_requests),
        ("running_on", ", ".join(running)),
        ("mode", machine.config.work_mode),
        ("async_enabled", percpu.async_enabled),
        ("empty_pop_pages", percpu.nr_empty_pop_pages),
        ("atomic_alloc_failed", percpu.atomic_alloc_failed),
    )
    return Table(f"Balance work at step {session.step}", COLUMNS, rows)
