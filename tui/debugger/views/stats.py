"""percpu_stats: the allocator's figures, and the kernel's own page of text about them.

    Allocation Info      the layout of a unit
    Global Stats         counters since boot
    Per Chunk Stats      the reserved chunk, then all others list by list

Source: Linux 6.1 mm/percpu-stats.c, percpu_stats_show().
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.machine import Machine
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.statistics import fragmentation
from tui.debugger.chunk_names import FIRST
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

RULE = "-" * 40
INFO = "Allocation Info:"
GLOBAL = "Global Stats:"
PER_CHUNK = "Per Chunk Stats:"

COLUMNS = (
    Column("section", help="Allocation Info, Global Stats or a chunk"),
    Column("chunk", DEC, "its number, in the sections of chunks"),
    Column("name"),
    Column("value", DEC),
)
Figures = tuple[tuple[str, int], ...]


def stats_view(session: Session) -> Table:
    """Return a row for every figure."""
    machine = session.machine
    rows: list[tuple[Cell, ...]] = [(INFO[:-1], None, *row) for row in _info(machine)]
    rows += [(GLOBAL[:-1], None, *row) for row in _totals(machine)]
    for heading, chunk in _chunks(machine):
        rows += [(heading.rstrip(":"), chunk.number, *row) for row in _chunk_figures(chunk)]
    return Table(f"percpu_stats at step {session.step}", COLUMNS, tuple(rows))


def stats_lines(session: Session) -> tuple[str, ...]:
    """Return what the kernel prints in /sys/kernel/debug/percpu_stats, line by line."""
    machine = session.machine
    lines = ["Percpu Memory Statistics", INFO, RULE, *_printed(_info(machine)), ""]
    lines += [GLOBAL, RULE, *_printed(_totals(machine)), "", PER_CHUNK, RULE]
    for heading, chunk in _chunks(machine):
        lines += [heading, *_printed(_chunk_figures(chunk)), ""]
    return tuple(lines)


def _printed(figures: Figures) -> list[str]:
    return [f"  {name:<20}: {value:12}" for name, value in figures]


def _info(machine: Machine) -> Figures:
    info = machine.alloc_info
    return (
        ("unit_size", info.unit_size_bytes),
        ("static_size", info.static_size_bytes),
        ("reserved_size", info.reserved_size_bytes),
        ("dyn_size", info.dyn_size_bytes),
        ("atom_size", info.atom_size_bytes),
        ("alloc_size", info.alloc_size_bytes),
    )


def _totals(machine: Machine) -> Figures:
    counters = machine.percpu.statistics
    return (
        ("nr_alloc", counters.nr_alloc),
        ("nr_dealloc", counters.nr_dealloc),
        ("nr_cur_alloc", counters.nr_cur_alloc),
        ("nr_max_alloc", counters.nr_max_alloc),
        ("nr_chunks", counters.nr_chunks),
        ("nr_max_chunks", counters.nr_max_chunks),
        ("min_alloc_size", counters.min_alloc_bytes),
        ("max_alloc_size", counters.max_alloc_bytes),
        ("empty_pop_pages", machine.percpu.nr_empty_pop_pages),
    )


def _chunk_figures(chunk: Chunk) -> Figures:
    frag = fragmentation(chunk)
    return (
        ("nr_alloc", chunk.nr_alloc),
        ("max_alloc_size", chunk.max_alloc_bytes),
        ("empty_pop_pages", chunk.nr_empty_pop_pages),
        ("first_bit", chunk.md.first_free),
        ("free_bytes", chunk.free_bytes),
        ("contig_bytes", chunk.md.contig_hint * MIN_ALLOC_BYTES),
        *zip(frag._fields, frag, strict=True),
    )


def _chunks(machine: Machine) -> Iterator[tuple[str, Chunk]]:
    """Yield every chunk with its heading, in the kernel's order; one on no list is not shown."""
    percpu = machine.percpu
    if percpu.reserved_chunk is not None:
        yield "Chunk: <- Reserved Chunk", percpu.reserved_chunk
    headings = {
        percpu.slots.sidelined: "Chunk (sidelined):",
        percpu.slots.to_depopulate: "Chunk (to_depopulate)",
    }
    for slot, members in enumerate(percpu.slots.lists):
        for chunk in members:
            heading = headings.get(slot, "Chunk:")
            yield "Chunk: <- First Chunk" if chunk.number == FIRST else heading, chunk
