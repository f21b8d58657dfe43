"""percpu_stats: the allocator's figures as a listing, and as the kernel's own page of text.

    Allocation Info      the layout of a unit
    Global Stats         counters since boot
    Per Chunk Stats      the reserved chunk, then all others list by list

The page itself is made in kernel_sim/proc/percpu_stats.py.
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.proc.percpu_stats import percpu_stats_rows
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table
from tui.debugger.views.proc import proc_lines

INFO = "Allocation Info"
GLOBAL = "Global Stats"
COLUMNS = (
    Column("section", help="Allocation Info, Global Stats or a chunk"),
    Column("chunk", DEC, "its number, in the sections of chunks"),
    Column("name"),
    Column("value", DEC),
)


def stats_view(session: Session) -> Table:
    """Return a row for every figure."""
    page = percpu_stats_rows(session.machine)
    rows: list[tuple[Cell, ...]] = [(INFO, None, *figure) for figure in page.info]
    rows += [(GLOBAL, None, *figure) for figure in page.totals]
    for number, chunk in zip(_chunk_numbers(session.machine), page.chunks, strict=True):
        heading = chunk.heading.rstrip(":")
        rows += [(heading, number, *figure) for figure in chunk.figures]
    return Table(f"percpu_stats at step {session.step}", COLUMNS, tuple(rows))


def stats_lines(session: Session) -> tuple[str, ...]:
    """Return what the kernel prints in /sys/kernel/debug/percpu_stats, line by line."""
    return proc_lines(session, "percpu_stats")


def _chunk_numbers(machine: Machine) -> list[int]:
    """Return the chunks in the order in which the kernel prints them."""
    percpu = machine.percpu
    first = [percpu.reserved_chunk] if percpu.reserved_chunk is not None else []
    return [chunk.number for members in (first, *percpu.slots.lists) for chunk in members]
