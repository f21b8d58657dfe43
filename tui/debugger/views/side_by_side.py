"""What a system's column tells at one position of a comparison: what happened, and figures by name.

done in 6 steps          what became of the operation that was done last
2 references, 1 miss     what it cost, if it was an access
asked, wasted, …         bytes at this position
"""

from __future__ import annotations

from collections import Counter

from snapshots.compare.accounts import ASKED, BOOKKEEPING, CLASSES, FREE_ROOM, STATICS, WASTED
from snapshots.compare.measured_access import Cost
from snapshots.compare.side_by_side import BEGIN, DONE, MOOT, SideBySide
from snapshots.compare.system_run import SystemRun
from snapshots.compare.workload import operation_text
from tui.debugger.table import Cell, Column, Table, count

Figure = tuple[str, Cell]
ORDER = (ASKED, WASTED, BOOKKEEPING, FREE_ROOM, STATICS)
TOTAL, NOT_DONE = "total", "not done"
BYTE_FIGURES = (*ORDER, TOTAL)


def headline(side: SideBySide, whose: str = "") -> str:
    """Return where all systems stand, in one line; whose: which of them are in the picture."""
    work, operation = side.comparison.workload, side.operation
    percent = 100 * side.position // max(side.last, 1)
    what = operation_text(operation) if operation is not None else "nothing is done yet"
    parts = (work.name, f"{side.position}/{side.last} ({percent}%)", whose, what)
    return "   ".join(part for part in parts if part)


def outcome_text(side: SideBySide, run: SystemRun) -> str:
    """Return in a few words what became of the operation on a system."""
    outcome = side.outcome(run)
    if outcome.what == BEGIN:
        return "at its beginning"
    if outcome.what == MOOT:
        return "nothing to do it with"
    if outcome.what != DONE:
        return outcome.what
    steps = count(outcome.nr_steps, "step")
    return (
        f"{steps}; {_cost_text(outcome.cost)}" if outcome.cost is not None else f"done in {steps}"
    )


def reason_text(side: SideBySide, run: SystemRun) -> str:
    """Return why the operation was not done, "" if it was."""
    reason = side.outcome(run).reason
    return f"{run.label}: {' '.join(reason.split())}" if reason else ""


def _cost_text(cost: Cost) -> str:
    parts = [count(cost.nr_references, "ref")]
    if cost.nr_tlb_misses:
        parts.append(f"{cost.nr_tlb_misses} miss")
    if cost.nr_remote:
        parts.append(f"{cost.nr_remote} remote")
    return ", ".join(parts)


def column_figures(side: SideBySide, run: SystemRun, total: Counter[str]) -> list[Figure]:
    """Return a column's figures by name; total: bytes by class at this position."""
    found: list[Figure] = [(name, total[name]) for name in ORDER]
    assert len(found) == len(CLASSES)
    found.append((TOTAL, sum(total.values())))
    found.append(("step", run.ends[side.position]))
    found.append((NOT_DONE, side.nr_troubles(run)))
    return found


def side_by_side_view(side: SideBySide, totals: dict[str, Counter[str]]) -> Table:
    """Return the figures as a listing: a row for each figure, a column for each system."""
    runs = side.comparison.runs
    columns = [column_figures(side, run, totals[run.label]) for run in runs]
    rows: list[tuple[Cell, ...]] = [("outcome", *(outcome_text(side, run) for run in runs))]
    rows += [
        (name, *(str(column[index][1]) for column in columns))
        for index, (name, _) in enumerate(columns[0] if columns else [])
    ]
    names = (Column("figure"), *(Column(run.label) for run in runs))
    reasons = tuple(text for run in runs if (text := reason_text(side, run)))
    return Table(headline(side), names, tuple(rows), reasons)
