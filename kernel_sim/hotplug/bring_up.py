"""CPU hotplug: bring a CPU up or take it down, step by step, and back again if a step fails.

    control cpu   cpu_up ─ prepare steps ─ bringup ─┐ waits                    ┌─► online, or undone
    new cpu                       start_secondary ──┴─ starting ─ online steps ┘

Two locks keep this alone with itself: cpu_add_remove_lock for whoever asks, cpu_hotplug_lock while the
masks change. Source: kernel/cpu.c and arch/x86/kernel/smpboot.c, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kernel_sim.call import IN_KTHREAD, IN_STOPPER, csd_lock_wait
from kernel_sim.hotplug.callbacks import cpuhp_invoke_callback
from kernel_sim.hotplug.states import (
    BRINGUP,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    ONLINE,
    PREPARE,
    STARTING,
    STATE_OF_NUMBER,
    STATES,
    TEARDOWN,
    HotplugState,
    between,
)

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

EPERM = 1
EBUSY = 16
EINVAL = 22
KERN_ERR = 3
KERN_INFO = 6


async def cpu_up(machine: Machine, cpu: int, up: int) -> int:
    """Bring CPU up online; returns 0, -EINVAL, -ENOMEM or what a step failed with.

    A CPU that is online already is a success. Source: cpu_up(), _cpu_up(), Linux 6.1.
    """
    await machine.cpu_add_remove_lock
    result = await do_cpu_up(machine, cpu, up)
    machine.cpu_add_remove_lock.release()
    return result


async def cpu_down(machine: Machine, cpu: int, down: int) -> int:
    """Take CPU down offline; returns 0, -EBUSY for the last one, -EPERM for the boot CPU, or -EINVAL.

    Source: cpu_down_maps_locked(), _cpu_down(), Linux 6.1.
    """
    await machine.cpu_add_remove_lock
    result = await cpu_down_maps_locked(machine, cpu, down)
    machine.cpu_add_remove_lock.release()
    return result


async def do_cpu_up(machine: Machine, cpu: int, up: int) -> int:
    """Refuse what cannot come up, put its node online, and go on. Context: cpu_add_remove_lock."""
    owner = machine.cpus.get(up)
    if owner is None:
        text = f"can't online cpu {up} because it is not configured as may-hotadd at boot time"
        machine.printk(cpu, KERN_ERR, text)
        return -EINVAL
    if up not in machine.topology.present:
        return -EINVAL
    if owner.online:
        return 0
    machine.online_node(owner.node)
    return await _cpu_up(machine, cpu, up)


async def _cpu_up(machine: Machine, cpu: int, up: int) -> int:
    """Do all steps up to online; what fails is undone down to where it began."""
    await machine.cpu_hotplug_lock
    result = await cpuhp_up_callbacks(machine, cpu, up, BRINGUP - 1)
    if not result:
        result = await bringup_cpu(machine, cpu, up)
    if not result:
        result = await cpuhp_kick_ap(machine, up, (up, True, CPUHP_ONLINE))
        if result:
            await takedown_cpu(machine, cpu, up, undoing=True)
    if result:
        await cpuhp_down_callbacks(machine, cpu, up, CPUHP_OFFLINE)
    else:
        machine.cpus[up].hotplug_state = CPUHP_ONLINE
    machine.cpu_hotplug_lock.release()
    return result


async def bringup_cpu(machine: Machine, cpu: int, up: int) -> int:
    """Start the CPU and wait until it has done its starting steps."""
    owner = machine.cpus[up]
    result = await cpuhp_invoke_callback(
        machine, cpu, up, STATE_OF_NUMBER[BRINGUP], True, CPUHP_ONLINE
    )
    if result:
        return result
    text = f"smpboot: Booting Node {owner.node} Processor {up} APIC {up:#x}"
    machine.printk(cpu, KERN_INFO, text)
    started = machine.run_on(up, "start_secondary", (up,), IN_KTHREAD)
    await csd_lock_wait(started)
    owner.hotplug_state = BRINGUP
    return 0


async def start_secondary(machine: Machine, cpu: int, up: int) -> int:
    """Do the starting steps on the CPU that comes. Context: interrupts off."""
    for state in between(BRINGUP, TEARDOWN):
        if state.section == STARTING:
            await cpuhp_invoke_callback(machine, cpu, up, state, True, CPUHP_ONLINE)
    return 0


async def cpuhp_thread_fun(
    machine: Machine, cpu: int, for_cpu: int, bringup: bool, target: int
) -> int:
    """Do the online steps, up or down, in the CPU's own thread; undoes what it did if one fails.

    From the first of them down, and until the last of them up, nobody may give the CPU other work.
    """
    owner = machine.cpus[for_cpu]
    began_at = owner.hotplug_state
    steps = [state for state in STATES if state.section == ONLINE and state.number != TEARDOWN]
    if not bringup:
        steps.reverse()
    done: list[HotplugState] = []
    for state in steps:
        result = await cpuhp_invoke_callback(machine, cpu, for_cpu, state, bringup, target)
        if result:
            for undone in reversed(done):
                await cpuhp_invoke_callback(
                    machine, cpu, for_cpu, undone, not bringup, target, undoing=True
                )
            owner.hotplug_state = began_at
            return result
        owner.hotplug_state = state.number if bringup else state.number - 1
        done.append(state)
    return 0


async def cpuhp_up_callbacks(machine: Machine, cpu: int, up: int, target: int) -> int:
    """Do the prepare steps above where the CPU stands, up to target."""
    owner = machine.cpus[up]
    for state in between(owner.hotplug_state, target):
        result = await cpuhp_invoke_callback(machine, cpu, up, state, True, target)
        if result:
            return result
        owner.hotplug_state = state.number
    return 0


async def cpuhp_down_callbacks(machine: Machine, cpu: int, down: int, target: int) -> int:
    """Undo the prepare steps from where the CPU stands, down to target; none of them fails."""
    owner = machine.cpus[down]
    for state in reversed(between(target, owner.hotplug_state)):
        if state.section == PREPARE:
            await cpuhp_invoke_callback(machine, cpu, down, state, False, target)
        owner.hotplug_state = state.number - 1
    owner.hotplug_state = target
    return 0


async def cpu_down_maps_locked(machine: Machine, cpu: int, down: int) -> int:
    """Refuse what cannot go down, and go on. Context: cpu_add_remove_lock held."""
    owner = machine.cpus.get(down)
    if owner is None or not owner.online:
        return -EINVAL
    if down == machine.topology.possible[0]:
        return -EPERM
    if down == cpu or len(machine.online_cpus()) == 1:
        return -EBUSY
    return await _cpu_down(machine, cpu, down)


async def _cpu_down(machine: Machine, cpu: int, down: int) -> int:
    """Do all steps backwards; one that fails brings the CPU back to where it was."""
    await machine.cpu_hotplug_lock
    result = await cpuhp_kick_ap(machine, down, (down, False, CPUHP_OFFLINE))
    if not result:
        result = await takedown_cpu(machine, cpu, down)
        if result:
            await cpuhp_kick_ap(machine, down, (down, True, CPUHP_ONLINE))
            machine.cpus[down].hotplug_state = CPUHP_ONLINE
        else:
            await cpuhp_down_callbacks(machine, cpu, down, CPUHP_OFFLINE)
    machine.cpu_hotplug_lock.release()
    return result


async def takedown_cpu(machine: Machine, cpu: int, down: int, undoing: bool = False) -> int:
    """Stop the CPU: its starting steps backwards, on itself, when nothing else runs there.

    Returns 0, or -EAGAIN if it was told to fail; then nothing was done.
    """
    state = STATE_OF_NUMBER[TEARDOWN]
    result = await cpuhp_invoke_callback(
        machine, cpu, down, state, False, CPUHP_OFFLINE, undoing=undoing
    )
    if result:
        return result
    stopped = machine.run_on(down, "take_cpu_down", (down,), IN_STOPPER)
    await csd_lock_wait(stopped)
    machine.cpus[down].hotplug_state = BRINGUP
    machine.printk(cpu, KERN_INFO, f"smpboot: CPU {down} is now offline")
    return 0


async def take_cpu_down(machine: Machine, cpu: int, down: int) -> int:
    """Undo the starting steps on the CPU that goes. Context: interrupts off."""
    for state in reversed(between(BRINGUP, TEARDOWN)):
        if state.section == STARTING:
            await cpuhp_invoke_callback(machine, cpu, down, state, False, CPUHP_OFFLINE)
    return 0


async def cpuhp_kick_ap(machine: Machine, for_cpu: int, args: tuple[int, bool, int]) -> int:
    """Let the CPU's own thread do its steps, and wait for what came of it."""
    asked = machine.run_on(for_cpu, "cpuhp_thread_fun", args, IN_KTHREAD)
    await csd_lock_wait(asked)
    return int(str(asked.result))


SIGNATURES: dict[str, tuple[type, ...]] = {"cpu_up": (int,), "cpu_down": (int,)}
"""Types of the arguments of the calls that may be given from outside."""


def hotplug_call_table(machine: Machine) -> dict[str, Callable[..., object]]:
    """Return the calls of this file by name, those that only the kernel makes among them."""
    return {
        "cpu_up": partial(cpu_up, machine),
        "cpu_down": partial(cpu_down, machine),
        "start_secondary": partial(start_secondary, machine),
        "take_cpu_down": partial(take_cpu_down, machine),
        "cpuhp_thread_fun": partial(cpuhp_thread_fun, machine),
    }
