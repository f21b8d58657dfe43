"""The CPUs: who runs what, who waits for whom, and where each finds its per-CPU data."""

from __future__ import annotations

from kernel_sim.cpu import Cpu
from kernel_sim.machine import Machine
from tui.debugger.chunk_names import chunk_by_number, chunk_name
from tui.debugger.memory import word_at
from tui.debugger.session import Session
from tui.debugger.table import DEC, FLAG, HEX, Cell, Column, Table
from tui.debugger.views.hotplug import NAME_OF, state_of

OFFLINE = "(offline)"
NOT_PRESENT = "(not present)"


UNIT_COLUMNS = (
    Column("unit_offset", HEX, "its unit's distance from the chunk's base"),
    Column("unit_base", HEX, "its unit in the chunk that the title names"),
)
COPY_COLUMNS = (Column("static_copy", HEX, "its copy of the kernel's static section"),)


def _columns(machine: Machine) -> tuple[Column, ...]:
    base_register = machine.arch.base_register
    return (
        Column("cpu", DEC),
        Column("node", DEC),
        Column("online", FLAG),
        Column("state", help="the last step of hotplug that it did"),
        Column(
            f"{base_register}_base", HEX, "base register: what a CPU adds to a __percpu pointer"
        ),
        Column(
            "per_cpu_offset", HEX, "its entry of __per_cpu_offset[], read from simulated memory"
        ),
        *(COPY_COLUMNS if machine.bitmap is None else UNIT_COLUMNS),
        Column(
            "call",
            help="the call under way; (offline), (not present), or (at 36) of hotplug: none can be",
        ),
        Column("context", help="task, irq, kworker, kthread or stopper"),
        Column("waits_for", help="the lock it asked for and who holds it"),
        Column("pending", DEC, "calls and interrupts that wait for this CPU"),
        Column("stack", help="kernel functions, innermost first"),
    )


def cpus_view(session: Session, chunk: int = 0) -> Table:
    """Return a row for every possible CPU; unit bases, where there are units, are those in one chunk."""
    machine = session.machine
    table = machine.symbols["__per_cpu_offset"]
    rows: list[tuple[Cell, ...]] = [
        (
            number,
            cpu.node,
            cpu.online,
            _state_text(cpu),
            cpu.gs_base,
            word_at(machine, table + number * machine.arch.word_bytes),
            *_place_cells(machine, number, chunk),
            cpu.current.name if cpu.current else _absence(machine, cpu),
            cpu.current.context if cpu.current else None,
            waits_for(cpu),
            len(cpu.pending) + len(cpu.interrupts),
            " < ".join(frame for call in reversed(cpu.stack) for frame in call.frames()),
        )
        for number, cpu in machine.cpus.items()
    ]
    where = "" if machine.bitmap is None else f", unit_base in {chunk_name(chunk)}"
    title = f"{len(rows)} CPUs at step {session.step}{where}"
    return Table(title, _columns(machine), tuple(rows))


def _place_cells(machine: Machine, cpu: int, chunk: int) -> tuple[int | None, ...]:
    """Return where the CPU's copies are: its unit in a chunk, or its copy of the static section."""
    if machine.bitmap is None:
        return (machine.system.copy_addr(machine.system.percpu_start, cpu),)
    offset = machine.places.unit_offsets[cpu]
    base_addr = chunk_by_number(machine, chunk).base_addr
    return offset, base_addr + offset & machine.arch.address_mask


def _absence(machine: Machine, cpu: Cpu) -> str | None:
    """Return why no call can be on a CPU without one: absent, offline, or at a step of hotplug."""
    if cpu.online:
        return None
    if cpu.number not in machine.topology.present:
        return NOT_PRESENT
    return f"(at {cpu.hotplug_state})" if cpu.hotplug_state else OFFLINE


def _state_text(cpu: Cpu) -> str:
    state = state_of(cpu.hotplug_state, cpu.online)
    return f"{state} {NAME_OF.get(state, '')}".rstrip()


def waits_for(cpu: Cpu) -> str | None:
    """Return what the CPU's call waits for as a phrase, None if it could go on."""
    call = cpu.current
    if call is None:
        return None
    if call.parked:
        return "parked by an input"
    if call.wish is None:
        return None
    holder = call.wish.holder
    if holder == cpu.number:
        return None
    return f"{call.wish.name}, {f'held by cpu {holder}' if holder >= 0 else 'free now'}"
