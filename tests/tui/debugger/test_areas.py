from __future__ import annotations

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from snapshots.timeline import Timeline
from tui.debugger.areas import BEFORE_RECORD, UNDER_WAY, area_around, birth_facts
from tui.debugger.session import Session


def test_area_around_agrees_with_the_list_of_areas_at_every_offset(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[0]
    live = {}
    for bit, nr_bits in chunk.areas():
        live |= dict.fromkeys(range(bit * 4, (bit + nr_bits) * 4), (bit * 4, nr_bits * 4))
    assert live
    for offset in range(0, chunk.nr_pages * PAGE_SIZE_BYTES, 4):
        area = area_around(chunk, offset)
        assert area.offset <= offset < area.offset + area.size
        assert area.is_live == (offset in live)
        if area.is_live:
            assert (area.offset, area.size) == live[offset]
        else:
            assert not any(at in live for at in range(area.offset, area.offset + area.size, 4))


def _step_until_taken(session: Session, tell, off: int) -> None:
    """Step to where a call has taken the area at an offset of the first chunk and goes on."""
    for _ in range(100):
        if session.machine.percpu.chunks[0].area_bits(off // 4):
            return
        tell("step")
    raise AssertionError("nothing was taken there")


def test_an_area_is_under_way_until_its_call_has_told_of_it(session: Session, tell) -> None:
    base_addr = session.machine.percpu.chunks[0].base_addr
    tell("alloc 2 64 later")
    _step_until_taken(session, tell, 0)
    assert birth_facts(session, base_addr, 0) == [("call_site", UNDER_WAY)]
    tell("run")
    facts = dict(birth_facts(session, base_addr, 0))
    assert (facts["call_site"], facts["born_cpu"]) == ("kmemscope", 2)
    assert facts["born_step"] == session.event(session.nr_events - 1).step


def test_an_area_is_under_way_at_a_place_that_was_freed_before_too(session: Session, tell) -> None:
    base_addr = session.machine.percpu.chunks[0].base_addr
    tell("alloc 0 64", "free 0 0x37000", "alloc 1 64 later")
    _step_until_taken(session, tell, 0)
    assert birth_facts(session, base_addr, 0) == [("call_site", UNDER_WAY)]


def test_an_area_of_before_the_record_is_unknown_until_the_place_is_used_again(
    busy: Session, tell
) -> None:
    late = Session(Timeline(busy.machine))
    chunk = busy.machine.percpu.chunks[1]
    assert birth_facts(late, chunk.base_addr, 0) == [("call_site", BEFORE_RECORD)]
    ptr = chunk.base_addr - busy.machine.percpu.base_addr & (1 << 64) - 1
    late.timeline.give("free_percpu", 0, (ptr,), line=3, by="a-1")
    late.timeline.advance(1 << 62)
    args = (32000, 8, False, 0xCC0, "again+0x1/0x2")
    late.timeline.give("pcpu_alloc", 3, args, line=4, by="b-2")
    late.timeline.advance(1 << 62)
    facts = dict(birth_facts(late, chunk.base_addr, 0))
    assert (facts["call_site"], facts["task"], facts["log_line"]) == ("again+0x1/0x2", "b-2", 4)
