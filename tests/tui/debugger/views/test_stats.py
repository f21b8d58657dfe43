from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.stats import stats_lines, stats_view


def test_stats_reads_as_debugfs_prints_it(busy: Session) -> None:
    lines = stats_lines(busy)
    assert lines[:4] == (
        "Percpu Memory Statistics",
        "Allocation Info:",
        "----------------------------------------",
        "  unit_size           :      1048576",
    )
    headings = [line for line in lines if line.startswith("Chunk")]
    assert headings[0] == "Chunk: <- Reserved Chunk"
    assert sorted(headings[1:]) == ["Chunk:", "Chunk: <- First Chunk"]
    assert all(len(line) == 36 for line in lines if line.startswith("  "))


def test_stats_rows_and_text_cannot_disagree(busy: Session) -> None:
    printed = [line.split(":") for line in stats_lines(busy) if line.startswith("  ")]
    rows = [(row[2], row[3]) for row in stats_view(busy).rows]
    assert sorted(rows) == sorted((name.strip(), int(value)) for name, value in printed)
