"""What comes into a machine from outside, in order: calls for CPUs and turns of its knobs.

    a call      any name of calls.py: given to a CPU, runs there step by step
    a knob      kworker      the kworker of a CPU runs the balance work now
                run_to_lock  let a CPU's call be parked when it asks for a lock for the n-th time
                unpark       let the parked call go on
                fail_pages   give out that many pages more, then none; -1: never fail
                async_work   switch the background work on or off, as a subsys_initcall does
                purge_vmap   flush lazily freed vmalloc areas
                fail_page_alloc, cpuhp_fail   what shall fail (fault_knobs.py)
                adopt_…      make the machine agree with a log where it would have done otherwise

A call takes the steps its path takes; a knob is turned in one step. Together with the config the list of
inputs is all a machine depends on, so it is what a recording keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kernel_sim.adopt import (
    adopt_alloc,
    adopt_create,
    adopt_destroy,
    adopt_free,
    flush_purged,
)
from kernel_sim.call import Arg, Call
from kernel_sim.calls import SIGNATURES as CALL_SIGNATURES
from kernel_sim.errors import ConfigError
from kernel_sim.fault_knobs import cpuhp_fail, fail_page_alloc
from kernel_sim.hotplug.bring_up import SIGNATURES as HOTPLUG_SIGNATURES
from kernel_sim.hotplug.states import CPUHP_ONLINE
from kernel_sim.machine import Machine
from kernel_sim.topology import format_cpu_list


class Input(NamedTuple):
    """One input: at which step it was given, to which CPU, and where in a log it came from."""

    step: int
    do: str
    cpu: int
    args: tuple[Arg, ...] = ()
    line: int = 0  # of the log, 0 without one
    by: str = ""  # the task that the log names


def apply_input(machine: Machine, given: Input) -> Call | None:
    """Hand an input to the machine; returns the call it began, if it is one.

    Raises ConfigError for an input this machine cannot take.
    """
    if given.cpu not in machine.cpus:
        raise ConfigError(f"input {given.do} at step {given.step}: there is no CPU {given.cpu}")
    expected = SIGNATURES.get(given.do)
    if expected is not None and tuple(map(type, given.args)) != expected:
        wanted = ", ".join(kind.__name__ for kind in expected)
        raise ConfigError(
            f"input at step {given.step}: {given.do}{given.args!r:.80}: expected ({wanted})"
        )
    if given.do in CALL_SIGNATURES or given.do == "kworker":
        _check_online(machine, given)
    if given.do in CALL_SIGNATURES:
        if given.do not in machine.call_table:
            raise ConfigError(
                f"input at step {given.step}: {given.do}: this machine's per-CPU system"
                f" {machine.system.name!r} has no such function"
            )
        return machine.give(given.cpu, given.do, given.args)
    if given.do == "kworker":
        if not machine.system.work_function:
            raise ConfigError(
                f"input at step {given.step}: kworker: this machine's per-CPU system"
                f" {machine.system.name!r} has no background work"
            )
        return machine.start_work(given.cpu)
    turn = KNOBS.get(given.do)
    if turn is None:
        raise ConfigError(f"input at step {given.step}: {given.do!r} is neither a call nor a knob")
    machine.step += 1
    try:
        turn(machine, given.cpu, *given.args)
    except ConfigError:
        machine.step -= 1  # what is refused has not happened
        raise
    machine.look_for_deadlock()
    return None


def _check_online(machine: Machine, given: Input) -> None:
    """Refuse a call for a CPU that is offline, comes or goes.

    Recordings of schema 1 ask CPUs that boot left offline: without TLBs these may be, but not for hotplug.
    """
    cpu = machine.cpus[given.cpu]
    if cpu.online and cpu.hotplug_state != CPUHP_ONLINE:
        raise ConfigError(
            f"input at step {given.step}: {given.do}: CPU {given.cpu} is at step {cpu.hotplug_state} of"
            f" hotplug; expected a CPU that neither comes nor goes"
        )
    was_up = bool(cpu.hotplug_state) or given.cpu in machine.topology.online
    if not cpu.online and (was_up or machine.tlbs or given.do in HOTPLUG_SIGNATURES):
        raise ConfigError(
            f"input at step {given.step}: {given.do}: CPU {given.cpu} is offline; expected one of "
            f"{format_cpu_list(machine.online_cpus())}"
        )


def _run_to_lock(machine: Machine, cpu: int, nr_lock_waits: int) -> None:
    machine.park_at_lock(cpu, nr_lock_waits)


def _unpark(machine: Machine, cpu: int) -> None:
    for call in machine.cpus[cpu].stack:
        call.parked = False


def _fail_pages(machine: Machine, cpu: int, after: int) -> None:
    machine.pages.fail_after = after


def _async_work(machine: Machine, cpu: int, enabled: bool) -> None:
    machine.percpu.async_enabled = enabled


def _purge_vmap(machine: Machine, cpu: int) -> None:
    for space in machine.area_spaces():
        space.purge()
        flush_purged(machine, space)


KNOB_SIGNATURES: dict[str, tuple[type, ...]] = {
    "kworker": (),
    "run_to_lock": (int,),
    "unpark": (),
    "fail_pages": (int,),
    "async_work": (bool,),
    "purge_vmap": (),
    "fail_page_alloc": (str,),
    "cpuhp_fail": (int, int),
    "adopt_alloc": (int, int, int, int, int, str),
    "adopt_free": (int, int),
    "adopt_create": (int,),
    "adopt_destroy": (int,),
}
SIGNATURES = CALL_SIGNATURES | KNOB_SIGNATURES
KNOBS: dict[str, Callable[..., None]] = {
    "run_to_lock": _run_to_lock,
    "unpark": _unpark,
    "fail_pages": _fail_pages,
    "async_work": _async_work,
    "purge_vmap": _purge_vmap,
    "fail_page_alloc": fail_page_alloc,
    "cpuhp_fail": cpuhp_fail,
    "adopt_alloc": adopt_alloc,
    "adopt_free": adopt_free,
    "adopt_create": adopt_create,
    "adopt_destroy": adopt_destroy,
}
