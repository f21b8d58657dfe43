"""Where every CPU's unit of every chunk begins: the sum that a __percpu pointer stands for.

    address of a copy = chunk base + unit offset of the CPU + offset in the chunk

The unit offsets are the same in every chunk; only the base differs.
"""

from __future__ import annotations

from tui.debugger.chunk_names import chunk_name
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table


def offsets_view(session: Session) -> Table:
    """Return a row for every possible CPU and a column for every chunk."""
    machine = session.machine
    chunks = machine.percpu.chunks
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
