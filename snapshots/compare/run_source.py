"""The work that a run did, read from its inputs and events: of a recording, or of a log that was replayed.

    inputs    this_cpu_write 0x37008     cpu_down 1      load_module …
                  │ inside an area that lives
    events    percpu_alloc_percpu ptr=0x37000      percpu_free_percpu ptr=0x37000

Allocations are taken from the events, for they are in the kernel's own order and have the pointer that
came of them; by that pointer uses and frees find the area they mean. What happened on its way inside a
call (a module's section, an area that a module's init made) is there too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import cast

from kernel_sim.errors import KernelSimError
from kernel_sim.events import (
    EventAt,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuFreePercpu,
)
from kernel_sim.inputs import Input
from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.module_events import ModuleFree
from kernel_sim.modules.module_events import ModuleLoad as ModuleFormed
from snapshots.compare.workload import (
    ONE_VARIABLE_EACH,
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
from snapshots.timeline import Timeline
from snapshots.what_if.program import finished

USES = {"this_cpu_read": False, "this_cpu_write": True, "this_cpu_add": True, "per_cpu": False}
"""Calls that use a per-CPU variable, and whether they write."""
SLICE_OPERATIONS = 200
SHOWN_BY_EVENTS = ("pcpu_alloc", "free_percpu", "adopt_alloc", "adopt_free", "adopt_destroy")


@dataclass(frozen=True, slots=True)
class _Area:
    """What lives at a pointer: an area with its number, or a module's section with its name."""

    ptr: int
    size_bytes: int
    number: int
    module: str = ""


@dataclass(slots=True)
class _Areas:
    """Areas by pointer; none overlaps another."""

    starts: list[int] = field(default_factory=list)
    by_ptr: dict[int, _Area] = field(default_factory=dict)

    def add(self, area: _Area) -> list[_Area]:
        """Note an area; returns those in its way, whose frees nobody saw."""
        first = max(bisect_right(self.starts, area.ptr) - 1, 0)
        behind = bisect_left(self.starts, area.ptr + area.size_bytes)
        in_the_way = [
            old
            for old in (self.by_ptr[start] for start in self.starts[first:behind])
            if old.ptr + old.size_bytes > area.ptr
        ]
        for old in in_the_way:
            self.remove(old.ptr)
        insort(self.starts, area.ptr)
        self.by_ptr[area.ptr] = area
        return in_the_way

    def remove(self, ptr: int) -> _Area | None:
        """Forget the area that starts at a pointer."""
        area = self.by_ptr.pop(ptr, None)
        if area is not None:
            del self.starts[bisect_left(self.starts, ptr)]
        return area

    def find(self, ptr: int) -> _Area | None:
        """Return the area that a pointer points into."""
        at = bisect_right(self.starts, ptr) - 1
        if at < 0:
            return None
        area = self.by_ptr[self.starts[at]]
        return area if ptr < area.ptr + area.size_bytes else None


