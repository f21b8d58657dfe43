"""The allocator alone does what it does on a machine, and goes back to where it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import DoubleFree
from kernel_sim.percpu.state import Dump, dump_chunk, dump_percpu
from snapshots.logs.plan_engine import PlanEngine
from tests.snapshots.conftest import GFP_ATOMIC, GFP_KERNEL, recorded, small_config

CONFIG = small_config(cpus=2, work="scripted")
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), st.sampled_from([4, 64, 4096, 8192, 30000]), st.booleans()),
        st.tuples(st.just("free"), st.integers(0, 99), st.just(False)),
        st.tuples(st.just("work"), st.just(0), st.just(False)),
    ),
    max_size=40,
)


def engine() -> PlanEngine:
    return PlanEngine(CONFIG.alloc_info())


def state_of(planned: PlanEngine) -> tuple[Dump, list[Dump]]:
    return dump_percpu(planned.percpu), [dump_chunk(c) for c in planned.percpu.chunks.values()]


def do(planned: PlanEngine, ops: list[tuple[str, int, bool]]) -> list[object]:
    live: list[tuple[int, int]] = []
    seen: list[object] = []
    for what, number, atomic in ops:
        if what == "alloc":
            place = planned.alloc(0, number, 8, False, atomic)
            seen.append(place)
            live += [place] if place else []
        elif what == "free" and live:
            seen.append(planned.free(0, *live.pop(number % len(live))))
        elif what == "work":
            planned.run_work()
        seen.append((tuple(planned.produced), planned.asked_cpu))
        planned.produced.clear()
    return seen


@settings(deadline=None, max_examples=40)
@given(OPS)
def test_it_places_as_a_machine_does(ops: list[tuple[str, int, bool]]) -> None:
    planned = engine()
    places = [
        planned.alloc(0, number, 8, False, atomic)
        for what, number, atomic in ops
        if what == "alloc"
    ]
    actions = [
        action
        for what, number, atomic in ops
        if what == "alloc"
        for action in (
            ("alloc", 0, number, 8, GFP_ATOMIC if atomic else GFP_KERNEL),
            ("drain",),
        )
    ]
    timeline = recorded(CONFIG, actions)
    percpu = timeline.machine.percpu
    results = [timeline.calls[number].result for number in range(timeline.nr_inputs)]
    on_machine = []
    for result in results:
        assert isinstance(result, int)
        addr = result + percpu.base_addr & (1 << 64) - 1
        chunk = percpu.chunk_of(addr) if result else None
        on_machine.append((chunk.number, addr - chunk.base_addr) if chunk else None)
    assert places == on_machine


@settings(deadline=None, max_examples=60)
@given(OPS, OPS, OPS)
def test_after_going_back_it_does_the_same_again(
    before: list[tuple[str, int, bool]],
    after: list[tuple[str, int, bool]],
    other: list[tuple[str, int, bool]],
) -> None:
    planned = engine()
    do(planned, before)
    saved = planned.save()
    state = state_of(planned)
    seen = do(planned, after)
    then = state_of(planned)
    for detour in (other, after):
        planned.restore(saved)
        assert state_of(planned) == state
        do(planned, detour)
    assert state_of(planned) == then
    planned.restore(saved)
    assert do(planned, after) == seen


def test_several_moments_can_be_kept_and_gone_to_in_any_order() -> None:
    planned = engine()
    moments = []
    for size in (64, 4096, 30000, 8, 8192):
        planned.alloc(0, size, 8, False, False)
        moments.append((planned.save(), state_of(planned)))
    for index in (0, 4, 2, 3, 1, 1, 4, 0):
        planned.restore(moments[index][0])
        assert state_of(planned) == moments[index][1]


def test_a_free_of_nothing_says_so_and_changes_nothing() -> None:
    planned = engine()
    place = planned.alloc(0, 64, 8, False, False)
    assert place is not None
    state = state_of(planned)
    for number, off in ((9, 0), (place[0], place[1] + 2), (place[0], place[1] + 4)):
        assert not planned.free(0, number, off)
    assert state_of(planned) == state
    with pytest.raises(DoubleFree):
        planned.free_ptr(0, 0x7FFF0000)


def test_the_first_who_asks_for_the_work_gets_it() -> None:
    planned = engine()
    places = [planned.alloc(0, 30000, 8, False, False) for _ in range(3)]
    for cpu, place in zip((1, 0, 1), places, strict=True):
        assert place is not None
        planned.free(cpu, *place)
    assert planned.asked_cpu in (0, 1)
    first = planned.asked_cpu
    planned.schedule_work(1 - first, "pcpu_balance_work")
    assert planned.asked_cpu == first
    planned.run_work()
    assert planned.asked_cpu == -1


def test_work_that_is_cut_goes_on_where_it_was() -> None:
    whole, cut = engine(), engine()
    for planned in (whole, cut):
        planned.produced.clear()
        places = [planned.alloc(0, 30000, 8, False, False) for _ in range(4)]
        for place in places:
            assert place is not None
            planned.free(0, *place)
        planned.produced.clear()
    whole.run_work()
    cut.run_work(1)
    assert cut.work_path is not None
    nr_pieces = 1
    while cut.work_path is not None:
        cut.run_work(1)
        nr_pieces += 1
    assert nr_pieces > 2
    assert cut.produced == whole.produced != []
    assert state_of(cut) == state_of(whole)


def test_going_back_drops_work_that_is_cut() -> None:
    planned = engine()
    for place in [planned.alloc(0, 30000, 8, False, False) for _ in range(4)]:
        assert place is not None
        planned.free(0, *place)
    saved, state = planned.save(), state_of(planned)
    planned.run_work(1)
    planned.restore(saved)
    assert planned.work_path is None
    assert state_of(planned) == state


def test_a_chunk_can_be_made_and_dropped_as_a_log_says() -> None:
    planned = engine()
    number = planned.force_create()
    assert planned.percpu.chunks[number].slot == planned.percpu.slots.free
    planned.percpu.adopt_area(number, 64, 128)
    assert planned.percpu.chunks[number].area_bits(16) == 32
    planned.force_destroy(number)
    assert number not in planned.percpu.chunks
    assert planned.produced == []
