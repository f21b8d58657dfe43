"""The machine: all parts of a simulated computer, and the loop that lets one CPU at a time take a step.

    inputs ──► give() ──► a CPU's line of calls ──► step(): resume one CPU to its next preemption point
                                                        │
    events ◄── emit() ◄── kernel code ◄─────────────────┘   locks, pages, page tables, chunks, log

A machine is a function of its config and its inputs: the same calls given at the same steps lead to the
same state at every step, on any computer. It knows no clock, no file and no chance of its own.

What a CPU may be asked to do is in calls.py; how a machine comes up, in boot.py; how its state is taken
out and put back, in machine_state.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_sim.call import IN_KWORKER, IN_TASK, Arg, Call, frames_of
from kernel_sim.config import MachineConfig
from kernel_sim.cpu import Cpu
from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.events import Event, EventAt, Printk, WorkBegan, WorkQueued
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.percpu.backing_vm import UnitPlaces
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.unit_layout import AllocInfo
from kernel_sim.schedule import Scheduler
from kernel_sim.topology import Topology


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a machine stands still for ever: what happened, where, and the kernel's way there."""

    step: int
    cpu: int
    reason: str
    frames: tuple[str, ...]


@dataclass(slots=True)
class Work:
    """The one work item of this kernel, the per-CPU balance: queued where it was asked for."""

    queued_cpu: int = -1
    nr_requests: int = 0  # since it last began; further requests while queued change nothing else


