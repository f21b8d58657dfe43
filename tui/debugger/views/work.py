"""The background work of the allocator: is it asked for, where, and who runs it."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import Cell, Column, Table

COLUMNS = (Column("fact"), Column("value"))


def work_view(session: Session) -> Table:
    """Return what is known about the background work at the present."""
    machine = session.machine
    system, work = machine.system, machine.work
    if not system.work_function:
        text = f"{system.name} has no background work"
        return Table(f"Background work at step {session.step}", COLUMNS, (), (text,))
    running = [
        f"cpu {number}{' (interrupted)' if call is not cpu.stack[-1] else ''}"
        for number, cpu in machine.cpus.items()
        for call in cpu.stack
        if call.name == system.work_function
    ]
    rows: list[tuple[Cell, ...]] = [
        ("function", system.work_function),
        ("queued", work.queued_cpu >= 0),
        ("queued_on_cpu", work.queued_cpu if work.queued_cpu >= 0 else None),
        ("requests_since_it_began", work.nr_requests),
        ("running_on", ", ".join(running)),
        ("mode", machine.config.work_mode),
    ]
    percpu = machine.bitmap
    if percpu is not None:
        rows += [
            ("async_enabled", percpu.async_enabled),
            ("empty_pop_pages", percpu.nr_empty_pop_pages),
            ("atomic_alloc_failed", percpu.atomic_alloc_failed),
        ]
    return Table(f"Background work at step {session.step}", COLUMNS, tuple(rows))