@dataclass(slots=True)
class _Reader:
    timeline: Timeline
    static: range
    areas: _Areas = field(default_factory=_Areas)
    mask: int = (1 << 64) - 1
    loading: dict[int, ModuleLoad] = field(default_factory=dict)  # by CPU
    sections: dict[str, None] = field(
        default_factory=dict
    )  # of modules, that no event has a ptr of
    left_out: Counter[str] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)
    nr_made: int = 0

    def operations(self) -> Iterator[Operation]:
        for what in self._in_order():
            if isinstance(what, Input):
                yield from self._input(what)
            else:
                yield from self._event(what)

    def _in_order(self) -> Iterator[Input | EventAt]:
        """Yield inputs and events; an input of step k is taken after the events of that step."""
        timeline = self.timeline
        for number in range(len(timeline.heads)):
            body = timeline.body(number)
            events = ((at.step, 0, at) for at in body.events)
            inputs = ((given.step, 1, given) for given in body.inputs)
            for _, _, what in merge(events, inputs, key=lambda each: each[:2]):
                yield cast("Input | EventAt", what)

    # -- inputs ------------------------------------------------------------------------------------

    def _input(self, given: Input) -> Iterator[Operation]:
        do = given.do
        if do in USES:
            yield from self._use(given)
        elif do == "cpu_up":
            yield CpuUp(int(given.args[0]))
        elif do == "cpu_down":
            yield CpuDown(int(given.args[0]))
        elif do == "load_module":
            self._note_loading(given)
        elif do not in SHOWN_BY_EVENTS and do != "delete_module":
            self.left_out[do] += 1

    def _note_loading(self, given: Input) -> None:
        self.loading.pop(given.cpu, None)
        section = _percpu_section(given)
        if section is not None:
            self.loading[given.cpu] = section

    def _use(self, given: Input) -> Iterator[Operation]:
        ptr = cast("int", given.args[0])
        owner = cast("int", given.args[1]) if given.do == "per_cpu" else given.cpu
        write = USES[given.do]
        area = self.areas.find(ptr)
        if area is not None and area.module:
            yield ModuleAccess(area.module, given.cpu, owner, write)
        elif area is not None:
            yield Access(area.number, given.cpu, owner, write)
        elif ptr in self.static:
            yield StaticAccess(ptr - self.static.start, given.cpu, owner, write)
        else:
            self.left_out[f"{given.do} of nothing that lives"] += 1

    # -- events ------------------------------------------------------------------------------------

    def _event(self, at: EventAt) -> Iterator[Operation]:
        event = at.event
        if isinstance(event, PercpuAllocPercpu):
            made = self._made(at.cpu, event)
            for old in self.areas.add(made[0]):
                yield _gone(old, at.cpu)
            yield made[1]
        elif isinstance(event, PercpuAllocPercpuFail):
            yield self._made(at.cpu, event)[1]
        elif isinstance(event, PercpuFreePercpu):
            area = self.areas.remove(event.ptr)
            if area is not None:
                yield _gone(area, at.cpu)
            else:
                self.left_out["free of nothing that lives"] += 1
        elif isinstance(event, ModuleFormed):
            section = self.loading.pop(at.cpu, None)
            if (
                section is not None
            ):  # its system told of no area: slots, a window, a block of its own
                self.sections[section.name] = None
                yield section
        elif isinstance(event, ModuleFree) and event.name in self.sections:
            del self.sections[event.name]
            yield ModuleUnload(event.name, at.cpu)

    def _made(
        self, cpu: int, event: PercpuAllocPercpu | PercpuAllocPercpuFail
    ) -> tuple[_Area, Operation]:
        ptr = event.ptr if isinstance(event, PercpuAllocPercpu) else 0
        self.nr_made += 1
        number, size, align = self.nr_made, event.size, event.align
        span_bytes = 1 if self._is_handle(event) else max(size, 1)
        if not event.reserved:
            made = Alloc(number, size, align, event.is_atomic, cpu)
            return _Area(ptr, span_bytes, number), made
        loading = self.loading.pop(cpu, None)
        if loading is None:
            self.notes[ONE_VARIABLE_EACH] = None
            loading = ModuleLoad(f"section_{number}", size, align, 1, cpu)
        section = loading._replace(size_bytes=size, align_bytes=align)
        return _Area(ptr, span_bytes, number, section.name), section

    def _is_handle(self, event: PercpuAllocPercpu | PercpuAllocPercpuFail) -> bool:
        """Say whether a ptr is the complement of an address: then the next ptr is another area's."""
        if isinstance(event, PercpuAllocPercpuFail):
            return False
        return event.ptr == ~(event.base_addr + event.off) & self.mask


def _gone(area: _Area, cpu: int) -> Operation:
    return ModuleUnload(area.module, cpu) if area.module else Free(area.number, cpu)


def _percpu_section(given: Input) -> ModuleLoad | None:
    """Return the per-CPU section of a module's file as the work it is, None if it has none."""
    try:
        elf = parse_elf(cast("bytes", given.args[0]))
        section = elf.find_percpu_section()
    except KernelSimError:
        return None
    if section is None or not section.size_bytes:
        return None
    sized = [symbol for symbol in elf.symbols if symbol.section_index == section.index]
    nr_variables = max(1, sum(symbol.size_bytes > 0 for symbol in sized))
    name = cast("str", given.args[1])
    return ModuleLoad(name, section.size_bytes, section.align or 1, nr_variables, given.cpu)


def workload_of_run(timeline: Timeline, *, name: str, origin: str) -> Workload:
    """Return the work of a run. The timeline stays where it is."""
    return finished(reading_run(timeline, name=name, origin=origin))


def reading_run(
    timeline: Timeline, *, name: str, origin: str
) -> Generator[tuple[int, int], None, Workload]:
    """Do as workload_of_run() in slices; yields how many operations were read, of how many inputs."""
    machine = timeline.machine
    start = machine.system.percpu_start
    static = range(start, start + machine.system.static_bytes)
    reader = _Reader(timeline, static, mask=machine.arch.address_mask)
    operations: list[Operation] = []
    for operation in reader.operations():
        operations.append(operation)
        if len(operations) % SLICE_OPERATIONS == 0:
            yield len(operations), timeline.nr_inputs
    nr_cpus, left_out = len(machine.topology.possible), dict(reader.left_out)
    return Workload(name, origin, tuple(operations), nr_cpus, left_out, tuple(reader.notes))