@dataclass(slots=True)
class Machine:
    """A booted machine; step counts from 0, the moment boot was over."""

    config: MachineConfig
    topology: Topology
    alloc_info: AllocInfo
    memory: PhysicalMemory
    pages: PageAllocator
    space: KernelAddressSpace
    vmalloc: VmallocSpace
    cpus: dict[int, Cpu]
    scheduler: Scheduler
    boot_group_addrs: tuple[int, ...]
    percpu: BitmapPercpu = field(init=False)
    places: UnitPlaces = field(init=False)
    symbols: dict[str, int] = field(default_factory=dict)
    call_table: dict[str, Callable[..., object]] = field(default_factory=dict)
    step: int = 0
    work: Work = field(default_factory=Work)
    kernel_log: list[tuple[int, str]] = field(default_factory=list)
    events: list[EventAt] = field(default_factory=list)  # since the last take_events()
    active: list[int] = field(default_factory=list)  # CPUs with a call under way, ascending
    fault: Fault | None = None
    part_cache: dict[str, object] = field(default_factory=dict)
    pages_version: tuple[int, ...] = ()

    # -- what kernel code calls --------------------------------------------------------------------

    def emit(self, cpu: int, event: Event) -> None:
        """Tell of an event at this step."""
        self.events.append(EventAt(self.step, cpu, event))

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Add a line to the kernel log."""
        self.kernel_log.append((level, text))
        self.events.append(EventAt(self.step, cpu, Printk(level, text)))

    def schedule_work(self, cpu: int, work: str) -> None:
        """Queue the work on the CPU that asks, unless it is queued already."""
        self.work.nr_requests += 1
        if self.work.queued_cpu < 0:
            self.work.queued_cpu = cpu
            self.events.append(EventAt(self.step, cpu, WorkQueued(work)))

    def symbol(self, name: str) -> int:
        """Return the address of a kernel symbol, or the offset of a per-CPU one. Raises KernelBug."""
        if name not in self.symbols:
            raise KernelBug(f"no symbol {name} in this machine's table of {len(self.symbols)}")
        return self.symbols[name]

    def note_written(self, cpu: int, addr: int) -> None:
        """Remember that a CPU wrote to its copy in a chunk, which an allocation must clear from then on."""
        for chunk in self.percpu.chunks.values():
            offset = addr - chunk.base_addr
            for unit_offset in self.places.unit_offsets:
                if 0 <= offset - unit_offset < chunk.nr_pages << PAGE_SHIFT and not chunk.written:
                    chunk.written = chunk.changed = True

    # -- inputs ------------------------------------------------------------------------------------

    def give(self, cpu: int, name: str, args: tuple[Arg, ...] = (), context: str = IN_TASK) -> Call:
        """Give a CPU a call to do; it waits in line if the CPU is busy.

        A call given while the running one is parked runs on top of it, as an interrupt does.
        """
        call = Call(name, cpu, args, context)
        owner = self.cpus[cpu]
        if not owner.stack or owner.stack[-1].parked:
            self._begin(owner, call)
        else:
            owner.pending.append(call)
        return call

    def start_work(self, cpu: int) -> Call:
        """Let the kworker of a CPU run the balance work now, whether anyone asked for it or not."""
        self.work.queued_cpu = -1
        self.work.nr_requests = 0
        call = Call("pcpu_balance_workfn", cpu, (), IN_KWORKER)
        owner = self.cpus[cpu]
        if owner.stack and not owner.stack[-1].parked:
            owner.pending.append(call)
        else:
            self._begin(owner, call)
        return call

    def _begin(self, owner: Cpu, call: Call) -> None:
        if not owner.stack:
            self.active.append(call.cpu)
            if len(self.active) > 1:
                self.active.sort()
        owner.stack.append(call)

    # -- running -----------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way: the only moments at which a keyframe may be taken."""
        return not self.active

    def run(self, until_step: int) -> bool:
        """Take steps until until_step, until nothing can run, or until a fault; True if work is left."""
        while self.step < until_step and self.fault is None:
            active = self.active
            if len(active) == 1:
                cpu = self.cpus[active[0]]
                if not cpu.is_runnable():
                    return self._stuck()
                self.scheduler.last_cpu = cpu.number
                self._run_alone(cpu, until_step)
            elif not active:
                return False
            else:
                runnable = [number for number in active if self.cpus[number].is_runnable()]
                if not runnable:
                    return self._stuck()
                self._run_alone(self.cpus[self.scheduler.pick(runnable)], self.step + 1)
        return bool(self.active)

    def park_at_lock(self, cpu: int, nr_lock_waits: int) -> None:
        """Let the CPU's call be parked when it asks for a lock for the nr_lock_waits-th time.

        A call that ends before that is not parked; one that has asked as often is parked at once.
        """
        call = self.cpus[cpu].current
        if call is not None:
            call.park_at = nr_lock_waits
            call.parked = call.wish is not None and call.nr_lock_waits >= nr_lock_waits

    def run_call(self, call: Call) -> object:
        """Run until the call is done and return its result.

        Raises KernelFault if the machine stopped before that.
        """
        before = -1
        while not call.done and self.fault is None and self.step > before:
            before = self.step
            self.run(before + 1)
        if self.fault is not None:
            raise KernelFault(self.fault.reason)
        if not call.done:
            raise KernelBug(f"{call.name} on cpu {call.cpu} cannot go on: it is parked")
        return call.result

    def _run_alone(self, cpu: Cpu, until_step: int) -> None:
        """Take steps on a runnable CPU: up to until_step, the call's end, or a lock that is held."""
        call = cpu.stack[-1]
        path = call.path
        if path is None:  # made as late as this: Python complains of coroutines that never ran
            path = call.path = self.call_table[call.name](cpu.number, *call.args)  # type: ignore[assignment]
        wish = call.wish
        if call.nr_resumed == 0 and call.context == IN_KWORKER:
            self.events.append(EventAt(self.step + 1, cpu.number, WorkBegan("pcpu_balance_work")))
        while self.step < until_step:
            if wish is not None:
                if wish.holder >= 0:
                    return
                wish.holder = cpu.number
            self.step += 1
            call.nr_resumed += 1
            try:
                call.wish = wish = path.send(None)  # type: ignore[union-attr]
            except StopIteration as end:
                self._finish(cpu, call, end.value)
                return
            except KernelFault as problem:
                self.fault = Fault(self.step, cpu.number, str(problem), frames_of(problem))
                return
            if wish is not None:
                call.nr_lock_waits += 1
                if call.nr_lock_waits == call.park_at:
                    call.parked = True
                    return

    def _finish(self, cpu: Cpu, call: Call, result: object) -> None:
        call.done, call.result, call.path = True, result, None
        cpu.stack.pop()
        if cpu.stack:
            return
        if self.config.work_mode == "auto" and self.work.queued_cpu == cpu.number:
            self.start_work(cpu.number)
            self.active.remove(cpu.number)
        elif cpu.pending:
            self._begin(cpu, cpu.pending.pop(0))
            self.active.remove(cpu.number)
        else:
            self.active.remove(cpu.number)

    def _stuck(self) -> bool:
        """Nobody can run: calls are parked, or they wait for each other, which is a deadlock."""
        stacks = [self.cpus[number].stack for number in self.active]
        if not any(call.parked for stack in stacks for call in stack):
            waits = "; ".join(
                f"cpu {call.cpu} in {call.name} waits for {call.wish.name}, held by cpu {call.wish.holder}"
                for call in (stack[-1] for stack in stacks)
                if call.wish
            )
            first = stacks[0][-1]
            self.fault = Fault(self.step, first.cpu, f"deadlock: {waits}", first.frames())
        return True

    def take_events(self) -> list[EventAt]:
        """Return the events since the last time and forget them."""
        events, self.events = self.events, []
        return events
