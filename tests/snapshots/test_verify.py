"""A recording that lies is found out, whatever it lies about, and the first step that differs is named."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from kernel_sim.config import MachineConfig
from kernel_sim.machine_state import Parts
from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.errors import RecordingError
from snapshots.recording import Origin, save_timeline, save_tree
from snapshots.segment import Mark, SegmentBody, pack_segment
from snapshots.state_codec import decode_part, encode_part
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import Verdict, examine, verify_recording
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    recorded,
    short_segments,
    small_config,
)


def run_to_save() -> Timeline:
    with short_segments(6):
        return recorded(small_config(cpus=3), BUSY)


@pytest.fixture
def timeline() -> Timeline:
    return run_to_save()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.kms"


def change_body(
    timeline: Timeline, number: int, change: Callable[[SegmentBody], object]
) -> tuple[int, SegmentBody]:
    """Let a segment hold something else, as a file with right checksums would."""
    number %= len(timeline.heads)
    old = timeline.body(number)
    body = SegmentBody([*old.inputs], [*old.events])
    change(body)
    head = timeline.heads[number]
    head.nr_inputs, head.nr_events = len(body.inputs), len(body.events)
    for before, after in zip(timeline.heads[number:], timeline.heads[number + 1 :], strict=False):
        after.first_input = before.first_input + before.nr_inputs
        after.first_event = before.first_event + before.nr_events
    packed, whole = pack_segment(body), timeline.packed
    if number == len(timeline.heads) - 1:
        timeline.open_body = body
    timeline.packed = lambda n: packed if n == number else whole(n)  # type: ignore[method-assign]
    return number, body


def change_part(timeline: Timeline, number: int, name: str, change: Callable[[Any], object]) -> int:
    """Let a keyframe hold another part."""
    number %= len(timeline.heads)
    whole = timeline.keyframe_parts

    def parts_of(wanted: int) -> Parts:
        parts = whole(wanted)
        if wanted != number:
            return parts
        part = unfrozen(decode_part(encode_part(parts[name])))
        change(part)
        return parts | {name: part}

    timeline.keyframe_parts = parts_of  # type: ignore[method-assign]
    return number


def unfrozen(value: object) -> object:
    if isinstance(value, tuple):
        return [unfrozen(each) for each in value]
    return copy.copy(value)


def only_problem(path: Path) -> str:
    [problem] = verify_recording(path)
    assert problem.startswith(f"{path}: ")
    return problem


# -- what is true -------------------------------------------------------------------------------------


def test_a_true_recording_has_no_problem_and_all_is_counted(path: Path, timeline: Timeline) -> None:
    save_timeline(path, timeline, Origin())
    told: list[tuple[int, int]] = []
    verdict = examine(path, progress=lambda here, goal: told.append((here, goal)))
    assert verdict.ok and verdict.problems == verdict.notes == []
    assert verdict.nr_keyframes == len(timeline.heads) > 4
    assert verdict.nr_events == timeline.nr_events
    assert verdict.nr_steps == timeline.end_step
    assert verdict.nr_branches == 1 and verdict.nr_records > 10
    assert told[-1] == (timeline.end_step, timeline.end_step)
    assert verdict.to_json()["ok"] is True


@settings(max_examples=20, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_whatever_was_recorded_is_true(
    tmp_path_factory: pytest.TempPathFactory, config: MachineConfig, actions: list[Action]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.kms"
    with short_segments(4):
        save_timeline(path, recorded(config, actions), Origin())
    assert verify_recording(path) == []


def test_both_hash_seeds_agree(path: Path, timeline: Timeline) -> None:
    save_timeline(path, timeline, Origin())
    verdict = examine(path, hash_seeds=True)
    assert verdict.ok and verdict.hash_seeds == (1, 2)


# -- keyframes ----------------------------------------------------------------------------------------


def bump(name: str) -> Callable[[Any], object]:
    def change(part: Any) -> None:
        if isinstance(part, dict):
            part["lazy_max_pages"] += 1
        elif name == "chunk.0":
            part[0][12] += 4  # the largest area it ever had: a state like any other
        else:
            part.append([6, "forged"] if name == "log" else 9)

    return change


@pytest.mark.parametrize("index", [0, 2, -1])
@pytest.mark.parametrize("name", ["log", "tables", "vmalloc", "chunk.0"])
def test_a_changed_part_of_any_keyframe_is_named(
    path: Path, timeline: Timeline, index: int, name: str
) -> None:
    number = change_part(timeline, index, name, bump(name))
    save_timeline(path, timeline, Origin())
    problem = only_problem(path)
    step = timeline.heads[number].first_step
    assert f": step {step}: keyframe {number}: part {name} is not what was recorded" in problem
    if number:
        assert f", since step {timeline.heads[number - 1].first_step} at the earliest: " in problem


def test_the_place_within_the_part_is_told(path: Path, timeline: Timeline) -> None:
    def change(part: Any) -> None:
        part["lazy_max_pages"] = 77

    change_part(timeline, 2, "vmalloc", change)
    save_timeline(path, timeline, Origin())
    assert "vmalloc['lazy_max_pages']: recorded 77, now " in only_problem(path)


def test_another_machine_is_told(path: Path, timeline: Timeline) -> None:
    mapping = timeline.machine.config.to_mapping()
    mapping["schedule"] = {"policy": "random", "seed": 4}
    timeline.machine.config = MachineConfig.from_mapping(mapping, where="x")
    save_timeline(path, timeline, Origin())
    assert "step 0: keyframe 0: part clock" in only_problem(path)


# -- events and inputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_changed_event_is_named_with_its_step(path: Path, timeline: Timeline, index: int) -> None:
    def change(body: SegmentBody) -> None:
        at = body.events[1]
        body.events[1] = at._replace(cpu=at.cpu ^ 1)

    number, body = change_body(timeline, index, change)
    save_timeline(path, timeline, Origin())
    step = body.events[1].step
    assert f"step {step}: event 1 of segment {number}: recorded" in only_problem(path)


def test_a_missing_and_an_invented_event_are_told(path: Path) -> None:
    for change, said in (
        (lambda body: body.events.pop(), "events recorded, more now"),
        (lambda body: body.events.append(body.events[-1]), "did not happen"),
    ):
        timeline = run_to_save()
        change_body(timeline, 1, change)
        save_timeline(path, timeline, Origin())
        assert said in only_problem(path)
        assert re.search(r": step \d+: ", only_problem(path))


def test_a_changed_input_is_found_at_the_first_step_that_differs(
    path: Path, timeline: Timeline
) -> None:
    """One more byte asked for: the event of that call is the first that is another one."""

    def change(body: SegmentBody) -> None:
        at = next(n for n, given in enumerate(body.inputs) if given.do == "pcpu_alloc")
        given = body.inputs[at]
        size, *rest = given.args
        body.inputs[at] = given._replace(args=(int(size) + 8, *rest))

    number, body = change_body(timeline, 3, change)
    save_timeline(path, timeline, Origin())
    problem = only_problem(path)
    step = int(re.search(r": step (\d+): event \d+ of segment", problem)[1])  # type: ignore[index]
    assert step == body.events[0].step or step in [at.step for at in body.events]
    assert f"of segment {number}: recorded percpu_alloc_percpu" in problem


def test_a_missing_input_is_told(path: Path, timeline: Timeline) -> None:
    change_body(timeline, -1, lambda body: body.inputs.pop())
    save_timeline(path, timeline, Origin())
    assert verify_recording(path) != []


@pytest.mark.parametrize("do", ["pcpu_alloc", "no_such_call", "adopt_free"])
def test_an_input_that_no_machine_takes_is_a_problem_of_the_recording(
    path: Path, timeline: Timeline, do: str
) -> None:
    def change(body: SegmentBody) -> None:
        body.inputs[2] = body.inputs[2]._replace(do=do, args=())

    number, _ = change_body(timeline, 1, change)
    save_timeline(path, timeline, Origin())
    index = timeline.heads[number].first_input + 2
    assert re.search(rf": step \d+: input {index} cannot be run: ", only_problem(path))


def test_an_end_that_the_run_does_not_reach_is_told(path: Path, timeline: Timeline) -> None:
    timeline.end_step += 5
    save_timeline(path, timeline, Origin())
    assert "the run ends here" in only_problem(path)


def test_marks_that_are_not_of_the_events_are_told(path: Path, timeline: Timeline) -> None:
    timeline.heads[1].marks = [Mark(timeline.heads[1].first_step + 1, "f")]
    save_timeline(path, timeline, Origin())
    assert "segment 1: its marks are not those of its events" in only_problem(path)


# -- branches and bookmarks ---------------------------------------------------------------------------


def tree_of_three() -> BranchTree:
    with short_segments(6):
        timeline = recorded(small_config(cpus=3), BUSY)
        tree = BranchTree.of(timeline)
        for part in (2, 4):
            here = tree.current.timeline
            here.seek(here.end_step * part // 5)
            branch = tree.fork().timeline
            for cpu in range(3):
                branch.give("pcpu_alloc", cpu, (64 * part, 8, False, GFP_KERNEL, "here"))
                branch.advance(NO_LIMIT)
    return tree


def test_every_branch_is_run(path: Path) -> None:
    tree = tree_of_three()
    save_tree(path, tree, Origin(), {"x": Bookmark("x", 1, 3)})
    verdict = examine(path, hash_seeds=True)
    assert verdict.problems == []
    assert verdict.nr_branches == 3


def test_a_lie_on_a_branch_is_told_with_its_name(path: Path) -> None:
    tree = tree_of_three()
    branch = tree.branches[1]

    def change(body: SegmentBody) -> None:
        body.events[-1] = body.events[-1]._replace(cpu=body.events[-1].cpu ^ 1)

    change_body(branch.timeline, -1, change)
    save_tree(path, tree, Origin())
    problems = verify_recording(path)
    assert f"{path}: branch {branch.name}: step {branch.end_step}: event" in problems[0]


def test_a_branch_that_begins_with_another_state_is_told(path: Path) -> None:
    tree = tree_of_three()
    branch = tree.branches[1]
    number = change_part(branch.timeline, branch.timeline.nr_shared, "vmalloc", bump("vmalloc"))
    save_tree(path, tree, Origin())
    assert f"branch {branch.name}: step " in verify_recording(path)[0]
    assert f"keyframe {number}: part vmalloc" in verify_recording(path)[0]


@pytest.mark.parametrize("by", [1 << 30, -(1 << 30), 40])
def test_a_branch_that_goes_off_elsewhere_is_told(path: Path, by: int) -> None:
    tree = tree_of_three()
    tree.branches[1].fork_step += by
    save_tree(path, tree, Origin())
    assert f"branch b1: goes off at step {tree.branches[1].fork_step}" in verify_recording(path)[0]


def test_a_branch_is_given_nothing_else_before_it_goes_off(path: Path) -> None:
    tree = tree_of_three()
    timeline = tree.branches[1].timeline
    tree.branches[1].fork_step = timeline.input_at(timeline.nr_inputs - 3).step + 1
    save_tree(path, tree, Origin())
    assert "was given something else before that step" in verify_recording(path)[0]


def test_a_bookmark_on_nothing_is_told(path: Path, timeline: Timeline) -> None:
    tree = BranchTree.of(timeline)
    marks = {
        "far": Bookmark("far", 0, timeline.end_step + 1),
        "lost": Bookmark("lost", 7, 1),
        "good": Bookmark("good", 0, timeline.end_step),
    }
    save_tree(path, tree, Origin(), marks)
    problems = verify_recording(path)
    assert [line.split("bookmark ")[1].split()[0] for line in problems] == ["far", "lost"]


# -- what begins behind boot --------------------------------------------------------------------------


def test_a_stretch_is_loaded_at_its_first_keyframe_and_that_is_said(
    path: Path, timeline: Timeline
) -> None:
    timeline.seek(timeline.heads[2].first_step)
    later = Timeline(timeline.machine)
    later.give("pcpu_alloc", 0, (64, 8, False, GFP_KERNEL, "here"))
    later.advance(NO_LIMIT)
    save_timeline(path, later, Origin())
    verdict = examine(path, hash_seeds=True)
    assert verdict.problems == []
    assert verdict.notes == [
        f"it begins at step {later.first_step}: its first keyframe was loaded, not proved"
    ]


# -- damaged files ------------------------------------------------------------------------------------


def test_a_torn_file_is_not_true_to_the_end(path: Path, timeline: Timeline) -> None:
    save_timeline(path, timeline, Origin())
    path.write_bytes(path.read_bytes()[:-600])
    assert "byte " in verify_recording(path)[0]


def test_every_flipped_byte_is_found(path: Path, timeline: Timeline) -> None:
    save_timeline(path, timeline, Origin())
    whole = path.read_bytes()
    for at in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            assert verify_recording(path) != []
        except RecordingError:
            assert at < 20_000  # the header: no recording we know


def test_what_is_no_recording_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "none.kms").write_bytes(b"nothing")
    with pytest.raises(RecordingError):
        verify_recording(tmp_path / "none.kms")


def test_a_verdict_in_json_has_everything() -> None:
    assert Verdict(["a"], hash_seeds=(1, 2)).to_json() == {
        "ok": False, "problems": ["a"], "notes": [], "records": 0, "branches": 0, "keyframes": 0,
        "events": 0, "steps": 0, "hash_seeds": [1, 2],
    }  # fmt: skip
