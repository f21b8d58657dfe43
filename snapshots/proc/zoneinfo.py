"""Reading /proc/zoneinfo, of a real kernel or of the simulated one.

Counters are taken by the names that stand there, in their order: every version has others.
"""

from __future__ import annotations

import re

from kernel_sim.proc.figures import Figure, Figures, value_of
from kernel_sim.proc.zoneinfo import PRESENT, Pageset, ZonePopulation, ZoneRow
from snapshots.proc.buddyinfo import read_zone
from snapshots.proc.scan import LineScan, TextScan

FIGURES_MAX = 512
CPUS_MAX = 1 << 16
ZONES_MAX = 64
COUNTER_INDENT = "      "
SIZE_INDENT = "        "
NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})(?![A-Za-z0-9_])")


def parse_zoneinfo(text: str, where: str) -> tuple[ZoneRow, ...]:
    """Return a row for every zone.

    Raises: InputError, naming line and column, if a line is malformed or missing.
    """
    lines = TextScan.of(text, where)
    rows: list[ZoneRow] = []
    while not lines.at_end:
        rows.append(_read_zone(lines))
    return tuple(rows)


def _read_zone(lines: TextScan) -> ZoneRow:
    scan = lines.take("'Node 0, zone      DMA'")
    node, zone = read_zone(scan)
    scan.end()
    node_counters: Figures = ()
    if lines.next_begins("  per-node stats"):
        lines.take_line("  per-node stats")
        node_counters = _read_figures(lines, COUNTER_INDENT)
    scan = lines.take("'  pages free …'")
    scan.word("  pages ")
    free = _read_figure(scan)
    sizes = (free, *_read_figures(lines, SIZE_INDENT, until="protection:"))
    protection = _read_protection(lines.take("'        protection: (…)'"))
    population = _read_population(lines) if value_of(sizes, PRESENT) else None
    return ZoneRow(node, zone, node_counters, sizes, protection, population)


def _read_figures(lines: TextScan, indent: str, until: str = "") -> Figures:
    """Read the lines of this indentation as counters, each name once."""
    figures: list[Figure] = []
    names: dict[str, None] = {}
    while lines.next_begins(indent) and not (until and lines.next_begins(indent + until)):
        scan = lines.take("a counter")
        scan.word(indent)
        figure = _read_figure(scan)
        if figure.name in names or len(figures) >= FIGURES_MAX:
            raise scan.error(f"every counter once, at most {FIGURES_MAX}")
        names[figure.name] = None
        figures.append(figure)
    return tuple(figures)


def _read_figure(scan: LineScan) -> Figure:
    name = scan.take(NAME, "the name of a counter")
    value = scan.number()
    scan.end()
    return Figure(name, value)


def _read_protection(scan: LineScan) -> tuple[int, ...]:
    scan.word(SIZE_INDENT + "protection: (")
    values = [scan.number()]
    while not scan.line.startswith(")", scan.column):
        scan.word(",")
        values.append(scan.number())
        if len(values) > ZONES_MAX:
            raise scan.error(f"at most {ZONES_MAX} zones")
    scan.word(")")
    scan.end()
    return tuple(values)


def _read_population(lines: TextScan) -> ZonePopulation:
    counters = _read_figures(lines, COUNTER_INDENT)
    lines.take_line("  pagesets")
    pagesets: list[Pageset] = []
    while lines.next_begins("    cpu:"):
        pagesets.append(
            Pageset(
                _labelled(lines, "    cpu:"),
                _labelled(lines, "              count:"),
                _labelled(lines, "              high:"),
                _labelled(lines, "              batch:"),
                _labelled(lines, "  vm stats threshold:"),
            )
        )
        if len(pagesets) > CPUS_MAX:
            raise lines.take("nothing").error(f"at most {CPUS_MAX} CPUs")
    unreclaimable = _labelled(lines, "  node_unreclaimable:")
    return ZonePopulation(
        counters, tuple(pagesets), unreclaimable, _labelled(lines, "  start_pfn:")
    )


def _labelled(lines: TextScan, label: str) -> int:
    scan = lines.take(f"'{label} …'")
    scan.word(label)
    value = scan.number()
    scan.end()
    return value
