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

from kernel_sim.arch import Arch
from kernel_sim.call import IN_IRQ, IN_KWORKER, IN_TASK, Arg, Call, frames_of
from kernel_sim.config import MachineConfig
from kernel_sim.cpu import Cpu
from kernel_sim.errors import KernelBug, KernelFault, NotThisSystem, PageFault
from kernel_sim.events import Event, EventAt, PageFaultKernel, Printk, WorkBegan, WorkQueued
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.fixmap import Fixmap
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.slab import SlabAllocator
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.vmalloc import VmallocSpace, lazy_max_pages_of
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.protocol import PercpuSystem
from kernel_sim.percpu.unit_boot import Units
from kernel_sim.percpu.unit_layout import AllocInfo
from kernel_sim.percpu.unit_places import UnitPlaces
from kernel_sim.primitives import Lock
from kernel_sim.schedule import Scheduler
from kernel_sim.topology import Topology

KERN_ALERT = 1
WORK_OF_FUNCTION = {  # where their names differ
    "pcpu_balance_workfn": "pcpu_balance_work",
    "pcpu_reclaim": "pcpu_reclaim_work",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a machine stands still for ever: what happened, where, and the kernel's way there.

    For a page fault addr is what CR2 holds and error_code the hardware's; else addr is -1.
    """

    step: int
    cpu: int
    reason: str
    frames: tuple[str, ...]
    addr: int = -1
    error_code: int = 0


@dataclass(slots=True)
class Work:
    """The one work item of this kernel, the per-CPU balance: queued where it was asked for."""

    queued_cpu: int = -1
    nr_requests: int = 0  # since it last began; further requests while queued change nothing else


@dataclass(slots=True)
class Machine:
    """A booted machine; step counts from 0, the moment boot was over."""

    config: MachineConfig
    arch: Arch
    topology: Topology
    memory: PhysicalMemory
    pages: PageAllocator
    slab: SlabAllocator
    space: KernelAddressSpace
    vmalloc: VmallocSpace
    module_space: VmallocSpace  # on i386 it is vmalloc
    fixmap: Fixmap
    tlbs: dict[int, Tlb]  # by CPU; empty where every access walks
    access: MemoryAccess
    cpus: dict[int, Cpu]
    scheduler: Scheduler
    image_addr: int  # of the kernel image, where symbols have it
    image_bytes: int
    system: PercpuSystem = field(init=False)
    bitmap: BitmapPercpu | None = None  # what system is made of, where it is that one
    units: Units | None = None  # of systems whose chunks have units
    module_pointer_bytes: int = 0  # of the pointer that modules have for each per-CPU variable
    spinlocks: tuple[Lock, ...] = ()  # of the system, that keep interrupts out
    modules: ModuleLoader = field(init=False)
    symbols: dict[str, int] = field(default_factory=dict)
    call_table: dict[str, Callable[..., object]] = field(default_factory=dict)
    step: int = 0
    work: Work = field(default_factory=Work)
    held_pages: dict[int, int] = field(default_factory=dict)  # pfn: order, of alloc_pages() calls
    offline_nodes: dict[int, None] = field(default_factory=dict)
    hotplug_fail: tuple[int, int] | None = None  # CPU and step that is told to fail once
    cpu_add_remove_lock: Lock = field(default_factory=lambda: Lock("cpu_add_remove_lock", False))
    cpu_hotplug_lock: Lock = field(default_factory=lambda: Lock("cpu_hotplug_lock", False))
    nr_held_back: int = 0  # calls that wait in some CPU's `interrupts`
    kernel_log: list[tuple[int, str]] = field(default_factory=list)
    events: list[EventAt] = field(default_factory=list)  # since the last take_events()
    active: list[int] = field(default_factory=list)  # CPUs with a call under way, ascending
    fault: Fault | None = None
    part_cache: dict[str, object] = field(default_factory=dict)
    boot_parts: dict[str, object] = field(default_factory=dict)  # what optional parts began as
    pages_version: tuple[int, ...] = ()

    # -- the per-CPU system ------------------------------------------------------------------------

    def use_system(self, system: PercpuSystem) -> None:
        """Take the per-CPU system that boot has made."""
        self.system = system
        self.spinlocks = tuple(lock for lock in system.locks if lock.irqs_off)

    @property
    def percpu(self) -> BitmapPercpu:
        """The bitmap allocator. Raises NotThisSystem on a machine with another system."""
        if self.bitmap is None:
            raise NotThisSystem(
                f"this machine's per-CPU memory is {self.system.name!r}; expected 'bitmap':"
                " see map, stretches or account"
            )
        return self.bitmap

    @property
    def percpu_units(self) -> Units:
        """The units of its chunks. Raises NotThisSystem where there are none."""
        if self.units is None:
            raise NotThisSystem(
                f"this machine's per-CPU memory is {self.system.name!r}, which has no chunks of units"
            )
        return self.units

    @property
    def alloc_info(self) -> AllocInfo:
        """The layout of units. Raises NotThisSystem where there are none."""
        return self.percpu_units.info

    @property
    def places(self) -> UnitPlaces:
        """Where units lie. Raises NotThisSystem where there are none."""
        return self.percpu_units.places

    @property
    def boot_group_addrs(self) -> tuple[int, ...]:
        """Where the first chunk's groups lie. Raises NotThisSystem where there are none."""
        return self.percpu_units.group_addrs

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

    def area_spaces(self) -> tuple[VmallocSpace, ...]:
        """Return the spaces that areas are taken from: vmalloc, and the modules' where it is another."""
        if self.module_space is self.vmalloc:
            return (self.vmalloc,)
        return (self.vmalloc, self.module_space)

    def percpu_symbol_offset(self, name: str) -> int | None:
        """Return where a static per-CPU variable lies in a unit, None for any other symbol."""
        offset = self.symbols.get(name, -1) - self.system.percpu_start
        return offset if 0 <= offset < self.system.static_bytes else None

    # -- CPUs and nodes that come and go -----------------------------------------------------------

    def online_cpus(self) -> tuple[int, ...]:
        """Return the CPUs that run, ascending."""
        return tuple(number for number, cpu in self.cpus.items() if cpu.online)

    def per_cpu_offset(self, cpu: int) -> int:
        """Return what the CPU adds to a __percpu pointer to reach its own copy."""
        return self.system.per_cpu_offset(cpu)

    def count_online_of_nodes(self, coming: int = -1) -> None:
        """Tell the page allocator how many CPUs run on each node; coming counts as one of them."""
        counts = dict.fromkeys(self.topology.nodes, 0)
        for number, cpu in self.cpus.items():
            if (cpu.online or number == coming) and cpu.node in counts:
                counts[cpu.node] += 1
        for node, nr_cpus in counts.items():
            self.pages.set_online(node, nr_cpus)

    def vmalloc_lazy_limit(self) -> None:
        """Set how much lazily freed address space is put up with, for the CPUs that run now."""
        for space in self.area_spaces():
            space.lazy_max_pages = lazy_max_pages_of(len(self.online_cpus()))
            space.version += 1

    def online_node(self, node: int) -> None:
        """Let a node appear with its first CPU. Source: try_online_node(), Linux 6.1."""
        if node in self.offline_nodes:
            del self.offline_nodes[node]

    def move_pending(self, from_cpu: int) -> None:
        """Give the calls that wait for a CPU to the next one that runs.

        One that sleeps until this hotplug is over has done nothing yet: it begins anew over there.
        """
        owner = self.cpus[from_cpu]
        waiting, owner.pending = owner.pending, []
        for call in tuple(owner.stack):
            if call.wish is self.cpu_add_remove_lock and not call.parked:
                owner.stack.remove(call)
                call.begin_anew()
                waiting.insert(0, call)
        if waiting:
            others = [cpu for cpu in self.online_cpus() if cpu != from_cpu]
            to = self.cpus[next((cpu for cpu in others if cpu > from_cpu), others[0])]
            for call in waiting:
                call.cpu = to.number
                self._take_up(to, call)

    # -- inputs ------------------------------------------------------------------------------------

    def give(self, cpu: int, name: str, args: tuple[Arg, ...] = (), context: str = IN_TASK) -> Call:
        """Give a CPU a call to do; it waits in line if the CPU is busy.

        A call given while the running one is parked runs on top of it, as an interrupt does.
        """
        call = Call(name, cpu, args, context)
        self._take_up(self.cpus[cpu], call)
        return call

    def run_on(self, cpu: int, name: str, args: tuple[Arg, ...], context: str) -> Call:
        """Let a CPU make a call for another one, which waits for its csd lock; not given by anyone."""
        call = Call(name, cpu, args, context)
        call.csd = Lock(f"csd of cpu {cpu}", irqs_off=False, holder=cpu, is_csd=True)
        owner = self.cpus[cpu]
        if call.may_begin(owner.stack, self._keeps_interrupts_out(cpu)):
            self._begin(owner, call)
        else:
            owner.interrupts.append(call)
            self.nr_held_back += 1
        return call

    def _keeps_interrupts_out(self, cpu: int) -> bool:
        return any(lock.holder == cpu for lock in self.spinlocks)

    def interrupt(self, cpu: int, name: str, args: tuple[Arg, ...]) -> Lock:
        """Let a CPU run a function in an interrupt; the lock is free when it is done."""
        csd = self.run_on(cpu, name, args, IN_IRQ).csd
        if csd is None:
            raise KernelBug(f"nobody can wait for {name} on cpu {cpu}")
        return csd

    def start_work(self, cpu: int) -> Call:
        """Let the kworker of a CPU run the background work now, whether anyone asked for it or not."""
        self.work.queued_cpu = -1
        self.work.nr_requests = 0
        call = Call(self.system.work_function, cpu, (), IN_KWORKER)
        self._take_up(self.cpus[cpu], call)
        return call

    def queue_call(self, cpu: int, name: str) -> None:
        """Let the kworker of a busy CPU make a call next; with scripted work an input has to."""
        self.events.append(EventAt(self.step, cpu, WorkQueued(name)))
        if self.config.work_mode == "auto":
            self.cpus[cpu].pending.insert(0, Call(name, cpu, (), IN_KWORKER))

    def start_queued_work(self) -> None:
        """Start work that was moved to an idle CPU, which has nothing whose end would start it."""
        cpu = self.work.queued_cpu
        if self.config.work_mode == "auto" and cpu >= 0 and not self.cpus[cpu].stack:
            self.start_work(cpu)

    def _take_up(self, owner: Cpu, call: Call) -> None:
        """Begin a call, or put it in line behind the one that runs."""
        if not owner.stack or owner.stack[-1].parked:
            self._begin(owner, call)
        else:
            owner.pending.append(call)

    def _deliver(self) -> None:
        """Begin what was kept out of a CPU and may come in now."""
        for owner in self.cpus.values():
            for call in tuple(owner.interrupts):
                if call.may_begin(owner.stack, self._keeps_interrupts_out(owner.number)):
                    owner.interrupts.remove(call)
                    self.nr_held_back -= 1
                    self._begin(owner, call)

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
            if self.nr_held_back:
                self._deliver()
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
        self.look_for_deadlock()
        return bool(self.active)

    def look_for_deadlock(self) -> None:
        """Stop if nobody can take a further step: a position shows that, whether one tried to or not."""
        if not self.active or self.fault is not None:
            return
        if any(self.cpus[number].is_runnable() for number in self.active):
            return
        for owner in self.cpus.values() if self.nr_held_back else ():
            held = self._keeps_interrupts_out(owner.number)
            if any(call.may_begin(owner.stack, held) for call in owner.interrupts):
                return
        self._stuck()

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
        """Take steps on a runnable CPU: up to until_step, the call's end, or a lock that is held.

        Or until it woke another CPU: who runs next must not depend on how far one was told to run.
        """
        call = cpu.stack[-1]
        path = call.path
        if path is None:  # made as late as this: Python complains of coroutines that never ran
            path = call.path = self.call_table[call.name](cpu.number, *call.args)  # type: ignore[assignment]
        wish = call.wish
        if call.nr_resumed == 0 and call.context == IN_KWORKER:
            name = WORK_OF_FUNCTION.get(call.name, call.name)
            self.events.append(EventAt(self.step + 1, cpu.number, WorkBegan(name)))
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
                self._stop(cpu.number, problem)
                return
            if wish is not None and not wish.is_csd:
                call.nr_lock_waits += 1
                if call.nr_lock_waits == call.park_at:
                    call.parked = True
                    return
            if len(self.active) > 1:
                return

    def _finish(self, cpu: Cpu, call: Call, result: object) -> None:
        call.done, call.result, call.path = True, result, None
        if call.csd is not None:
            call.csd.release()
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

    def _stop(self, cpu: int, problem: KernelFault) -> None:
        """Stop for ever at a fault; a page fault is an event and leaves its lines in the log."""
        frames = frames_of(problem)
        if isinstance(problem, PageFault):
            self.emit(cpu, PageFaultKernel(problem.addr, problem.error_code))
            for line in str(problem).splitlines():
                self.printk(cpu, KERN_ALERT, line)
            reason = "; ".join(str(problem).splitlines())
            self.fault = Fault(self.step, cpu, reason, frames, problem.addr, problem.error_code)
        else:
            self.fault = Fault(self.step, cpu, str(problem), frames)

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
