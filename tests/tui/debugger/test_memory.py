from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tui.debugger.memory import pieces, word_at
from tui.debugger.session import Session


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(back=st.integers(0, 3 * PAGE_SIZE_BYTES), nr_bytes=st.integers(0, 4 * PAGE_SIZE_BYTES))
def test_pieces_cover_the_bytes_once_and_never_cross_a_page(
    session: Session, back: int, nr_bytes: int
) -> None:
    space = session.machine.space
    start = session.machine.percpu.base_addr + 2 * PAGE_SIZE_BYTES - back
    at = start
    for virt, length, data in pieces(session.machine, start, nr_bytes):
        assert virt == at and length > 0
        assert virt // PAGE_SIZE_BYTES == (virt + length - 1) // PAGE_SIZE_BYTES
        phys = space.translate(virt)
        assert data == (None if phys is None else session.machine.memory.read(phys, length))
        at += length
    assert at == start + nr_bytes


def test_a_word_is_read_as_little_endian_where_a_cpu_wrote_it(session: Session, tell) -> None:
    tell("alloc 0 64", "write 1 0x37008 0x1122334455667788")
    at = session.machine.cpus[1].gs_base + 0x37008
    assert word_at(session.machine, at) == 0x1122334455667788
    assert word_at(session.machine, at + 1) == 0x11223344556677


def test_a_word_that_is_partly_unmapped_is_none(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    hole = chunk.base_addr + chunk.nr_populated * PAGE_SIZE_BYTES
    assert word_at(busy.machine, hole - 8) == 0
    assert word_at(busy.machine, hole - 7) is None
    assert word_at(busy.machine, hole) is None
