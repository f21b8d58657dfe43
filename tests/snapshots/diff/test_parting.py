"""Where two runs part is where a scan from the start, digest by digest, finds it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.inputs import Input
from snapshots.diff.parting import Parting, PartingSearch, parting, read_rows
from snapshots.diff.rows import AREAS, BORN, DIED, MOVED, DiffRow
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.trim import trim_to_file
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    play,
    recorded,
    short_segments,
    small_config,
    straight_run,
)


def digests_of(timeline: Timeline) -> dict[int, str]:
    config = timeline.machine.config
    return straight_run(config, inputs_of(timeline), timeline.end_step)[0]


def first_pair(
    mine: Iterable[object], yours: Iterable[object]
) -> tuple[int, object, object] | None:
    one, other = list(mine), list(yours)
    length = max(len(one), len(other))
    one += [None] * (length - len(one))
    other += [None] * (length - len(other))
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        if a != b:
            return number, a, b
    return None


def check_against_a_scan(one: Timeline, other: Timeline) -> Parting | None:
    mine, yours = digests_of(one), digests_of(other)
    steps = range(max(one.end_step, other.end_step) + 1)
    expected = next((step for step in steps if mine.get(step) != yours.get(step)), None)
    found = parting(one, other)
    if found is None or expected is None:
        assert found is None
        assert expected is None
        return None
    assert found.step == expected
    assert found.same_step == (expected - 1 if expected else None)
    ended = "one" if expected not in mine else "other" if expected not in yours else ""
    assert found.ended == ended
    assert bool(found.rows) == (not ended)
    assert found.event == first_pair(events_of(one), events_of(other))
    inputs = first_pair((row[:4] for row in inputs_of(one)), (row[:4] for row in inputs_of(other)))
    assert (found.input is None) == (inputs is None)
    if found.input is not None and inputs is not None:
        assert found.input.number == inputs[0]
    return found


@settings(max_examples=40, deadline=None)
@given(CONFIGS, SCHEDULES, SCHEDULES, SCHEDULES, st.sampled_from([1, 3, 2048]), st.data())
def test_branches_part_where_a_scan_finds_it(
    config: MachineConfig,
    actions: list[Action],
    more: list[Action],
    others: list[Action],
    nr_inputs: int,
    data: st.DataObject,
) -> None:
    with short_segments(nr_inputs):
        trunk = recorded(config, actions)
        trunk.seek(data.draw(st.integers(0, trunk.end_step)))
        branch = trunk.fork()
        play(branch, more)
        branch.advance(NO_LIMIT)
        twig = branch
        if data.draw(st.booleans()):
            branch.seek(data.draw(st.integers(0, branch.end_step)))
            twig = branch.fork()
            play(twig, others)
            twig.advance(NO_LIMIT)
        check_against_a_scan(trunk, twig)
        check_against_a_scan(twig, branch)
        assert parting(trunk, trunk) is None


@settings(max_examples=25, deadline=None)
@given(CONFIGS, CONFIGS, SCHEDULES, SCHEDULES)
def test_runs_of_two_machines_part_where_a_scan_finds_it(
    config: MachineConfig, another: MachineConfig, actions: list[Action], more: list[Action]
) -> None:
    check_against_a_scan(recorded(config, actions), recorded(another, more))
    check_against_a_scan(recorded(config, actions), recorded(config, actions + more))


def with_inputs(config: MachineConfig, inputs: Iterable[Input]) -> Timeline:
    timeline = Timeline(boot(config))
    for do in inputs:
        timeline.advance(do.step)
        timeline.give(do.do, do.cpu, do.args)
        timeline.advance(NO_LIMIT)
    return timeline


def alloc(size: int, site: str) -> Input:
    return Input(0, "pcpu_alloc", 0, (size, 8, False, GFP_KERNEL, site))


def test_an_input_that_differs_is_told_with_both_values_and_what_it_changed() -> None:
    config = small_config(cpus=1)
    one = with_inputs(config, [alloc(64, "f"), alloc(8, "g")])
    other = with_inputs(config, [alloc(64, "f"), alloc(16, "g")])
    found = check_against_a_scan(one, other)
    assert found is not None and found.input is not None and found.event is not None
    assert (found.input.one, found.input.other) == (one.input_at(1), other.input_at(1))
    assert found.same_step == one.input_at(1).step
    assert (found.event.number, found.event.one) == (1, one.event_at(1))
    assert {row.group for row in found.rows} == {"calls"}, "the call has begun, with another size"


def areas_between(
    one: tuple[Timeline, int], other: tuple[Timeline, int], since: int | None
) -> list[DiffRow]:
    rows: list[DiffRow] = []
    for _ in read_rows(one, other, since, rows):
        pass
    return [row for row in rows if row.group == AREAS]


def test_an_area_that_lies_elsewhere_in_the_other_run_has_moved() -> None:
    config = small_config(cpus=1)
    one = with_inputs(config, [alloc(64, "f"), alloc(8, "g")])
    other = with_inputs(config, [alloc(8, "g")])
    areas = areas_between((one, one.end_step), (other, other.end_step), 0)
    assert [row[1:] for row in areas] == [
        (DIED, "area of 64 bytes", "the first chunk +0x0", "from f, its #1", None),
        (
            MOVED,
            "area of 8 bytes",
            "from g, its #1",
            "the first chunk +0x40",
            "the first chunk +0x0",
        ),
    ]


def test_two_moments_of_one_run_know_no_names() -> None:
    one = with_inputs(small_config(cpus=1), [alloc(64, "f"), alloc(8, "g")])
    areas = areas_between((one, 0), (one, one.end_step), None)
    assert [row[1:4] for row in areas] == [
        (BORN, "area of 64 bytes", "the first chunk +0x0"),
        (BORN, "area of 8 bytes", "the first chunk +0x40"),
    ]


def test_a_run_and_its_file_are_the_same(tmp_path: object) -> None:
    run = recorded(small_config(), BUSY)
    path = f"{tmp_path}/run.kms"
    save_timeline(path, run, Origin())
    opened = open_recording(path).timeline
    assert parting(run, opened) is None
    run.seek(run.end_step // 2)
    branch = run.fork()
    branch.give("pcpu_alloc", 0, (24, 8, False, GFP_KERNEL, "elsewhere"))
    branch.advance(NO_LIMIT)
    found = parting(opened, branch)
    assert found == parting(run, branch)
    assert found is not None and found.same_step == run.first_step + run.end_step // 2


def test_the_search_gives_way_often() -> None:
    run = recorded(small_config(), BUSY * 3)
    run.seek(run.end_step // 3)
    branch = run.fork()
    branch.give("pcpu_alloc", 0, (24, 8, False, GFP_KERNEL, "elsewhere"))
    branch.advance(NO_LIMIT)
    search = PartingSearch(run, branch)
    assert sum(1 for _ in search.slices()) > 1
    assert search.found == parting(run, branch)


@pytest.mark.parametrize("where", ["line", "by"])
def test_where_an_input_came_from_makes_no_difference(where: str) -> None:
    config = small_config(cpus=1)
    one, other = Timeline(boot(config)), Timeline(boot(config))
    args = (64, 8, False, GFP_KERNEL, "f")
    one.give("pcpu_alloc", 0, args)
    other.give("pcpu_alloc", 0, args, **({"line": 7} if where == "line" else {"by": "task"}))
    for run in (one, other):
        run.advance(NO_LIMIT)
    assert parting(one, other) is None


def test_a_trimmed_run_is_held_against_the_same_stretch_of_the_whole(tmp_path: Path) -> None:
    with short_segments(3):
        whole = recorded(small_config(), BUSY)
        half, end = whole.end_step // 2, whole.end_step - 2
        path = tmp_path / "part.kms"
        taken = trim_to_file(path, whole, Origin(), half, end)
        part = open_recording(path).timeline
    assert taken.first_step > 0
    for one, other in ((part, whole), (whole, part)):
        found = parting(one, other)
        assert found is not None and found.ended == ("one" if one is part else "other")
        assert found.step == end + 1
        for apart, later in ((found.input, inputs_of(whole)), (found.event, events_of(whole))):
            if apart is not None:
                rest = apart.other if one is part else apart.one
                assert rest in later and rest.step >= end
