"""What each step of CPU hotplug does to this machine, and how it is undone.

A step that needs memory may fail with -ENOMEM; a step that was told to fail, as one may write to
/sys/devices/system/cpu/cpuN/hotplug/fail, fails with -EAGAIN. Whoever calls undoes what was done before.
Source: kernel/cpu.c, kernel/smpboot.c, mm/page_alloc.c, arch/x86/kernel/smpboot.c, Linux 6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.events import CpuhpEnter, CpuhpExit
from kernel_sim.hotplug.states import ONLINE, HotplugState
from kernel_sim.mm.gfp import GFP_KERNEL, GFP_ZERO
from kernel_sim.primitives import PREEMPT

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

ENOMEM = 12
EAGAIN = 11
STACK_ORDER = 2  # THREAD_SIZE_ORDER: 16 KiB


async def cpuhp_invoke_callback(
    machine: Machine,
    cpu: int,
    for_cpu: int,
    state: HotplugState,
    bringup: bool,
    target: int,
    undoing: bool = False,
) -> int:
    """Do one step for for_cpu, running on cpu; returns 0 or a negative error number.

    undoing: the step takes back what was done; it is not told to fail, for there is no way back from that.
    """
    function = state.startup if bringup else state.teardown
    owner = machine.cpus[for_cpu]
    may_fail = not undoing and (bringup or state.section == ONLINE)
    if may_fail and machine.hotplug_fail == (for_cpu, state.number):
        machine.hotplug_fail = None
        machine.emit(cpu, CpuhpEnter(for_cpu, target, state.number, function or state.name))
        machine.emit(cpu, CpuhpExit(for_cpu, owner.hotplug_state, state.number, -EAGAIN))
        await PREEMPT
        return -EAGAIN
    if not function:
        return 0
    machine.emit(cpu, CpuhpEnter(for_cpu, target, state.number, function))
    await PREEMPT
    done = _CALLBACKS.get(function)
    result = done(machine, cpu, for_cpu) if done else 0
    machine.emit(cpu, CpuhpExit(for_cpu, owner.hotplug_state, state.number, result))
    return result


def smpboot_create_threads(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Give the CPU's own thread a stack, on the CPU's node."""
    owner = machine.cpus[for_cpu]
    pfn = machine.pages.alloc_pages(
        gfp=GFP_KERNEL | GFP_ZERO,
        order=STACK_ORDER,
        node=owner.node,
        cpu=cpu,
        injectable=True,
        caller="smpboot_create_threads",
    )
    if pfn is None:
        return -ENOMEM
    for page in range(pfn, pfn + (1 << STACK_ORDER)):
        machine.memory.clear_page(page)
    owner.stack_pfn = pfn
    return 0


def smpboot_free_threads(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Take the stack back. (Linux keeps it for the next time; here nothing stays behind.)"""
    owner = machine.cpus[for_cpu]
    if owner.stack_pfn >= 0:
        machine.pages.free_pages(owner.stack_pfn, STACK_ORDER, cpu)
        owner.stack_pfn = -1
    return 0


def page_alloc_cpu_online(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Size the page lists of the node for one CPU more."""
    machine.count_online_of_nodes(coming=for_cpu)
    return 0


def page_alloc_cpu_dead(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Give the pages on the gone CPU's lists back, size the others for one CPU less."""
    machine.pages.drain_cpu(for_cpu)
    machine.count_online_of_nodes()
    return 0


def pcpu_cpu_prepare(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Tell the per-CPU system that a CPU comes; what it needs for it may fail."""
    return machine.system.cpu_prepare(cpu, for_cpu)


def pcpu_cpu_dead(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Tell the per-CPU system that a CPU has gone."""
    machine.system.cpu_dead(cpu, for_cpu)
    return 0


def cpu_init(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Load the base register and begin with an empty TLB."""
    owner = machine.cpus[for_cpu]
    owner.gs_base = machine.system.base_of(for_cpu)
    _reset_tlb(machine, for_cpu)
    return 0


def tlb_dying(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Forget all translations: nobody asks this CPU to flush any more."""
    _reset_tlb(machine, for_cpu)
    return 0


def sched_cpu_starting(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Count the CPU among those that run: interrupts reach it from here on."""
    machine.cpus[for_cpu].online = True
    machine.vmalloc_lazy_limit()
    return 0


def sched_cpu_dying(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Take the CPU out of those that run."""
    machine.cpus[for_cpu].online = False
    machine.vmalloc_lazy_limit()
    return 0


def workqueue_offline_cpu(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Let work that was queued there run on another CPU."""
    if machine.work.queued_cpu == for_cpu:
        machine.work.queued_cpu = next(each for each in machine.online_cpus() if each != for_cpu)
        machine.start_queued_work()
    return 0


def sched_cpu_deactivate(machine: Machine, cpu: int, for_cpu: int) -> int:
    """Move tasks that wait for the CPU to another one; the one under way is let to its end before."""
    machine.move_pending(for_cpu)
    return 0


def _reset_tlb(machine: Machine, for_cpu: int) -> None:
    tlb = machine.tlbs.get(for_cpu)
    if tlb is not None:
        tlb.flush_all(keep_global=False)


_CALLBACKS = {
    "smpboot_create_threads": smpboot_create_threads,
    "smpboot_free_threads": smpboot_free_threads,
    "page_alloc_cpu_online": page_alloc_cpu_online,
    "page_alloc_cpu_dead": page_alloc_cpu_dead,
    "pcpu_cpu_prepare": pcpu_cpu_prepare,
    "pcpu_cpu_dead": pcpu_cpu_dead,
    "cpu_init": cpu_init,
    "tlb_dying": tlb_dying,
    "sched_cpu_starting": sched_cpu_starting,
    "sched_cpu_dying": sched_cpu_dying,
    "workqueue_offline_cpu": workqueue_offline_cpu,
    "sched_cpu_deactivate": sched_cpu_deactivate,
}
"""Steps that do something here; the others only take their step and tell."""
