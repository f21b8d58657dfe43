"""All chunks, in order of creation: where they are, on which list, how full and how cut up."""

from __future__ import annotations

from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.statistics import fragmentation
from tui.debugger.chunk_names import role_of, slot_name
from tui.debugger.session import Session
from tui.debugger.table import DEC, FLAG, HEX, Cell, Column, Table, count

COLUMNS = (
    Column("chunk", DEC, "number in order of creation; 0 first, -1 reserved"),
    Column("role", help="first, reserved (for modules) or dynamic"),
    Column("base_addr", HEX, "address of the unit of the first CPU"),
    Column("slot", DEC, "list it is on, -1: none"),
    Column("list", help="what that list is for: contig hints in bytes, or a name"),
    Column("place", DEC, "position on the list; the head, 0, is tried first"),
    Column("free_bytes", DEC, "free, in one unit"),
    Column("contig_bytes", DEC, "largest free run the hints know"),
    Column("first_bit", DEC, "first free bit; a bit is 4 bytes"),
    Column("nr_populated", DEC, "pages of a unit that are backed"),
    Column("nr_pages", DEC, "pages of a unit"),
    Column("empty_pop_pages", DEC, "backed pages without an area"),
    Column("isolated", FLAG, "kept off the ordinary lists"),
    Column("nr_alloc", DEC, "live areas"),
    Column("sum_frag", DEC, "free bytes before the last area"),
    Column("max_frag", DEC, "largest of those runs"),
)


def chunks_view(session: Session) -> Table:
    """Return a row for every chunk of the present moment."""
    percpu = session.machine.percpu
    places = {
        chunk.number: place for members in percpu.slots.lists for place, chunk in enumerate(members)
    }
    rows: list[tuple[Cell, ...]] = []
    for number, chunk in percpu.chunks.items():
        frag = fragmentation(chunk)
        rows.append(
            (
                number,
                role_of(number),
                chunk.base_addr,
                chunk.slot,
                slot_name(percpu.slots, chunk.slot),
                places.get(number),
                chunk.free_bytes,
                chunk.md.contig_hint * MIN_ALLOC_BYTES,
                chunk.md.first_free,
                chunk.nr_populated,
                chunk.nr_pages,
                chunk.nr_empty_pop_pages,
                chunk.isolated,
                chunk.nr_alloc,
                frag.sum_frag,
                frag.max_frag,
            )
        )
    empty = f"{percpu.nr_empty_pop_pages} empty populated pages in chunks that are not isolated"
    return Table(
        f"{count(len(rows), 'chunk')} at step {session.step}", COLUMNS, tuple(rows), (empty,)
    )
