"""Areas are told apart by call site, size and how many such came before, from one step on."""

from __future__ import annotations

from snapshots.diff.area_names import AreaNames
from snapshots.diff.rows import AreaName
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import GFP_KERNEL, recorded, small_config


def names_at(timeline: Timeline, since: int, until: int) -> list[AreaName]:
    names = AreaNames()
    for _ in names.read(timeline, since, until):
        pass
    return [name for _, name in sorted(names.by_addr.items())]


def asked(*sites: str) -> tuple[Timeline, list[int]]:
    timeline = recorded(small_config(cpus=1), [])
    ends = []
    for site in sites:
        timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, site))
        timeline.advance(NO_LIMIT)
        ends.append(timeline.end_step)
    return timeline, ends


def test_areas_of_one_call_site_are_counted() -> None:
    timeline, ends = asked("f", "g", "f")
    assert names_at(timeline, 0, ends[2]) == [
        AreaName("f", 64, 1), AreaName("g", 64, 1), AreaName("f", 64, 2),
    ]  # fmt: skip


def test_only_what_was_born_between_the_two_steps_has_a_name() -> None:
    timeline, ends = asked("f", "f", "f")
    assert names_at(timeline, ends[0], ends[1]) == [AreaName("f", 64, 1)]


def test_what_was_freed_has_none_and_is_counted_all_the_same() -> None:
    timeline, _ = asked("f")
    pointer = timeline.calls[0].result
    timeline.give("free_percpu", 0, (int(str(pointer)),))
    timeline.advance(NO_LIMIT)
    assert names_at(timeline, 0, timeline.end_step) == []
    timeline.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, "f"))
    timeline.advance(NO_LIMIT)
    assert names_at(timeline, 0, timeline.end_step) == [AreaName("f", 64, 2)]
