"""Where every CPU's copies lie: units of chunks, or what a CPU adds to reach its own.

    unit      address of a copy = chunk base + unit offset of the CPU + offset in the chunk
    offset    address of a copy = ptr + __per_cpu_offset[cpu]

Unit offsets are the same in every chunk; only the base differs.
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.percpu.bitmap import BitmapPercpu
from tui.debugger.chunk_names import chunk_name
from tui.debugger.memory import word_at
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table

OFFSET_COLUMNS = (
    Column("cpu", DEC),
    Column("node", DEC),
    Column("per_cpu_offset", HEX, "as the system says it"),
    Column("in_memory", HEX, "the CPU's entry of __per_cpu_offset[], read from simulated memory"),
    Column("base", HEX, "what the system loads into the CPU's base register"),
    Column("register", HEX, "what the register holds"),
    Column("static_copy", HEX, "the CPU's copy of the kernel's static section"),
)


def offsets_view(session: Session) -> Table:
    """Return a row for every possible CPU."""
    machine = session.machine
    if machine.bitmap is not None:
        return _units(session, machine.bitmap)
    rows = tuple(_offset_row(machine, cpu) for cpu in machine.topology.possible)
    note = f"the base register is {machine.arch.base_register}; 0 where the system uses none"
    title = f"Offsets of {len(rows)} CPUs under {machine.system.name} at step {session.step}"
    return Table(title, OFFSET_COLUMNS, rows, (note,))


def _offset_row(machine: Machine, cpu: int) -> tuple[Cell, ...]:
    table = machine.symbols["__per_cpu_offset"]
    return (
        cpu,
        machine.topology.node_of_cpu[cpu],
        machine.system.per_cpu_offset(cpu),
        word_at(machine, table + cpu * machine.arch.word_bytes),
        machine.system.base_of(cpu),
        machine.cpus[cpu].gs_base,
        machine.system.copy_addr(machine.system.percpu_start, cpu),
    )


def _units(session: Session, percpu: BitmapPercpu) -> Table:
    machine = session.machine
    chunks = percpu.chunks
    columns = (
        Column("cpu", DEC),
        Column("node", DEC),
        Column("unit", DEC, "number of its unit, groups one after the other"),
        Column("unit_offset", HEX, "distance from the chunk's base"),
        *(Column(chunk_name(number), HEX, "address of the unit") for number in chunks),
    )
    unit_map = machine.alloc_info.unit_map
    offsets = machine.places.unit_offsets
    rows: list[tuple[Cell, ...]] = [
        (
            cpu,
            machine.topology.node_of_cpu[cpu],
            unit_map[cpu],
            offsets[cpu],
            *(
                chunk.base_addr + offsets[cpu] & machine.arch.address_mask
                for chunk in chunks.values()
            ),
        )
        for cpu in machine.places.cpus
    ]
    title = f"Units of {len(rows)} CPUs in {len(chunks)} chunks at step {session.step}"
    return Table(title, columns, tuple(rows))
