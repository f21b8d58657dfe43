"""A comparison as charts: what each shows, in words, and its figure as Plotly wants it.

    heading    what is to be seen, as a question         reading    how to read it
    figure     traces and axes; colours of text and lines are left to the page, which knows light from dark

Bars and fields have the systems down their left side in the same order; a class of memory has one colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import log10
from typing import Any

from snapshots.compare.accounts import (
    ASKED,
    BOOKKEEPING,
    CLASSES,
    FREE_ROOM,
    STATICS,
    WASTED,
)
from snapshots.compare.measures import USES
from snapshots.compare.runner import Comparison
from snapshots.compare.system_run import SystemRun

Trace = dict[str, Any]
KIB = 1024
BLUE, SKY, ORANGE, RED, GREEN, VIOLET, GREY = (
    "#2f7ed8", "#8cc4f0", "#e8a33d", "#d9534f", "#3fa66b", "#9467bd", "#b4bcc6",
)  # fmt: skip
CLASS_COLOURS = {
    STATICS: SKY, ASKED: BLUE, WASTED: RED, FREE_ROOM: GREY, BOOKKEEPING: ORANGE,
}  # fmt: skip
CLASS_NAMES = {
    STATICS: "static section", ASKED: "asked for", WASTED: "wasted",
    FREE_ROOM: "free", BOOKKEEPING: "bookkeeping",
}  # fmt: skip
NODE_COLOURS = (BLUE, ORANGE, GREEN, VIOLET, SKY, RED, GREY)
SYSTEM_COLOURS = (
    BLUE,
    ORANGE,
    GREEN,
    RED,
    VIOLET,
    "#17a2b8",
    "#8c6d4f",
    "#e377c2",
    "#7f8c2f",
    GREY,
)
STEP_KINDS = {"Alloc": "alloc", "Free": "free", "ModuleLoad": "module load", "CpuUp": "CPU up"}
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
ROW_PX, FRAME_PX = 34, 96


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. wide: it takes the whole width of the page."""

    name: str
    heading: str
    reading: str
    traces: list[Trace]
    layout: dict[str, Any]
    wide: bool = False


def comparison_charts(comparison: Comparison) -> list[Chart]:
    """Return the charts that have something to show, in the order of the page."""
    makers: tuple[Callable[[list[SystemRun]], Chart], ...] = (
        _memory, _memory_over_time, _efficiency, _nodes, _references, _tlb, _remote, _steps, _tables,
        _troubles,
    )  # fmt: skip
    made = (make(comparison.runs) for make in makers)
    charts = [chart for chart in made if any(map(_has_values, chart.traces))]
    if sum(not chart.wide for chart in charts) % 2:
        charts[-1] = replace(charts[-1], wide=True)  # two to a row: the last would stand alone
    return charts


def _has_values(trace: Trace) -> bool:
    return any(trace["x"]) and any(trace["y"])


# -- memory ----------------------------------------------------------------------------------------


def _memory(runs: list[SystemRun]) -> Chart:
    peaks = [run.measured.at_peak for run in runs]
    traces = [
        _bars(
            runs,
            CLASS_NAMES[name],
            CLASS_COLOURS[name],
            [peak.total[name] / KIB for peak in peaks],
            "%{x:,.1f} KiB",
        )
        for name in (ASKED, STATICS, BOOKKEEPING, WASTED, FREE_ROOM)
    ]
    assert len(traces) == len(CLASSES)
    return Chart(
        "memory", "Where does the memory go?",
        "All memory of each system at the moment when most was asked for, every CPU's copy counted.",
        traces, _layout(runs, "KiB", stacked=True), wide=True,
    )  # fmt: skip


def _memory_over_time(runs: list[SystemRun]) -> Chart:
    traces = [
        _line(
            run.label,
            SYSTEM_COLOURS[index % len(SYSTEM_COLOURS)],
            [(sample.nr_done, sample.total_bytes / KIB) for sample in run.measured.samples],
        )
        for index, run in enumerate(runs)
    ]
    asked = max(runs, key=lambda run: run.measured.nr_done, default=None)
    if asked is not None:
        points = [(each.nr_done, each.asked_bytes / KIB) for each in asked.measured.samples]
        line = _line("asked for", GREY, points)
        line["line"] |= {"dash": "dot", "width": 2}
        line |= {"fill": "tozeroy", "fillcolor": "rgba(150,162,178,0.22)"}
        traces.append(line)
    layout = {
        "height": 420,
        "xaxis": {"title": {"text": "operations done", "standoff": 8}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "KiB, static section aside"}, "rangemode": "tozero"},
        "legend": LEGEND,
        "margin": {"l": 70, "r": 20, "t": 60, "b": 50},
        "hovermode": "x unified",
    }
    return Chart(
        "time", "How does it grow and shrink?",
        "Memory held while the work goes on. The dotted line is what was asked for, times the copies: the"
        " nearer to it, the better; what does not come down again is kept.",
        traces, layout, wide=True,
    )  # fmt: skip


