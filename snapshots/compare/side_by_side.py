"""Several systems at the same place of the same work: one position for all, moved to and fro together.

    position 812      812 operations are done on every system
      bitmap          stands at step 3931 of its run
      block-2005      at step 5210 of its own

A move goes run by run in slices. It is short: no keyframe of a run is more than some hundred inputs away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from snapshots.compare.accounts import class_totals
from snapshots.compare.measured_access import Cost
from snapshots.compare.measures import Trouble
from snapshots.compare.runner import Comparison
from snapshots.compare.system_run import SystemRun
from snapshots.compare.workload import Operation

DONE, FAILED, CANNOT, MOOT, STOPPED, BEGIN = "done", "failed", "cannot", "moot", "stopped", "begin"


class Outcome(NamedTuple):
    """What became of one operation on one system; steps it took, and the reason if it was not done."""

    what: str
    nr_steps: int = 0
    reason: str = ""
    cost: Cost | None = None


@dataclass(slots=True)
class SideBySide:
    """A comparison to look at; position is how many operations are done."""

    comparison: Comparison
    position: int = 0
    _troubles: dict[str, dict[int, tuple[str, Trouble]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = self.last

    @property
    def last(self) -> int:
        """The last position there is."""
        return len(self.comparison.workload.operations)

    @property
    def operation(self) -> Operation | None:
        """The operation that was done last, None at the beginning."""
        operations = self.comparison.workload.operations
        return operations[self.position - 1] if self.position else None

    def moves(self, position: int) -> Iterator[None]:
        """Go to a position with every system, in slices; it counts when all have arrived."""
        goal = min(max(position, 0), self.last)
        for run in self.comparison.runs:
            for _ in run.timeline.moves(run.ends[goal]):
                yield
            yield
        self.position = goal

    def go(self, position: int) -> None:
        """Go to a position at once."""
        for _ in self.moves(position):
            pass

    def totals(self, run: SystemRun) -> Generator[None, None, Counter[str]]:
        """Return what a system's memory is for at this position, by class; in slices."""
        live = run.areas_after(self.position).values()
        return class_totals(run.machine, [(area.ptr, area.size_bytes) for area in live])

    def outcome(self, run: SystemRun) -> Outcome:
        """Return what became of the operation that was done last."""
        if not self.position:
            return Outcome(BEGIN)
        at = self.position - 1
        nr_steps = run.ends[at + 1] - run.ends[at]
        what, trouble = self._troubles_of(run).get(at, ("", None))
        if trouble is not None:
            return Outcome(what, nr_steps, trouble.reason)
        stopped = run.measured.stopped
        if stopped is not None and at > stopped.at:
            return Outcome(STOPPED, 0, stopped.reason)
        if not nr_steps:
            return Outcome(MOOT)
        return Outcome(DONE, nr_steps, cost=run.costs.get(at))

    def nr_troubles(self, run: SystemRun) -> int:
        """Return how many operations up to here were not done as asked."""
        return sum(at < self.position for at in self._troubles_of(run))

    def trouble_position(self, *, forward: bool) -> int | None:
        """Return the nearest position that way after which some system has just had a trouble."""
        runs = self.comparison.runs
        positions = sorted({at + 1 for run in runs for at in self._troubles_of(run)})
        if forward:
            return next((each for each in positions if each > self.position), None)
        return next((each for each in reversed(positions) if each < self.position), None)

    def _troubles_of(self, run: SystemRun) -> dict[int, tuple[str, Trouble]]:
        known = self._troubles.get(run.label)
        if known is None:
            measured = run.measured
            known = {each.at: (FAILED, each) for each in measured.failures}
            known |= {each.at: (CANNOT, each) for each in measured.cannot}
            if measured.stopped is not None:
                known[measured.stopped.at] = (STOPPED, measured.stopped)
            self._troubles[run.label] = known
        return known
