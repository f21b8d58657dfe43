"""The hints of one chunk: what the allocator believes about each page, without looking."""

from __future__ import annotations

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import MdBlock
from tui.debugger.chunk_names import chunk_by_number, chunk_name
from tui.debugger.session import Session
from tui.debugger.table import DEC, FLAG, Cell, Column, Table

WHOLE = "chunk_md"

COLUMNS = (
    Column("block", help="page of the chunk; chunk_md: the whole chunk"),
    Column("scan_hint", DEC, "a free run before the contig hint, in bits"),
    Column("scan_hint_start", DEC),
    Column("contig_hint", DEC, "the largest free run known, in bits"),
    Column("contig_hint_start", DEC),
    Column("left_free", DEC, "free bits at the beginning"),
    Column("right_free", DEC, "free bits at the end"),
    Column("first_free", DEC),
    Column("nr_bits", DEC),
    Column("populated", FLAG),
)


def blocks_view(session: Session, chunk: int) -> Table:
    """Return the chunk's own hints and those of every page. Raises CommandError: no such chunk."""
    there = chunk_by_number(session.machine, chunk)
    rows = [_row(WHOLE, there.md, None)]
    rows += [_row(page, block, _is_backed(there, page)) for page, block in enumerate(there.blocks)]
    title = f"Hints of {chunk_name(chunk)} at step {session.step}; a bit is 4 bytes"
    return Table(title, COLUMNS, tuple(rows))


def _is_backed(chunk: Chunk, page: int) -> bool:
    return bool(chunk.populated >> page & 1)


def _row(name: Cell, block: MdBlock, is_backed: bool | None) -> tuple[Cell, ...]:
    return (name, *block.row(), block.nr_bits, is_backed)
