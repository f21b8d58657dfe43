"""/sys/kernel/debug/percpu_stats: the allocator's own figures.

    Allocation Info      the layout of a unit
    Global Stats         counters since boot
    Per Chunk Stats      the reserved chunk, then all others list by list

Source: mm/percpu-stats.c, Linux 6.1: percpu_stats_show().
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.statistics import fragmentation
from kernel_sim.proc.figures import Figures, figures_of

TITLE = "Percpu Memory Statistics"
INFO = "Allocation Info:"
GLOBAL = "Global Stats:"
PER_CHUNK = "Per Chunk Stats:"
RULE = "-" * 40
CHUNK = "Chunk"  # how the heading of every chunk begins
FIRST = 0  # the first chunk's number


class ChunkStats(NamedTuple):
    """A chunk under its heading, such as "Chunk:" or "Chunk: <- First Chunk"."""

    heading: str
    figures: Figures


class PercpuStatsRows(NamedTuple):
    """The whole page."""

    info: Figures
    totals: Figures
    chunks: tuple[ChunkStats, ...]


def percpu_stats_rows(machine: Machine) -> PercpuStatsRows:
    """Return the figures of the machine's allocator now."""
    return PercpuStatsRows(
        _info(machine),
        _totals(machine),
        tuple(ChunkStats(heading, _chunk_figures(chunk)) for heading, chunk in _chunks(machine)),
    )


def percpu_stats_text(rows: PercpuStatsRows) -> str:
    """Return the page as the kernel prints it."""
    lines = [TITLE, INFO, RULE, *_printed(rows.info), ""]
    lines += [GLOBAL, RULE, *_printed(rows.totals), "", PER_CHUNK, RULE]
    for chunk in rows.chunks:
        lines += [chunk.heading, *_printed(chunk.figures), ""]
    return "".join(f"{line}\n" for line in lines)


def _printed(figures: Figures) -> list[str]:
    return [f"  {figure.name:<20}: {figure.value:12}" for figure in figures]


def _info(machine: Machine) -> Figures:
    info = machine.alloc_info
    return figures_of(
        (
            ("unit_size", info.unit_size_bytes),
            ("static_size", info.static_size_bytes),
            ("reserved_size", info.reserved_size_bytes),
            ("dyn_size", info.dyn_size_bytes),
            ("atom_size", info.atom_size_bytes),
            ("alloc_size", info.alloc_size_bytes),
        )
    )


def _totals(machine: Machine) -> Figures:
    counters = machine.percpu.statistics
    return figures_of(
        (
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
    )


def _chunk_figures(chunk: Chunk) -> Figures:
    frag = fragmentation(chunk)
    return figures_of(
        (
            ("nr_alloc", chunk.nr_alloc),
            ("max_alloc_size", chunk.max_alloc_bytes),
            ("empty_pop_pages", chunk.nr_empty_pop_pages),
            ("first_bit", chunk.md.first_free),
            ("free_bytes", chunk.free_bytes),
            ("contig_bytes", chunk.md.contig_hint * MIN_ALLOC_BYTES),
            *zip(frag._fields, frag, strict=True),
        )
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