def _efficiency(runs: list[SystemRun]) -> Chart:
    values = [run.measured.at_peak.efficiency_percent for run in runs]
    return Chart(
        "efficiency", "How much of it is what was asked for?",
        "Asked for, as a share of all memory but the static section, at the same moment.",
        [_bars(runs, "asked for", BLUE, values, "%{x:.1f} %")], _layout(runs, "%", top=100),
    )  # fmt: skip


def _nodes(runs: list[SystemRun]) -> Chart:
    nodes = sorted({node for run in runs for node in run.measured.at_peak.own.per_node})
    nodes = nodes if len(nodes) > 1 else []  # with one node there is no question
    traces = [
        _bars(
            runs,
            f"node {node}",
            NODE_COLOURS[index % len(NODE_COLOURS)],
            [run.measured.at_peak.own.per_node.get(node, 0) / KIB for run in runs],
            "%{x:,.1f} KiB",
        )
        for index, node in enumerate(nodes)
    ]
    return Chart(
        "nodes", "On whose node does it lie?",
        "Memory by NUMA node. Where each CPU's copy is on its own node, the parts are alike.",
        traces, _layout(runs, "KiB", stacked=True),
    )  # fmt: skip


# -- accesses --------------------------------------------------------------------------------------


def _references(runs: list[SystemRun]) -> Chart:
    fields = {name: [_references_of(run, name) for run in runs] for name in USES}
    return Chart(
        "references", "How many memory references is one access?",
        "The datum is one of them. Each was really made by the simulated CPU, through its TLB.",
        [_fields(runs, fields, "%{y}, %{x}: %{text} references", most=4)], _field_layout(runs),
    )  # fmt: skip


def _references_of(run: SystemRun, use: str) -> float | None:
    counts = run.measured.uses[use]
    return counts.nr_references / counts.nr_accesses if counts.nr_accesses else None


def _per_thousand(run: SystemRun, number: int) -> float:
    nr_accesses = run.measured.all_uses.nr_accesses
    return 1000 * number / nr_accesses if nr_accesses else 0.0


def _tlb(runs: list[SystemRun]) -> Chart:
    uses = [run.measured.all_uses for run in runs]
    misses = [_per_thousand(run, use.nr_tlb_misses) for run, use in zip(runs, uses, strict=True)]
    walks = [
        _per_thousand(run, use.nr_walk_references) for run, use in zip(runs, uses, strict=True)
    ]
    return Chart(
        "tlb", "What does the TLB cost?",
        "Of 1000 accesses: how many translations were missed, and how many page-table entries were read for"
        " that.",
        [
            _bars(runs, "TLB misses", ORANGE, misses, "%{x:.1f} misses"),
            _bars(runs, "table reads", GREY, walks, "%{x:.1f} reads"),
        ],
        _layout(runs, "per 1000 accesses", nr_bars=2),
    )  # fmt: skip


def _remote(runs: list[SystemRun]) -> Chart:
    values = [_per_thousand(run, run.measured.all_uses.nr_remote) for run in runs]
    return Chart(
        "remote", "How often must it be fetched from another node?",
        "References to memory of another NUMA node than the CPU's, of 1000 accesses.",
        [_bars(runs, "remote references", RED, values, "%{x:.1f} references")],
        _layout(runs, "per 1000 accesses"),
    )  # fmt: skip


# -- work ------------------------------------------------------------------------------------------


def _steps(runs: list[SystemRun]) -> Chart:
    fields = {name: [_mean_steps(run, kind) for run in runs] for kind, name in STEP_KINDS.items()}
    return Chart(
        "steps", "How long does an operation take?",
        "Mean number of simulated steps, that is, of points at which another CPU could have come between.",
        [_fields(runs, fields, "%{y}, %{x}: %{text} steps", most=200)], _field_layout(runs),
    )  # fmt: skip


