from __future__ import annotations

import random

import snapshots.timeline
from kernel_sim.events import PercpuAllocPercpu, PercpuFreePercpu
from snapshots.timeline import Timeline
from tui.debugger.areas import area_owner
from tui.debugger.births import first_areas, input_of
from tui.debugger.session import Session

PLACED = (PercpuAllocPercpu, PercpuFreePercpu)


def _play(session: Session, nr_calls: int) -> None:
    choose, live = random.Random(7), []
    for _ in range(nr_calls):
        cpu = choose.randrange(4)
        if live and choose.random() < 0.5:
            session.timeline.give("free_percpu", cpu, (live.pop(choose.randrange(len(live))),))
            session.timeline.advance(1 << 60)
        else:
            args = (choose.choice([8, 16, 64]), 8, False, 0xCC0, f"f{choose.randrange(9)}+0x1/0x2")
            number = session.timeline.give("pcpu_alloc", cpu, args, line=number_of(session))
            session.timeline.advance(1 << 60)
            live.append(session.timeline.calls[number].result)


def number_of(session: Session) -> int:
    return session.timeline.nr_inputs + 1


def test_the_last_event_of_a_place_is_found_as_a_search_of_all_events_finds_it(
    session: Session, monkeypatch
) -> None:
    monkeypatch.setattr(snapshots.timeline, "KEYFRAME_EVERY_INPUTS", 40)
    _play(session, 300)
    assert len(session.timeline.heads) > 4
    events = [session.event(number) for number in range(session.nr_events)]
    places = {(at.event.base_addr, at.event.off) for at in events if isinstance(at.event, PLACED)}
    for step in (0, 100, 400, session.end_step // 2, session.end_step):
        session.go_now(step)
        for base_addr, off in places:
            wanted = None
            for at in events:
                if (
                    at.step <= step
                    and isinstance(at.event, PLACED)
                    and (at.event.base_addr, at.event.off) == (base_addr, off)
                ):
                    wanted = at
            assert session.births.last_event(session.timeline, base_addr, off) == wanted


def test_an_area_leads_to_the_input_that_asked_for_it(session: Session) -> None:
    _play(session, 60)
    for chunk in session.machine.percpu.chunks.values():
        for bit, nr_bits in chunk.areas():
            born, given = area_owner(session, chunk.base_addr, bit * 4)
            assert born is not None and isinstance(born.event, PercpuAllocPercpu)
            assert born.event.size == nr_bits * 4
            assert given is not None and given.line > 0
            assert (given.cpu, given.args[4]) == (born.cpu, born.event.call_site)


def test_a_branch_has_births_of_its_own(session: Session, tell) -> None:
    tell("alloc 0 8", "alloc 0 8")
    base_addr = session.machine.percpu.chunks[0].base_addr
    assert area_owner(session, base_addr, 8)[0] is not None
    tell("goto 0", "alloc 1 64")
    born, _ = area_owner(session, base_addr, 0)
    assert born is not None and born.cpu == 1
    assert area_owner(session, base_addr, 8) == (None, None)


def test_what_was_there_when_the_record_began_is_told_from_what_came_later(
    session: Session,
) -> None:
    _play(session, 60)
    first = {
        chunk.base_addr: tuple(chunk.areas())
        for chunk in session.machine.percpu.chunks.values()
        if tuple(chunk.areas())
    }
    assert first_areas(session.timeline) == {}
    late = Session(Timeline(session.machine))
    _play(late, 60)
    assert first_areas(late.timeline) == first
    for chunk in late.machine.percpu.chunks.values():
        starts = [bit for bit, _ in first.get(chunk.base_addr, ())]
        for bit in range(200):
            known = late.births.is_from_before(late.timeline, chunk.base_addr, bit * 4)
            assert known == (bit in starts)


def test_an_area_whose_call_has_not_ended_has_no_birth_yet(session: Session, tell) -> None:
    tell("alloc 0 8", "free 0 0x37000", "alloc 1 8 later")
    base_addr = session.machine.percpu.chunks[0].base_addr
    for _ in range(50):
        if not list(session.machine.percpu.chunks[0].areas()):
            tell("step")
    assert area_owner(session, base_addr, 0) == (None, None)
    assert "being allocated" in tell(f"whatis {base_addr:#x}").table.title


def test_what_a_kworker_did_by_itself_comes_of_no_input(session: Session, tell) -> None:
    tell("fail-pages 0", "alloc 0 32000 atomic", "fail-pages never", "alloc 0 32000 atomic", "run")
    created = [
        session.event(number)
        for number in range(session.nr_events)
        if session.events_named(session.event(number)) == "percpu_create_chunk"
    ]
    assert created
    assert input_of(session.timeline, created[0]) is None
