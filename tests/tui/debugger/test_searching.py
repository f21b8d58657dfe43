from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from time import perf_counter

import pytest

from kernel_sim.events import EventAt, PercpuAllocPercpu
from snapshots.history.change_index import ChangeIndex, Search, run_now
from snapshots.history.compiled import compile_text
from tui.debugger import searching
from tui.debugger.searching import answer_of, find_event
from tui.debugger.session import Session


def counting(seen: list[int]) -> Search[str]:
    for number in range(50):
        seen.append(number)
        yield number
    return "found"


def test_a_search_gives_way_tells_how_far_it_is_and_answers() -> None:
    seen: list[int] = []
    told: list[tuple[int, int]] = []
    turns = 0

    async def other() -> None:
        nonlocal turns
        while len(seen) < 50:
            turns += 1
            await asyncio.sleep(0)

    async def both() -> str:
        task = asyncio.create_task(other())
        answer = await answer_of(counting(seen), lambda here, goal: told.append((here, goal)), 77)
        await task
        return answer

    assert asyncio.run(both()) == "found"
    assert told == [(number, 77) for number in range(50)]
    assert turns >= 40


def test_a_cancelled_search_goes_no_further() -> None:
    seen: list[int] = []

    async def cancelled() -> None:
        task = asyncio.create_task(answer_of(counting(seen), None, 0))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert len(seen) < 10


def test_a_search_of_changes_is_interrupted_within_100_ms_and_nobody_has_moved(
    demo: Session,
) -> None:
    demo.go_now(demo.end_step - 5)
    before = (demo.step, demo.digest())
    of = compile_text("fault", demo.machine)
    waited: list[float] = []

    async def given_up(after_slices: int) -> None:
        index = ChangeIndex(demo.timeline)
        task = asyncio.create_task(answer_of(index.last(of, demo.end_step), None, 0))
        for _ in range(after_slices):
            await asyncio.sleep(0)
        begun = perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waited.append(perf_counter() - begun)

    for after_slices in (1, 4, 9, 23):
        asyncio.run(given_up(after_slices))
    assert sorted(waited)[1] < 0.1
    assert (demo.step, demo.digest()) == before


def _wants(size: int):  # type: ignore[no-untyped-def]
    return lambda at: isinstance(at.event, PercpuAllocPercpu) and at.event.size == size


def _every(demo: Session) -> Iterator[EventAt]:
    return (demo.event(number) for number in range(demo.nr_events))


@pytest.mark.parametrize("size", [8, 64, 32768, 5])
def test_events_are_found_where_a_look_at_all_finds_them(
    demo: Session, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "EVENTS_BETWEEN_LOOKS", 3)
    steps = [at.step for at in _every(demo) if _wants(size)(at)]
    rng = random.Random(size)
    edges = [(0, demo.end_step), (-1, demo.end_step), (0, 0), *((s - 1, s) for s in steps[:3])]
    for _ in range(25):
        low, high = sorted(rng.choices(range(demo.end_step), k=2))
        edges.append((low, high))
    for head in demo.timeline.heads:  # and around the borders of segments
        edges += [
            (head.first_step - 9, head.first_step),
            (head.first_step - 1, head.first_step + 9),
        ]
    edges += [(step - 2, step + 1) for step in steps[::40]]
    for low, high in edges:
        inside = [step for step in steps if low < step <= high]
        for forward, expected in (
            (True, min(inside, default=None)),
            (False, max(inside, default=None)),
        ):
            found = run_now(find_event(demo.timeline, _wants(size), low, high, forward=forward))
            assert found == expected, (low, high, forward)