def _mean_steps(run: SystemRun, kind: str) -> float | None:
    counts = run.measured.steps.get(kind)
    return counts.total / counts.nr if counts is not None and counts.nr else None


def _tables(runs: list[SystemRun]) -> Chart:
    entries = [run.measured.tlb_entries_needed for run in runs]
    tables = [run.measured.at_peak.own.page_table_pages for run in runs]
    return Chart(
        "tables", "How much mapping does it need?",
        "Translations that the busiest CPU's accesses met, and page-table pages that exist to map the"
        " system's own address space.",
        [
            _bars(runs, "translations", ORANGE, entries, "%{x} translations"),
            _bars(runs, "page-table pages", VIOLET, tables, "%{x} pages"),
        ],
        _layout(runs, "count", nr_bars=2),
    )  # fmt: skip


def _troubles(runs: list[SystemRun]) -> Chart:
    failed = [len(run.measured.failures) for run in runs]
    cannot = [len(run.measured.cannot) for run in runs]
    return Chart(
        "troubles", "What could not be done?",
        "Operations that were refused, and those that a system does not have. The reasons are in the table.",
        [
            _bars(runs, "failed", RED, failed, "%{x} failed"),
            _bars(runs, "cannot", GREY, cannot, "%{x} cannot be"),
        ],
        _layout(runs, "operations", stacked=True),
    )  # fmt: skip


# -- pieces ----------------------------------------------------------------------------------------


def _bars(
    runs: list[SystemRun], name: str, colour: str, values: Iterable[float], hover: str
) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [run.label for run in runs],
        "x": list(values),
        "marker": {"color": colour},
        "hovertemplate": f"%{{y}}, {name}: {hover}<extra></extra>",
    }


def _fields(
    runs: list[SystemRun], fields: dict[str, list[float | None]], hover: str, most: int
) -> Trace:
    """Return numbers in coloured fields: a row for each system, a column for each name that has any.

    Colours go with the logarithm, from 1 to most.
    """
    shown = {
        name: values for name, values in fields.items() if any(each is not None for each in values)
    }
    rows = list(zip(*shown.values(), strict=True))
    return {
        "type": "heatmap",
        "x": list(shown),
        "y": [run.label for run in runs],
        "z": [[None if each is None else log10(max(each, 1)) for each in row] for row in rows],
        "text": [["" if each is None else f"{each:.2f}" for each in row] for row in rows],
        "texttemplate": "%{text}",
        "textfont": {"color": "#1d2530", "size": 14},
        "colorscale": [[0, "#cfe5f7"], [0.5, "#f6d9a4"], [1, "#ee9a8f"]],
        "zmin": 0,
        "zmax": log10(most),
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "hoverongaps": False,
        "hovertemplate": f"{hover}<extra></extra>",
    }


def _line(name: str, colour: str, points: list[tuple[int, float]]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"color": colour, "width": 2.5},
        "hovertemplate": "%{y:,.0f} KiB",
    }


def _layout(
    runs: list[SystemRun], unit: str, *, stacked: bool = False, top: float = 0, nr_bars: int = 1
) -> dict[str, Any]:
    thickness = 1 if stacked else max(1, 0.7 * nr_bars)
    xaxis: dict[str, Any] = {"title": {"text": unit, "standoff": 8}, "rangemode": "tozero"}
    if top:
        xaxis["range"] = [0, top]
    return {
        "barmode": "stack" if stacked else "group",
        "bargap": 0.35,
        "height": int(FRAME_PX + ROW_PX * thickness * max(len(runs), 1)),
        "xaxis": xaxis,
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "ticksuffix": "  ",
            "showgrid": False,
        },
        "legend": LEGEND,
        "margin": {"l": 20, "r": 20, "t": 40, "b": 50},
    }


def _field_layout(runs: list[SystemRun]) -> dict[str, Any]:
    return {
        "height": int(FRAME_PX + ROW_PX * max(len(runs), 1)),
        "xaxis": {"side": "top", "showgrid": False, "zeroline": False, "ticks": ""},
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "ticksuffix": "  ",
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        "margin": {"l": 20, "r": 20, "t": 40, "b": 20},
    }
