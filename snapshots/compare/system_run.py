"""One system's run of a workload: every operation given to its machine, finished, and measured.

    op 0     op 1     op 2             an operation is finished, background work that it woke included,
    ├──12────┼───9────┼──────31────┤   before the next one begins
    0        12       21           52  ends: the step at which each was done

What lived when is kept as changes, so that any moment of the run can be accounted for again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from kernel_sim.call import Arg, Call
from kernel_sim.errors import BadAccess
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from snapshots.compare.accounts import Accounts, accounts_of, class_totals
from snapshots.compare.measured_access import Cost, measured_access
from snapshots.compare.measures import (
    OTHERS,
    OWN_DYNAMIC,
    OWN_MODULE,
    OWN_STATIC,
    Measured,
    StepCounts,
    Trouble,
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
SAMPLES = 60
MODULE_NAME_MAX = 50
REASON_CHARS_MAX = 200
NOTHING_SAID = "returned nothing, and nothing was logged"


class Area(NamedTuple):
    """What was given out: its ptr and how many bytes were asked for; align as asked."""

    ptr: int
    size_bytes: int
    align_bytes: int


class Change(NamedTuple):
    """What an operation did to what lives: area is None for what went. at: its place in the workload."""

    at: int
    name: int | str
    area: Area | None


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
    changes: list[Change] = field(default_factory=list)  # of live, in their order
    costs: dict[int, Cost] = field(default_factory=dict)  # of accesses, by place in the workload

    @property
    def machine(self) -> Machine:
        """The live machine."""
        return self.timeline.machine

    def runs(self) -> Generator[int, None, None]:
        """Do all operations; yields now and then how many are done."""
        measured = self.measured
        self.ends = [self.timeline.step]
        measured.at_boot = measured.at_peak = self.accounts()
        measured.sample(0, measured.at_boot.total)
        for index, operation in enumerate(self.workload.operations):
            if index % SLICE_OPERATIONS == 0:
                yield index
            before = self.timeline.step
            if measured.stopped is None:
                self._do(index, operation)
                counts = measured.steps.setdefault(type(operation).__name__, StepCounts())
                counts.add(self.timeline.step - before)
            self.ends.append(self.timeline.step)
            for _ in self._look(index + 1):
                yield index
        measured.at_end = self.accounts()
        yield len(self.workload.operations)

    def accounts(self) -> Accounts:
        """Return what memory is for now, by what lives now."""
        return accounts_of(self.machine, self._asked())

    def _asked(self) -> list[tuple[int, int]]:
        return [(area.ptr, area.size_bytes) for area in self.live.values()]

    def _look(self, nr_done: int) -> Generator[None, None, None]:
        """Keep the accounts of this moment if it is one that shall be shown."""
        measured, nr_operations = self.measured, len(self.workload.operations)
        if nr_done == self.peak_at:
            measured.at_peak = self.accounts()
        if nr_done == nr_operations or nr_done % max(nr_operations // SAMPLES, 1) == 0:
            measured.sample(nr_done, (yield from class_totals(self.machine, self._asked())))

    def areas_after(self, nr_done: int) -> dict[int | str, Area]:
        """Return what lived when so many operations were done."""
        live: dict[int | str, Area] = {}
        for at, name, area in self.changes:
            if at >= nr_done:
                break
            if area is None:
                live.pop(name, None)
            else:
                live[name] = area
        return live

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
                area = self._take(number)
                return "" if area is None else self._call(cpu, "free_percpu", area.ptr)[1]
            case ModuleLoad():
                return self._load(operation)
            case ModuleUnload(name, cpu):
                return "" if self._take(name) is None else self._unload(name, cpu)
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
        self._keep(asked.number, Area(call.result, asked.size_bytes, asked.align_bytes))
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
        self._keep(asked.name, Area(mod.percpu_ptr, asked.size_bytes, asked.align_bytes))
        return None

    def _keep(self, name: int | str, area: Area) -> None:
        self.live[name] = area
        self.changes.append(Change(len(self.ends) - 1, name, area))

    def _take(self, name: int | str) -> Area | None:
        area = self.live.pop(name, None)
        if area is not None:
            self.changes.append(Change(len(self.ends) - 1, name, None))
        return area

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
        whole = area.size_bytes >= WORD_BYTES and area.align_bytes >= WORD_BYTES
        size = WORD_BYTES if whole else 1
        try:
            cost = measured_access(self.timeline, area.ptr, size, cpu=cpu, owner=owner, write=write)
        except BadAccess as problem:
            return f"CPU {cpu} cannot reach the copy of CPU {owner}: {problem}"
        self.measured.note_access(kind if cpu == owner else OTHERS, cpu, cost)
        self.costs[len(self.ends) - 1] = cost._replace(path=())
        return None

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


def _module_name(name: str) -> str:
    """Return a name that a module can have."""
    letters = (each if each.isascii() and each.isalnum() else "_" for each in name)
    return "".join(letters)[:MODULE_NAME_MAX]
