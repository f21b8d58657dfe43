"""The allocator's figures as the kernel prints them."""

from __future__ import annotations

from typing import Any

from kernel_sim.proc.figures import figures_of, value_of
from kernel_sim.proc.percpu_stats import (
    ChunkStats,
    PercpuStatsRows,
    percpu_stats_rows,
    percpu_stats_text,
)


def test_the_page_is_as_the_kernel_prints_it() -> None:
    rows = PercpuStatsRows(
        figures_of([("unit_size", 1048576)]),
        figures_of([("nr_alloc", 748)]),
        (ChunkStats("Chunk: <- First Chunk", figures_of([("cur_min_alloc", 4)])),),
    )
    assert percpu_stats_text(rows).split("\n") == [
        "Percpu Memory Statistics",
        "Allocation Info:",
        "----------------------------------------",
        "  unit_size           :      1048576",
        "",
        "Global Stats:",
        "----------------------------------------",
        "  nr_alloc            :          748",
        "",
        "Per Chunk Stats:",
        "----------------------------------------",
        "Chunk: <- First Chunk",
        "  cur_min_alloc       :            4",
        "",
        "",
    ]


def test_figures_follow_the_machine(small_kernel: Any) -> None:
    kernel = small_kernel()
    kernel.alloc(64)
    kernel.alloc(100)
    rows = percpu_stats_rows(kernel.machine)
    assert value_of(rows.totals, "nr_alloc") == 2
    assert value_of(rows.totals, "max_alloc_size") == 100
    assert [chunk.heading for chunk in rows.chunks] == [
        "Chunk: <- Reserved Chunk",
        "Chunk: <- First Chunk",
    ]
    assert value_of(rows.chunks[1].figures, "nr_alloc") == 2


def test_without_reserved_chunk_the_first_one_stands_alone(small_kernel: Any) -> None:
    rows = percpu_stats_rows(small_kernel(reserved=False).machine)
    assert [chunk.heading for chunk in rows.chunks] == ["Chunk: <- First Chunk"]
