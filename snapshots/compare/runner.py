"""The same work on several systems, operation by operation, each on a time line of its own.

    workload     op 0    op 1    op 2  …              the position of all: how many operations are done
    bitmap       ├─12─┼──9──┼─────31─────┤            steps of the machine, as many as that system needs
    block-2005   ├──────40──────┼─8─┼──22──┤

Where each operation ended is kept, so that every run can be looked at after any of them, and saved as a
recording.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from snapshots.compare.machines import ChosenSystem, machine_of, with_one_group
from snapshots.compare.system_run import SystemRun
from snapshots.compare.workload import Alloc, Free, ModuleLoad, ModuleUnload, Workload
from snapshots.timeline import Timeline


class NotRun(NamedTuple):
    """A system that cannot be on this machine, and why."""

    label: str
    reason: str


class Told(NamedTuple):
    """How far a comparison is."""

    label: str
    nr_done: int
    nr_operations: int


def peak_of(workload: Workload) -> int:
    """Return after how many operations most is asked for, first."""
    sizes: dict[int | str, int] = {}
    asked = most = at = 0
    for index, operation in enumerate(workload.operations):
        if isinstance(operation, Alloc | ModuleLoad):
            sizes[operation[0]] = operation.size_bytes
            asked += operation.size_bytes
        elif isinstance(operation, Free | ModuleUnload):
            asked -= sizes.pop(operation[0], 0)
        if asked > most:
            most, at = asked, index + 1
    return at


@dataclass(slots=True)
class Comparison:
    """A workload and what became of it on each system."""

    workload: Workload
    runs: list[SystemRun] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    notes: list[str] = field(
        default_factory=list
    )  # what a system's machine has that the others' have not

    @property
    def is_whole(self) -> bool:
        """Say whether every run came to its end."""
        return all(run.measured.stopped is None for run in self.runs)


def begin_comparison(
    workload: Workload,
    systems: tuple[ChosenSystem, ...],
    base: Mapping[str, object],
    where: str,
) -> Comparison:
    """Boot a machine for each system; those that cannot be are listed with the reason.

    Raises ConfigError if the base machine itself cannot be.
    """
    comparison = Comparison(workload)
    peak_at = peak_of(workload)
    for system in systems:
        try:
            machine, note = _booted(system, base, where)
        except ConfigError as problem:
            comparison.not_run.append(NotRun(system.label, str(problem)))
            continue
        if note:
            comparison.notes.append(note)
        run = SystemRun(system.label, system.entry.title, workload, Timeline(machine), peak_at)
        comparison.runs.append(run)
    if not comparison.runs and comparison.not_run:
        raise ConfigError(f"no system can run: {comparison.not_run[0].reason}")
    return comparison


def _booted(system: ChosenSystem, base: Mapping[str, object], where: str) -> tuple[Machine, str]:
    """Boot a system's machine, with all CPUs in one group if it cannot be otherwise; and say so."""
    try:
        return boot(machine_of(system, base, where)), ""
    except ConfigError as problem:
        changed = with_one_group(system, base)
        if changed is None:
            raise
        try:
            machine = boot(machine_of(system, changed, where))
        except ConfigError:
            raise problem from None
        return machine, f"{system.label} has all CPUs in one group, for otherwise: {problem}"


def comparing(comparison: Comparison) -> Generator[Told, None, None]:
    """Let every system do its work; yields how far it is."""
    for run in comparison.runs:
        for nr_done in run.runs():
            yield Told(run.label, nr_done, len(comparison.workload.operations))
