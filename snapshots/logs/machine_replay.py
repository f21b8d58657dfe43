"""Replay of a real machine's log: work out the order, then let the machine do it, comparing all the way.

    boot       config from dmesg and sys/ (or a machine TOML)
    early      the allocations made before tracing starts, by pointer
    plan       the order of the logged operations (ordering.py)
    run        every operation on the full machine: chunk, offset, pointer and base address compared
    states     recorded allocator states, each when its marker comes

The plan was found with the allocator alone; what counts is what the machine then does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import (
    EventAt,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuCreateChunk,
    PercpuDestroyChunk,
)
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, gfp_from_text
from kernel_sim.percpu.chunk import RESERVED
from snapshots.logs.allocator_state import AllocatorState
from snapshots.logs.early_allocs import EarlyAlloc
from snapshots.logs.line_order import LineOrder, order_lines
from snapshots.logs.ordering import Divergence, Inferred, OrderSearch, Plan
from snapshots.logs.plan_engine import PlanEngine
from snapshots.logs.report import ReplayReport
from snapshots.logs.state_compare import POPULATION_FIELDS, Difference, compare_state
from snapshots.logs.state_moments import MARKER_LAG_LINES, StateMoment, place_states
from snapshots.logs.trace_log import TraceLog, pcpu_base_addr_from
from snapshots.logs.walk import UNKNOWN, Action, describe_chunk
from snapshots.segment_stores import SegmentSink
from snapshots.timeline import NO_LIMIT, Timeline


@dataclass(slots=True)
class LogReplay:
    """One log on one machine; run() does it all."""

    path: str
    config: MachineConfig
    log: TraceLog
    early: Sequence[EarlyAlloc]
    states: Iterable[AllocatorState] = ()
    sink: SegmentSink | None = None
    timeline: Timeline = field(init=False)
    report: ReplayReport = field(init=False)
    order: LineOrder = field(init=False)
    numbers: dict[int, int] = field(default_factory=dict)  # logged base -> chunk number
    seen: list[EventAt] = field(default_factory=list)
    real_base: int | None = None  # pcpu_base_addr by the log; None: pointers are hashed
    addresses_hold: bool = False  # the log's addresses can be compared with the machine's
    moments: tuple[StateMoment, ...] = ()
    state_rows: list[StateMoment] = field(default_factory=list)
    nr_states_equal: int = 0
    nr_states: int = 0
    nr_states_population: int = 0
    best: list[Difference] | None = None  # the nearest miss of the state that is due
    plan: Plan = field(init=False)

    def prepare(self) -> None:
        """Boot the machine and work out the order. Raises ConfigError if the machine cannot be."""
        machine = boot(self.config)
        self.timeline = Timeline(machine, self.sink)
        self.timeline.watch = self.seen.extend
        self.report = ReplayReport(self.path, "machine", timeline=self.timeline)
        self.order = order_lines(self.log)
        self.real_base = pcpu_base_addr_from(self.log.events)
        self.addresses_hold = self.real_base == machine.percpu.base_addr
        self.numbers[self._logged(machine.percpu.chunks[0].base_addr)] = 0
        if machine.percpu.reserved_chunk is not None:
            self.numbers[self._logged(machine.percpu.reserved_chunk.base_addr)] = RESERVED
        self.moments = place_states(self.states, self.log, self.order)
        self.plan = self._plan()

    def why_late(self) -> str:
        """Say so if the log's first allocation is not what follows the early list on this machine."""
        lines = self.order.lines
        first = next((i for i, line in enumerate(lines) if line.event.kind == "alloc"), None)
        if first is None:
            return "the log holds no allocation"
        wrong = next((row for row in self.plan.divergences if row.position == first), None)
        if wrong is None:
            return ""
        return (
            f"tracing began late, or this is another machine: the first allocation, line {wrong.line_no},"
            f" is not what follows boot (the log has {wrong.expected}, a fresh machine {wrong.got})"
        )

    def run(self) -> ReplayReport:
        """Let the machine do what was worked out, and compare."""
        self.state_rows = list(self.moments)
        self.nr_states = len(self.moments)
        self._run_early()
        for action in self.plan.actions:
            self._compare_due_states(action.at)
            self._act(action)
        self._compare_due_states(len(self.order.lines), last=True)
        self._tell()
        return self.report

    def _logged(self, addr: int) -> int:
        """Return what the log would call an address of the machine's first unit."""
        if self.real_base is None:
            return addr
        return addr - self.timeline.machine.percpu.base_addr + self.real_base

    def _plan(self) -> Plan:
        engine = PlanEngine(self.timeline.machine.alloc_info)
        engine.percpu.free_hint_fixed = self.timeline.machine.percpu.free_hint_fixed
        engine.percpu.async_enabled = False
        for row in self.early:
            if row.op == "alloc":
                engine.alloc(0, row.size_bytes, row.align_bytes, row.reserved, False)
            else:
                engine.free_ptr(0, row.ptr)
        engine.percpu.async_enabled = True
        first_base = next((base for base, number in self.numbers.items() if number == 0), 0)
        known = first_base if self.real_base is not None else 0
        return OrderSearch(self.order, engine, known, self.moments).plan()

    # -- operations --------------------------------------------------------------------------------

    def _do(
        self, do: str, cpu: int, args: tuple[int | str | bool, ...], line: int = 0, by: str = ""
    ) -> object:
        timeline = self.timeline
        self.seen.clear()
        number = timeline.give(do, cpu, args, line, by)
        timeline.advance(NO_LIMIT)
        call = timeline.calls.pop(number, None)
        return call.result if call is not None else None

    def _run_early(self) -> None:
        self._do("async_work", 0, (False,), by="boot")
        for row in self.early:
            if row.op == "alloc":
                args = (row.size_bytes, row.align_bytes, row.reserved, row.gfp, row.call_site)
                ptr = self._do("pcpu_alloc", 0, args, by="boot")
                self.report.nr_compared += 1
                if ptr != row.ptr:
                    self._early_divergence(row, ptr)
            else:
                self._do("free_percpu", 0, (row.ptr,), by="boot")
            self.report.nr_operations += 1
        if not any(action.do == "async_on" for action in self.plan.actions):
            self._do("async_work", 0, (True,), by="boot")

    def _early_divergence(self, row: EarlyAlloc, ptr: object) -> None:
        kind = f"early operation {row.seq}"
        self.report.divergences.append(Divergence(0, -1, kind, f"{row.ptr:#x}", f"{ptr:#x}", ""))

    def _act(self, action: Action) -> None:
        """Let the machine do one action of the plan and compare what came of it."""
        for base in action.creates:
            self._purge_if_that_explains(base)
        getattr(self, f"_{action.do}")(action)
        created = iter(action.creates)
        for at in self.seen:
            if isinstance(at.event, PercpuCreateChunk):
                self._note_created(action, next(created, 0), at.event.base_addr)
            elif isinstance(at.event, PercpuDestroyChunk):
                self._note_destroyed(at.event.base_addr)

    def _alloc(self, action: Action) -> None:
        event = self.order.lines[action.line].event
        gfp = self._gfp_of(action.line)
        args = (event.size, event.align, event.reserved, gfp, event.call_site)
        cpu = self._cpu(action.cpu)
        self._do("pcpu_alloc", cpu, args, event.line_no, f"{event.task}-{event.pid}")
        self.report.nr_operations += 1
        self.report.nr_compared += 1
        for at in self.seen:
            if isinstance(at.event, PercpuAllocPercpu):
                return self._compare(action, at.event)
            if isinstance(at.event, PercpuAllocPercpuFail) and event.kind == "alloc_fail":
                return None
        return self._diverge_at(action.line, "place", self._wanted(action.line), "no room")

    def _gfp_of(self, position: int) -> int:
        """Return the flags by the log, or such as make the request what the log says it was."""
        event = self.order.lines[position].event
        gfp = gfp_from_text(event.gfp) if event.gfp else GFP_KERNEL
        if (gfp & GFP_KERNEL != GFP_KERNEL) == event.is_atomic:
            return gfp
        return GFP_ATOMIC if event.is_atomic else GFP_KERNEL

    def _compare(self, action: Action, got: PercpuAllocPercpu) -> None:
        position = action.line
        event = self.order.lines[position].event
        chunk = self.timeline.machine.percpu.chunk_of(got.base_addr + got.off)
        number = chunk.number if chunk is not None else UNKNOWN
        if event.kind != "alloc" or number != action.number or got.off != event.off:
            text = f"offset {got.off} of chunk {number}"
            self._diverge_at(position, "place", self._wanted(position), text)
        elif self.addresses_hold and (got.base_addr, got.ptr) != (event.base_addr, event.ptr):
            text = f"base {got.base_addr:#x} ptr {got.ptr:#x}"
            want = f"base {event.base_addr:#x} ptr {event.ptr:#x}"
            self._diverge_at(position, "address", want, text)

    def _wanted(self, position: int) -> str:
        event = self.order.lines[position].event
        if event.kind == "alloc_fail":
            return "no room"
        number = self.numbers.get(event.base_addr)
        return f"offset {event.off} of chunk {'?' if number is None else number}"

    def _free(self, action: Action) -> None:
        event = self.order.lines[action.line].event
        chunk = self.timeline.machine.percpu.chunks[action.number]
        ptr = self.timeline.machine.percpu.ptr_of(chunk.base_addr + event.off)
        cpu = self._cpu(action.cpu)
        self._do("free_percpu", cpu, (ptr,), event.line_no, f"{event.task}-{event.pid}")
        self.report.nr_operations += 1

    def _work(self, action: Action) -> None:
        self._do("kworker", self._cpu(action.cpu), (), self._line_no(action.line), "kworker")

    def _work_cut(self, action: Action) -> None:
        """Begin a run of the work and hold it where it wants pcpu_lock again."""
        cpu = self._cpu(action.cpu)
        line_no = self._line_no(action.line)
        timeline = self.timeline
        timeline.give("kworker", cpu, (), line_no, "kworker")
        # The mutex and the first hold of the lock are two wishes; the cut is at the next but number.
        timeline.give("run_to_lock", cpu, (action.number + 2,), line_no, "kworker")
        self.seen.clear()
        timeline.advance(NO_LIMIT)

    def _work_resume(self, action: Action) -> None:
        for cpu, owner in self.timeline.machine.cpus.items():
            if any(call.parked for call in owner.stack):
                self._do("unpark", cpu, (), self._line_no(action.line), "kworker")

    def _async_on(self, action: Action) -> None:
        self._do("async_work", 0, (True,), self._line_no(action.line), "subsys_initcall")

    def _force_alloc(self, action: Action) -> None:
        event = self.order.lines[action.line].event
        args = (
            action.number,
            event.off,
            event.size,
            event.align,
            self._gfp_of(action.line),
            event.call_site,
        )
        self._do(
            "adopt_alloc", self._cpu(action.cpu), args, event.line_no, f"{event.task}-{event.pid}"
        )
        self.report.nr_operations += 1
        self.report.nr_compared += 1

    def _force_create(self, action: Action) -> None:
        base = self.order.lines[action.line].event.base_addr if self.addresses_hold else 0
        self._do("adopt_create", self._cpu(action.cpu), (base,), self._line_no(action.line))

    def _force_destroy(self, action: Action) -> None:
        if action.number > 0:
            self._do(
                "adopt_destroy", self._cpu(action.cpu), (action.number,), self._line_no(action.line)
            )

    def _skip_free(self, action: Action) -> None:
        self.seen.clear()
        self.report.nr_operations += 1

    def _skip_alloc(self, action: Action) -> None:
        self.seen.clear()
        self.report.nr_operations += 1
        self.report.nr_compared += 1

    def _cpu(self, cpu: int) -> int:
        cpus = self.timeline.machine.cpus
        return cpu if cpu in cpus else next(iter(cpus))

    def _line_no(self, position: int) -> int:
        return self.order.lines[position].event.line_no if position >= 0 else 0

    # -- chunks and their addresses ----------------------------------------------------------------

    def _purge_if_that_explains(self, base: int) -> None:
        """A lazily freed area blocks its place until a purge, which leaves no line in a log."""
        vmalloc = self.timeline.machine.vmalloc
        if not self.addresses_hold or not vmalloc.lazy or vmalloc.next_base(*self._shape) == base:
            return
        if vmalloc.next_base(*self._shape, purged=True) == base:
            self._do("purge_vmap", 0, (), by="vmap purge")
            text = f"lazily freed vmalloc areas were purged before the chunk at {base:#x}"
            self.report.inferred.append(Inferred(0, "vmap purge", 0, text))

    @property
    def _shape(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        places = self.timeline.machine.places
        return places.group_offsets, places.group_sizes, places.atom_size_bytes

    def _note_created(self, action: Action, logged: int, got: int) -> None:
        self.numbers[logged] = self.timeline.machine.percpu.chunk_by_base[got].number
        if self.addresses_hold and logged != got:
            self._diverge_at(action.at, "chunk base", f"{logged:#x}", f"{got:#x}")

    def _note_destroyed(self, base: int) -> None:
        for logged, number in tuple(self.numbers.items()):
            if number not in self.timeline.machine.percpu.chunks and number > 0:
                del self.numbers[logged]

    # -- states ------------------------------------------------------------------------------------

    def _compare_due_states(self, at: int, last: bool = False) -> None:
        """Compare states whose marker is near; a marker may lag a few lines behind its state."""
        while self.state_rows:
            position, state = self.state_rows[0]
            if at < position - MARKER_LAG_LINES and not last:
                return
            found = compare_state(self.timeline.machine, state, self.numbers)
            if found and at < position and not last:
                self._keep_best(found)
                return
            found = min((found, self.best), key=len) if self.best is not None else found
            self.best = None
            self.state_rows.pop(0)
            if not found:
                self.nr_states_equal += 1
            elif all(row.field in POPULATION_FIELDS for row in found):
                self.report.notes.append(
                    f"state {state.label!r}: equal but for population: {found[0].field} is"
                    f" {found[0].got}, recorded {found[0].expected}"
                )
                self.nr_states_population += 1
            else:
                row = found[0]
                where = min(position, len(self.order.lines) - 1)
                kind = f"state {state.label!r}: {row.chunk} {row.field}"
                self._diverge_at(where, kind, row.expected, row.got)

    def _keep_best(self, found: list[Difference]) -> None:
        if self.best is None or len(found) < len(self.best):
            self.best = found

    # -- words -------------------------------------------------------------------------------------

    def _diverge_at(self, position: int, kind: str, expected: str, got: str) -> None:
        line_no = self._line_no(position)
        event = self.order.lines[position].event
        number = self.numbers.get(event.base_addr)
        chunk = self.timeline.machine.percpu.chunks.get(number) if number is not None else None
        around = describe_chunk(chunk, event.off) if chunk is not None else ""
        self.report.divergences.append(Divergence(line_no, position, kind, expected, got, around))

    def _tell(self) -> None:
        report, log = self.report, self.log
        forced = [row for row in self.plan.divergences if row.kind != "free"]
        report.divergences = sorted(
            [
                *forced,
                *report.divergences,
                *(row for row in self.plan.divergences if row.kind == "free"),
            ],
            key=lambda row: (row.line_no, row.position),
        )
        report.inferred = sorted(
            [*self.plan.inferred, *report.inferred], key=lambda row: (row.line_no, row.kind)
        )
        if self.plan.nr_ties_sorted:
            text = "CPUs take turns in lines of equal stamps, which the reader had sorted by CPU"
            report.inferred.append(Inferred(0, "ties", self.plan.nr_ties_sorted, text))
        report.counts |= {
            "early_operations": len(self.early),
            "lines": len(self.order.lines),
            "orders_tried": self.plan.nr_tried,
            "states": self.nr_states,
            "states_equal": self.nr_states_equal,
            "states_where_only_population_differs": self.nr_states_population,
            "steps": self.timeline.end_step,
        }
        if self.real_base is None:
            report.notes.append("pointers are hashed: chunks are matched by order of creation")
        elif not self.addresses_hold:
            report.notes.append(
                f"addresses are not comparable: the log's first chunk is at {self.real_base:#x}, the"
                f" machine's at {self.timeline.machine.percpu.base_addr:#x}; chunks are matched by order"
            )
        if log.torn_line_no is not None:
            report.notes.append(f"the last line, {log.torn_line_no}, is torn and was left out")
