"""CPU hotplug: the steps by which a CPU comes up, and on which of them each CPU stands."""

from __future__ import annotations

from kernel_sim.hotplug.states import CPUHP_OFFLINE, CPUHP_ONLINE, STATES
from kernel_sim.topology import format_cpu_list
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("state", DEC, "number of the step, as in /sys/devices/system/cpu/hotplug/states"),
    Column("name"),
    Column(
        "section", help="prepare: on the CPU that asked; starting, online: on the one that comes"
    ),
    Column("startup", help="called on the way up"),
    Column("teardown", help="called on the way down"),
    Column("cpus", help="that stand here: this is the last step they did"),
)
NAME_OF = {state.number: state.name for state in STATES} | {
    CPUHP_OFFLINE: "offline",
    CPUHP_ONLINE: "online",
}


def hotplug_view(session: Session) -> Table:
    """Return a row for every step, with the CPUs that have come so far and no further."""
    machine = session.machine
    standing: dict[int, list[int]] = {}
    for number, cpu in machine.cpus.items():
        standing.setdefault(state_of(cpu.hotplug_state, cpu.online), []).append(number)
    steps: list[tuple[Cell, ...]] = [
        (state.number, state.name, state.section, state.startup, state.teardown) for state in STATES
    ]
    steps = [
        (CPUHP_OFFLINE, "offline", "", "", ""), *steps, (CPUHP_ONLINE, "online", "", "", "")
    ]  # fmt: skip
    rows = tuple((*step, format_cpu_list(standing.get(int(str(step[0])), ()))) for step in steps)
    topology = machine.topology
    notes = [
        f"possible {format_cpu_list(topology.possible)}; present"
        f" {format_cpu_list(topology.present)}; online {format_cpu_list(machine.online_cpus())}"
    ]
    if machine.hotplug_fail is not None:
        fails, state = machine.hotplug_fail
        notes.append(f"step {state} ({NAME_OF[state]}) of cpu {fails} is told to fail once")
    if machine.offline_nodes:
        notes.append(f"nodes without a CPU yet: {format_cpu_list(machine.offline_nodes)}")
    return Table(f"Hotplug states at step {session.step}", COLUMNS, rows, tuple(notes))


def state_of(hotplug_state: int, online: bool) -> int:
    """Return the step where a CPU stands; one that boot brought up did them all."""
    return CPUHP_ONLINE if online and hotplug_state == CPUHP_OFFLINE else hotplug_state
