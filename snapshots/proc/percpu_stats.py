"""Reading /sys/kernel/debug/percpu_stats, of a real kernel or of the simulated one."""

from __future__ import annotations

import re

from kernel_sim.proc.figures import Figure, Figures
from kernel_sim.proc.percpu_stats import (
    CHUNK,
    GLOBAL,
    INFO,
    PER_CHUNK,
    RULE,
    TITLE,
    ChunkStats,
    PercpuStatsRows,
)
from snapshots.proc.scan import LineScan, TextScan

CHUNKS_MAX = 1 << 16
FIGURES_MAX = 64
INDENT = "  "
NAME = re.compile(r"([a-z_]{1,32}) *:")
VALUE = re.compile(r" *(-?[0-9]{1,20})$")
HEADING = re.compile(r"(Chunk[ -~]{0,40})$")


def parse_percpu_stats(text: str, where: str) -> PercpuStatsRows:
    """Return the figures by section.

    Raises: InputError, naming line and column, if a line is malformed or missing.
    """
    lines = TextScan.of(text, where)
    lines.take_line(TITLE)
    info = _read_section(lines, INFO)
    totals = _read_section(lines, GLOBAL)
    lines.take_line(PER_CHUNK)
    lines.take_line(RULE)
    chunks: list[ChunkStats] = []
    while not lines.at_end:
        scan = lines.take(f"'{CHUNK}: …'")
        heading = scan.take(HEADING, f"'{CHUNK}:', '{CHUNK}: <- First Chunk' or such")
        if len(chunks) >= CHUNKS_MAX:
            raise scan.error(f"at most {CHUNKS_MAX} chunks")
        chunks.append(ChunkStats(heading, _read_figures(lines)))
    return PercpuStatsRows(info, totals, tuple(chunks))


def _read_section(lines: TextScan, heading: str) -> Figures:
    lines.take_line(heading)
    lines.take_line(RULE)
    return _read_figures(lines)


def _read_figures(lines: TextScan) -> Figures:
    """Read figures up to and with the empty line after them."""
    figures: dict[str, Figure] = {}
    while lines.next_begins(INDENT):
        scan = lines.take("a figure")
        scan.word(INDENT)
        figure = _read_figure(scan)
        if figure.name in figures or len(figures) >= FIGURES_MAX:
            raise scan.error(f"every figure once, at most {FIGURES_MAX}")
        figures[figure.name] = figure
    lines.take_line("")
    return tuple(figures.values())


def _read_figure(scan: LineScan) -> Figure:
    name = scan.take(NAME, "the name of a figure")
    return Figure(name, int(scan.take(VALUE, "a whole number")))
