"""What a run is and what is in it: the facts for who opens a file for the first time."""

from __future__ import annotations

from kernel_sim.topology import format_cpu_list
from tui.debugger.session import Session
from tui.debugger.table import Cell, Column, Table

COLUMNS = (Column("fact"), Column("value"))
MARK_WORDS = (("c", "chunks created"), ("d", "chunks destroyed"), ("f", "failed allocations"))


def run_view(session: Session) -> Table:
    """Return the facts of the whole run: machine, length, origin."""
    machine, origin = session.machine, session.origin
    config, timeline = machine.config, session.timeline
    marks = [mark.kind for mark in session.marks]
    rows: list[tuple[Cell, ...]] = [
        ("machine", config.name),
        ("kernel", config.kernel.version),
        ("possible CPUs", format_cpu_list(machine.topology.possible)),
        ("online CPUs", format_cpu_list(machine.topology.online)),
        ("nodes", len(machine.topology.nodes)),
        ("first step", session.first_step),
        ("last step", session.end_step),
        ("inputs", timeline.nr_inputs),
        ("events", timeline.nr_events),
        ("keyframes", len(timeline.heads)),
        *((words, marks.count(kind)) for kind, words in MARK_WORDS),
        ("origin", origin.kind),
    ]
    if origin.source:
        rows.append(("source", origin.source))
    if origin.mode:
        rows.append(("mode", origin.mode))
        rows.append(("inferred", len(origin.inferred)))
        rows.append(("divergences", len(origin.divergences)))
    rows += [(name.replace("_", " "), count) for name, count in origin.counts.items()]
    return Table(session.name or config.name, COLUMNS, tuple(rows), tuple(origin.notes))
