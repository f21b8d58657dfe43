"""The same work on several systems, operation by operation, each on a time line of its own.

    workload     op 0    op 1    op 2  …              the position of all: how many operations are done
    bitmap       ├─12─┼──9──┼─────31─────┤            steps of the machine, as many as that system needs
    block-2005   ├──────40──────┼─8─┼──22──┤

An operation is finished, background work that it woke included, before the next one begins. Where each ended
is kept, so that every run can be looked at after any operation, and saved as a recording.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kernel_sim.boot import boot
from kernel_sim.call import Arg, Call
from kernel_sim.errors import BadAccess, ConfigError
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from snapshots.compare.access_path import Reached, access_path
from snapshots.compare.accounts import Accounts, accounts_of
from snapshots.compare.machines import ChosenSystem, machine_of
from snapshots.compare.measures import (
    OTHERS,
    OWN_DYNAMIC,
    OWN_MODULE,
    OWN_STATIC,
    Measured,
    StepCounts,
    Trouble,
    UseCounts,
)
from snapshots.compare.section_object import section_object
from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    Operation,
    StaticAccess,
    Workload,
)
from snapshots.errors import InputRefused
from snapshots.timeline import Timeline

CALL_SITE = "compare"
WORD_BYTES = 4
SLICE_OPERATIONS = 16
SAMPLES = 100
MODULE_NAME_MAX = 50
REASON_CHARS_MAX = 200
NOTHING_SAID = "returned nothing, and nothing was logged"


class NotRun(NamedTuple):
    """A system that cannot be on this machine, and why."""

    label: str
    reason: str


class Area(NamedTuple):
    """What was given out: its ptr and how many bytes were asked for; align as asked."""

    ptr: int
    size_bytes: int
    align_bytes: int


class Told(NamedTuple):
    """How far a comparison is."""

    label: str
    nr_done: int
    nr_operations: int


@dataclass(slots=True)
class SystemRun:
    """One system's run of a workload. ends[n] is the step at which n operations were done."""

    label: str
    title: str
    workload: Workload
    timeline: Timeline
    peak_at: int  # how many operations are done when most is asked for
    measured: Measured = field(default_factory=Measured)
    ends: list[int] = field(default_factory=list)
    live: dict[int | str, Area] = field(default_factory=dict)  # areas by number, sections by name

    @property
    def machine(self) -> Machine:
        """The live machine."""
        return self.timeline.machine

    def runs(self) -> Generator[int, None, None]:
        """Do all operations; yields now and then how many are done."""
        measured = self.measured
        self.ends = [self.timeline.step]
        measured.at_boot = measured.at_peak = self.accounts()
        measured.sample(0, measured.at_boot)
        for index, operation in enumerate(self.workload.operations):
            if index % SLICE_OPERATIONS == 0:
                yield index
            before = self.timeline.step
            if measured.stopped is None:
                self._do(index, operation)
                counts = measured.steps.setdefault(type(operation).__name__, StepCounts())
                counts.add(self.timeline.step - before)
            self.ends.append(self.timeline.step)
            self._look(index + 1)
        measured.at_end = self.accounts()
        yield len(self.workload.operations)

    def accounts(self) -> Accounts:
        """Return what memory is for now, by what lives now."""
        return accounts_of(
            self.machine, ((area.ptr, area.size_bytes) for area in self.live.values())
        )

    def _look(self, nr_done: int) -> None:
        """Keep the accounts of this moment if it is one that shall be shown."""
        is_peak = nr_done == self.peak_at
        nr_operations = len(self.workload.operations)
        every = max(nr_operations // SAMPLES, 1)
        if is_peak or nr_done % every == 0 or nr_done == nr_operations:
            accounts = self.accounts()
            self.measured.sample(nr_done, accounts)
            if is_peak:
                self.measured.at_peak = accounts

    # -- one operation -----------------------------------------------------------------------------

    def _do(self, index: int, operation: Operation) -> None:
        nr_logged = len(self.machine.kernel_log)
        try:
            reason = self._reason_not_done(operation)
        except InputRefused as problem:
            self.measured.cannot.append(Trouble(index, operation, str(problem)))
            return
        fault = self.machine.fault
        if fault is not None:
            text = f"the machine stopped: {fault.reason}"
            self.measured.stopped = Trouble(index, operation, text[:REASON_CHARS_MAX])
        elif reason is None:
            self.measured.nr_done += 1
        elif reason:
            said = self._logged_since(nr_logged)
            text = said or reason
            self.measured.failures.append(Trouble(index, operation, text[:REASON_CHARS_MAX]))
        else:
            self.measured.nr_moot += 1

    def _logged_since(self, nr_logged: int) -> str:
        return next((text for _, text in self.machine.kernel_log[nr_logged:] if text.strip()), "")

    def _reason_not_done(self, operation: Operation) -> str | None:
        """Do an operation. None: done. "": there was nothing to do it with. Else why it failed."""
        match operation:
            case Alloc():
                return self._alloc(operation)
            case Free(number, cpu):
                area = self.live.pop(number, None)
                return "" if area is None else self._call(cpu, "free_percpu", area.ptr)[1]
            case ModuleLoad():
                return self._load(operation)
            case ModuleUnload(name, cpu):
                return "" if self.live.pop(name, None) is None else self._unload(name, cpu)
            case Access(number, cpu, owner, write):
                return self._use_area(number, cpu, owner, write, OWN_DYNAMIC)
            case ModuleAccess(name, cpu, owner, write):
                return self._use_area(name, cpu, owner, write, OWN_MODULE)
            case StaticAccess(offset, cpu, owner, write):
                system = self.machine.system
                room = max(system.static_bytes - WORD_BYTES, 0)
                ptr = system.percpu_start + (offset % (room + 1)) // WORD_BYTES * WORD_BYTES
                return self._use(Area(ptr, WORD_BYTES, WORD_BYTES), cpu, owner, write, OWN_STATIC)
            case CpuUp(cpu):
                return self._hotplug("cpu_up", cpu)
            case CpuDown(cpu):
                return self._hotplug("cpu_down", cpu)

    def _alloc(self, asked: Alloc) -> str | None:
        gfp = GFP_ATOMIC if asked.atomic else GFP_KERNEL
        call, reason = self._call(
            asked.cpu, "pcpu_alloc", asked.size_bytes, asked.align_bytes, False, gfp, CALL_SITE
        )
        if call is None or not isinstance(call.result, int) or not call.result:
            return reason or NOTHING_SAID
        self.live[asked.number] = Area(call.result, asked.size_bytes, asked.align_bytes)
        return None

    def _load(self, asked: ModuleLoad) -> str | None:
        arch = self.machine.arch.name
        image = section_object(arch, asked.size_bytes, asked.align_bytes, asked.nr_variables)
        call, reason = self._call(asked.cpu, "load_module", image, _module_name(asked.name), "")
        if call is None or call.result != 0:
            return reason or f"returned {call.result if call else None}"
        mod = self.machine.modules.find_module(_module_name(asked.name))
        if mod is None:
            return NOTHING_SAID
        self.live[asked.name] = Area(mod.percpu_ptr, asked.size_bytes, asked.align_bytes)
        return None

    def _unload(self, name: str, cpu: int) -> str | None:
        call, reason = self._call(cpu, "delete_module", _module_name(name))
        return reason or (None if call is not None and not call.result else "it did not go")

    def _hotplug(self, do: str, cpu: int) -> str | None:
        cpus = self.machine.topology.possible
        if cpu not in cpus:
            return f"CPU {cpu}: this machine has {len(cpus)} CPUs"
        by = next((each for each in self.machine.online_cpus() if each != cpu), None)
        if by is None:
            return f"{do}: there is no other CPU to ask for it"
        call, reason = self._call(by, do, cpu)
        failed = call is not None and call.result != 0
        return reason or (f"{do}: returned {call.result}" if failed and call else None)

    # -- uses --------------------------------------------------------------------------------------

    def _use_area(
        self, name: int | str, cpu: int, owner: int, write: bool, kind: str
    ) -> str | None:
        area = self.live.get(name)
        return "" if area is None else self._use(area, cpu, owner, write, kind)

    def _use(self, area: Area, cpu: int, owner: int, write: bool, kind: str) -> str | None:
        """Perform an access and count what it cost."""
        is_own = cpu == owner
        cpu = self._online(cpu)
        owner = cpu if is_own else self._possible(owner)
        if self.machine.system.copy_addr(area.ptr, owner) is None:
            return f"CPU {owner} has no copy now"
        try:
            path = access_path(self.machine, cpu, area.ptr, owner)
        except BadAccess as problem:
            return f"CPU {cpu} cannot reach the copy of CPU {owner}: {problem}"
        use = self.measured.uses[kind if cpu == owner else OTHERS]
        self._perform(area, cpu, owner, write, use, path)
        self.measured.note_path(cpu, self.machine.cpus[cpu].node, use, path)
        return None

    def _perform(
        self, area: Area, cpu: int, owner: int, write: bool, use: UseCounts, path: list[Reached]
    ) -> None:
        counters = self.machine.tlbs[cpu].counters if cpu in self.machine.tlbs else None
        before = _tlb_counts(self.machine, cpu)
        whole = area.size_bytes >= WORD_BYTES and area.align_bytes >= WORD_BYTES
        size = WORD_BYTES if whole else 1
        if cpu == owner and write:
            self._call(cpu, "this_cpu_write", area.ptr, 1, size)
        elif cpu == owner:
            self._call(cpu, "this_cpu_read", area.ptr, size)
        elif write:
            call, _ = self._call(cpu, "per_cpu_ptr", area.ptr, owner)
            if call is not None and isinstance(call.result, int):
                self._call(cpu, "write", call.result, 1, size)
        else:
            self._call(cpu, "per_cpu", area.ptr, owner, size)
        lookups, misses, walks = _tlb_counts(self.machine, cpu)
        use.nr_accesses += 1
        use.nr_references += lookups - before[0] if counters is not None else len(path)
        use.nr_tlb_misses += misses - before[1]
        use.nr_walk_references += walks - before[2]

    # -- the machine -------------------------------------------------------------------------------

    def _call(self, cpu: int, do: str, *args: Arg) -> tuple[Call | None, str | None]:
        """Let a CPU do something to its end; returns the call, and what went wrong with it."""
        call = self.timeline.take(do, self._online(cpu), args)
        if call is None or not call.done:
            return None, f"{do} did not end"
        return call, None

    def _possible(self, cpu: int) -> int:
        cpus = self.machine.topology.possible
        return cpus[cpu % len(cpus)]

    def _online(self, cpu: int) -> int:
        """Return the CPU that a workload means: the next one that is up, on this machine."""
        cpus = self.machine.topology.possible
        first = cpu % len(cpus)
        online = self.machine.online_cpus()
        return next(each for each in (*cpus[first:], *cpus[:first]) if each in online)


def _tlb_counts(machine: Machine, cpu: int) -> tuple[int, int, int]:
    """Return how many translations a CPU looked up, missed, and how many table entries it read for them."""
    tlb = machine.tlbs.get(cpu)
    if tlb is None:
        return 0, 0, 0
    counts = tlb.counters
    lookups = counts.l1_hits + counts.l2_hits + counts.misses
    return lookups, counts.misses, counts.walk_references


def _module_name(name: str) -> str:
    """Return a name that a module can have."""
    letters = (each if each.isascii() and each.isalnum() else "_" for each in name)
    return "".join(letters)[:MODULE_NAME_MAX]


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
            machine = boot(machine_of(system, base, where))
        except ConfigError as problem:
            comparison.not_run.append(NotRun(system.label, str(problem)))
            continue
        run = SystemRun(system.label, system.entry.title, workload, Timeline(machine), peak_at)
        comparison.runs.append(run)
    if not comparison.runs and comparison.not_run:
        raise ConfigError(f"no system can run: {comparison.not_run[0].reason}")
    return comparison


def comparing(comparison: Comparison) -> Generator[Told, None, None]:
    """Let every system do its work; yields how far it is."""
    for run in comparison.runs:
        for nr_done in run.runs():
            yield Told(run.label, nr_done, len(comparison.workload.operations))
