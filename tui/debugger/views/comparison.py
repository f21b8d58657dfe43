"""A comparison as listings: one row a system, or a few; console, --json and the compare screen show these.

summary      the figures by which one would choose
memory       what all bytes are for, when most was asked for and at the end; by CPU; by node
uses         what an access costs, by kind of variable
steps        what an operation costs, by kind
troubles     what failed or cannot be, and why        not_run    systems that cannot be on this machine
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kernel_sim.percpu.stretch import SHARED
from snapshots.compare.accounts import (
    ASKED,
    BOOKKEEPING,
    CLASSES,
    FREE_ROOM,
    STATICS,
    WASTED,
    Accounts,
)
from snapshots.compare.measures import USES, Trouble, UseCounts, grouped
from snapshots.compare.runner import Comparison
from snapshots.compare.system_run import SystemRun
from snapshots.compare.workload import operation_text
from tui.debugger.table import DEC, Cell, Column, Table, count

Rows = Iterator[tuple[Cell, ...]]

CLASS_HELP = {
    STATICS: "bytes of the kernel's own section, all copies",
    ASKED: "bytes asked for, times the copies there are",
    WASTED: "bytes that serve nobody: rounding, padding, room kept in reserve",
    FREE_ROOM: "bytes that may be given out",
    BOOKKEEPING: "bytes of tables and bookkeeping, in memory and beside it",
}
BYTES = tuple(Column(name, DEC, CLASS_HELP[name]) for name in CLASSES)
SYSTEM = Column("system")
SUMMARY_COLUMNS = (
    SYSTEM,
    Column("total", DEC, "bytes when most was asked for, static section aside"),
    Column("asked%", DEC, "how much of that is what was asked for"),
    Column("wasted", DEC, CLASS_HELP[WASTED]),
    Column("metadata", DEC, CLASS_HELP[BOOKKEEPING]),
    Column("refs", DEC, "memory references of one access, the datum included"),
    Column("miss/k", DEC, "TLB misses of 1000 accesses"),
    Column("remote/k", DEC, "references to another node's memory, of 1000 accesses"),
    Column("tlb", DEC, "translations that the CPU with most of them met"),
    Column("tables", DEC, "page-table pages that map the system's own address space"),
    Column("steps", DEC, "simulated steps of an operation"),
    Column("failed", DEC, "operations that the system answered with no"),
)
MEMORY_COLUMNS = (
    SYSTEM, *BYTES, Column("total", DEC, "bytes"), Column("areas", DEC),
    Column("page_tables", DEC, "pages of tables, of the whole machine"),
)  # fmt: skip
CPU_COLUMNS = (SYSTEM, Column("cpu", help="shared: of no single CPU"), *BYTES)
NODE_COLUMNS = (
    SYSTEM, Column("node", DEC), Column("bytes", DEC),
    Column("misplaced", DEC, "bytes of CPUs' copies, of all nodes, that should lie on another node"),
)  # fmt: skip
USE_COLUMNS = (
    SYSTEM, Column("use", help="whose copy of what"), Column("accesses", DEC),
    Column("references", DEC), Column("per_access", DEC), Column("tlb_misses", DEC),
    Column("walk_reads", DEC, "page-table entries read because of misses"),
    Column("remote", DEC, "references to another node's memory"),
)  # fmt: skip
STEP_COLUMNS = (
    SYSTEM, Column("operation"), Column("times", DEC), Column("steps", DEC),
    Column("mean", DEC), Column("longest", DEC),
)  # fmt: skip
TROUBLE_COLUMNS = (
    SYSTEM, Column("what"), Column("times", DEC), Column("first", help="the first of them"),
    Column("reason"),
)  # fmt: skip
NOT_RUN_COLUMNS = (SYSTEM, Column("reason"))


def summary_view(comparison: Comparison) -> Table:
    """Return a row for each system that ran, with the figures by which one would choose."""
    work = comparison.workload
    kinds = ", ".join(f"{nr} {name}" for name, nr in work.counts.items())
    left_out = ", ".join(f"{nr} {what}" for what, nr in work.left_out.items())
    notes = [f"the work: {work.origin}: {kinds}", *work.notes, *comparison.notes]
    if left_out:
        notes.append(f"left out, for no operation stands for it: {left_out}")
    told = count(len(work.operations), "operation"), count(len(comparison.runs), "system")
    title = f"{work.name}: {told[0]} on {told[1]}"
    return Table(title, SUMMARY_COLUMNS, tuple(map(_summary, comparison.runs)), tuple(notes))


def _summary(run: SystemRun) -> tuple[Cell, ...]:
    measured, peak = run.measured, run.measured.at_peak
    uses = measured.all_uses
    nr_operations = sum(counts.nr for counts in measured.steps.values())
    return (
        run.label,
        peak.total_bytes - peak.total[STATICS],
        f"{peak.efficiency_percent:.1f}",
        peak.total[WASTED],
        peak.total[BOOKKEEPING],
        per(uses.nr_references, uses.nr_accesses),
        per(1000 * uses.nr_tlb_misses, uses.nr_accesses, 0),
        per(1000 * uses.nr_remote, uses.nr_accesses, 0),
        measured.tlb_entries_needed,
        peak.own.page_table_pages,
        per(measured.nr_steps, nr_operations, 1),
        len(measured.failures) + len(measured.cannot),
    )


def per(number: int, of: int, nr_digits: int = 2) -> str | None:
    """Return a ratio as text, None where there is nothing to divide by."""
    return f"{number / of:.{nr_digits}f}" if of else None


def peak_view(comparison: Comparison) -> Table:
    """Return what all memory was for when most was asked for."""
    at = comparison.runs[0].peak_at if comparison.runs else 0
    return _memory(
        comparison, f"memory after operation {at}, when most was asked for", _peak_accounts
    )


def end_view(comparison: Comparison) -> Table:
    """Return what all memory is for after the last operation."""
    return _memory(comparison, "memory after the last operation", _end_accounts)


def _peak_accounts(run: SystemRun) -> Accounts:
    return run.measured.at_peak


def _end_accounts(run: SystemRun) -> Accounts:
    return run.measured.at_end


def _memory(comparison: Comparison, title: str, of: Callable[[SystemRun], Accounts]) -> Table:
    rows = tuple((run.label, *memory_cells(of(run))) for run in comparison.runs)
    return Table(title, MEMORY_COLUMNS, rows)


def memory_cells(accounts: Accounts) -> tuple[Cell, ...]:
    """Return accounts as the cells of MEMORY_COLUMNS behind the first."""
    by_class = (accounts.total[name] for name in CLASSES)
    return (*by_class, accounts.total_bytes, accounts.nr_areas, accounts.nr_table_pages)


def cpu_view(comparison: Comparison) -> Table:
    """Return the memory of every CPU when most was asked for."""
    return Table(
        "memory by CPU, when most was asked for", CPU_COLUMNS, tuple(_cpu_rows(comparison))
    )


def _cpu_rows(comparison: Comparison) -> Rows:
    for run in comparison.runs:
        for cpu, classes in sorted(run.measured.at_peak.by_cpu.items()):
            name = "shared" if cpu == SHARED else str(cpu)
            yield (run.label, name, *(classes[each] for each in CLASSES))


def node_view(comparison: Comparison) -> Table:
    """Return the memory on every node when most was asked for."""
    title = "memory by node, when most was asked for"
    return Table(title, NODE_COLUMNS, tuple(_node_rows(comparison)))


def _node_rows(comparison: Comparison) -> Rows:
    for run in comparison.runs:
        own = run.measured.at_peak.own
        for node, nr_bytes in sorted(own.per_node.items()):
            yield run.label, node, nr_bytes, own.misplaced_bytes


def use_view(comparison: Comparison) -> Table:
    """Return what an access costs, by kind of variable."""
    rows = tuple(row for run in comparison.runs for row in _use_rows(run))
    return Table("accesses, as the simulated CPUs made them", USE_COLUMNS, rows)


def _use_rows(run: SystemRun) -> Rows:
    for name in USES:
        if run.measured.uses[name].nr_accesses:
            yield (run.label, name, *_use_cells(run.measured.uses[name]))


def _use_cells(use: UseCounts) -> tuple[Cell, ...]:
    return (
        use.nr_accesses, use.nr_references, per(use.nr_references, use.nr_accesses),
        use.nr_tlb_misses, use.nr_walk_references, use.nr_remote,
    )  # fmt: skip


def step_view(comparison: Comparison) -> Table:
    """Return what operations cost in simulated steps."""
    rows = tuple(
        (run.label, kind, counts.nr, counts.total, per(counts.total, counts.nr, 1), counts.longest)
        for run in comparison.runs
        for kind, counts in run.measured.steps.items()
    )
    return Table("simulated steps", STEP_COLUMNS, rows)


def trouble_view(comparison: Comparison) -> Table:
    """Return what was not done as asked, by reason, the most frequent first."""
    rows = tuple(row for run in comparison.runs for row in _trouble_rows(run))
    return Table(
        "what was not done as asked" if rows else "everything was done", TROUBLE_COLUMNS, rows
    )


def _trouble_rows(run: SystemRun) -> Rows:
    measured = run.measured
    if measured.stopped is not None:
        yield _trouble_row(run, "stopped at", 1, measured.stopped)
    for what, troubles in (("failed", measured.failures), ("cannot", measured.cannot)):
        for group in grouped(troubles):
            yield _trouble_row(run, what, group.nr, group.first)
    if measured.nr_moot:
        yield (
            run.label,
            "had nothing to do",
            measured.nr_moot,
            "",
            "what they are of was not to be had",
        )


def _trouble_row(run: SystemRun, what: str, nr: int, first: Trouble) -> tuple[Cell, ...]:
    said = f"{first.at + 1}: {operation_text(first.operation)}"
    return run.label, what, nr, said, " ".join(first.reason.split())


def not_run_view(comparison: Comparison) -> Table:
    """Return the systems that cannot be on this machine."""
    rows = tuple((each.label, each.reason) for each in comparison.not_run)
    return Table("not run" if rows else "every system ran", NOT_RUN_COLUMNS, rows)


VIEWS: dict[str, Callable[[Comparison], Table]] = {
    "summary": summary_view,
    "peak": peak_view,
    "end": end_view,
    "by_cpu": cpu_view,
    "by_node": node_view,
    "uses": use_view,
    "steps": step_view,
    "troubles": trouble_view,
    "not_run": not_run_view,
}
"""All listings of a comparison, in the order in which they are told."""
BRIEF = ("summary", "peak", "uses", "troubles", "not_run")
"""Those that the console tells unless asked for all."""
EMPTY_TOLD = ("summary", "troubles")
"""Those that are told although they have no row."""
