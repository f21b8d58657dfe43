"""Branches as a tree: against a slow model, through a file, and hundreds deep."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.inputs import Input
from snapshots import branches as branches_module
from snapshots import recording_source
from snapshots.bookmarks import Bookmark
from snapshots.branches import MAIN, Branch, BranchTree
from snapshots.errors import RecordingError
from snapshots.recording import Origin, open_recording, save_timeline, save_tree
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.recordings.make_v3 import facts_of
from tests.snapshots.conftest import BUSY, Pieces, inputs_of, recorded, short_segments, small_config

RECORDINGS = Path(__file__).parents[1] / "recordings"
V2_ENDS = [
    "fc1119f04e66dd936a793d799815443b",
    "f2a5a1e2bfaf28caf71e6bc3506ee263",
]  # digests of the newest step of both branches
CONFIG = small_config()
GROWTH = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100), st.integers(1, 3)), max_size=6)


def act(tree: BranchTree, size: int) -> None:
    """Give something that nobody gave before, and let it come to its end."""
    timeline = tree.current.timeline
    timeline.give("pcpu_alloc", 0, (size, 4, False, 0xCC0, f"f{size}"))
    timeline.advance(NO_LIMIT)


def grown(growth: list[tuple[int, int, int]], nr_first: int = 3) -> BranchTree:
    """A tree: each time somebody stands on a branch, goes somewhere, and begins another."""
    tree = BranchTree.of(Timeline(boot(CONFIG)))
    size = 4
    for _ in range(nr_first):
        act(tree, size)
        size += 4
    for which, percent, nr_inputs in growth:
        tree.current_number = which % len(tree.branches)
        timeline = tree.current.timeline
        timeline.seek(timeline.end_step * percent // 100)
        tree.fork(f"what {size}")
        for _ in range(nr_inputs):
            act(tree, size)
            size += 4
    return tree


def digests_of(tree: BranchTree, every: int = 1) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    for number, branch in tree.branches.items():
        timeline = branch.timeline
        found[number] = {}
        for step in range(0, timeline.end_step + 1, every):
            timeline.seek(step)
            assert timeline.step == step
            found[number][step] = state_digest(timeline.machine)
    return found


def facts(tree: BranchTree) -> list[tuple[object, ...]]:
    return [
        (depth, branch.number, branch.name, branch.parent, branch.fork_step, branch.end_step,
         branch.note, branch.has_own_machine)
        for depth, branch in tree.walk()
    ]  # fmt: skip


# -- the tree -------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(GROWTH)
def test_a_moment_is_of_two_branches_as_long_as_their_inputs_are_the_same(
    growth: list[tuple[int, int, int]],
) -> None:
    tree = grown(growth)
    inputs = {number: inputs_of(branch.timeline) for number, branch in tree.branches.items()}

    def history(number: int, step: int) -> list[Input]:
        """What makes the moment at a step: the inputs that were handed over before it."""
        return [given for given in inputs[number] if given.step < step]

    for one in tree.branches.values():
        for other in tree.branches:
            for step in range(min(one.end_step, tree.branches[other].end_step) + 1):
                same = history(one.number, step) == history(other, step)
                assert tree.holds(one, other, step) == same, (one.name, other, step)


@settings(max_examples=25, deadline=None)
@given(GROWTH)
def test_a_walk_meets_every_branch_once_below_its_parent(
    growth: list[tuple[int, int, int]],
) -> None:
    tree = grown(growth)
    walked = list(tree.walk())
    assert sorted(branch.number for _, branch in walked) == sorted(tree.branches)
    depths = {branch.number: depth for depth, branch in walked}
    path: list[Branch] = []
    for depth, branch in walked:
        del path[depth:]
        if branch.parent is None:
            assert depth == 0
        else:
            assert depths[branch.parent] == depth - 1 and path[-1].number == branch.parent
        path.append(branch)
    for parent in tree.branches:
        below = [branch.fork_step for _, branch in walked if branch.parent == parent]
        assert below == sorted(below)


def test_a_branch_begins_where_one_stands_and_one_stands_on_it() -> None:
    tree = grown([])
    main = tree.current
    main.timeline.seek(5)
    branch = tree.fork("try")
    assert (branch.number, branch.name, branch.parent, branch.fork_step, branch.note) == (
        1, "b1", MAIN, 5, "try",
    )  # fmt: skip
    assert tree.current is branch and branch.end_step == 5 and main.end_step > 5
    assert not branch.has_own_machine


def test_forks_of_forks_at_one_step_are_three_runs() -> None:
    tree = grown([(0, 50, 1), (1, 0, 1), (0, 50, 1)])
    steps = {branch.fork_step for branch in tree.branches.values() if branch.number != 2}
    assert len(steps) == 2
    assert [branch.parent for branch in tree.branches.values()] == [None, 0, 0, 0]
    ends = {state_digest_at_end(branch) for branch in tree.branches.values()}
    assert len(ends) == 4


def state_digest_at_end(branch: Branch) -> str:
    branch.timeline.seek(branch.end_step)
    return state_digest(branch.timeline.machine)


def test_a_fork_where_its_branch_closed_a_segment_at_its_own_beginning(tmp_path: Path) -> None:
    with short_segments(4):
        tree = grown([])
        tree.current.timeline.seek(tree.current.timeline.input_at(2).step)  # no call is under way
        first = tree.fork("closes its segment at once")
        timeline = first.timeline
        with short_segments(1):
            act(tree, 64)
        assert timeline.heads[1].first_step == first.fork_step
        assert timeline.nr_shared == 0
        timeline.seek(first.fork_step)
        second = tree.fork("at the same step")
        act(tree, 128)
        assert second.parent == first.number
        assert second.timeline.nr_shared == 1
        save_tree(tmp_path / "run.kms", tree, Origin())
        opened = open_recording(tmp_path / "run.kms", branch=second.number)
        assert inputs_of(opened.timeline) == inputs_of(second.timeline)
        opened.timeline.seek(NO_LIMIT)
        second.timeline.seek(NO_LIMIT)
        assert state_digest(opened.timeline.machine) == state_digest(second.timeline.machine)


def test_a_branch_of_another_machine_shares_no_moment() -> None:
    tree = grown([])
    other = recorded(small_config(cpus=3), BUSY[:8])
    branch = tree.add(other, MAIN, 0, "three CPUs")
    assert branch.has_own_machine and tree.current is branch
    assert not tree.holds(branch, MAIN, 0) and not tree.holds(tree.branches[MAIN], branch.number, 0)
    tree.current_number = branch.number
    branch.timeline.seek(3)
    inner = tree.fork()
    assert tree.holds(inner, branch.number, 3) and not tree.holds(inner, MAIN, 3)


def test_branches_are_found_by_name_and_number() -> None:
    tree = grown([(0, 50, 1)])
    assert tree.named("b1") is tree.named("1") is tree.branches[1]
    assert tree.named("main") is tree.named("0") is tree.branches[MAIN]
    with pytest.raises(RecordingError, match="no branch 'x'; there are: main b1"):
        tree.named("x")


def test_names_are_plain_and_no_two_the_same() -> None:
    tree = grown([(0, 50, 1)])
    tree.rename(tree.branches[1], "b2")
    assert tree.fork().name == "b3"  # b2 is taken
    tree.rename(tree.branches[1], "b2")
    for name in ("main", "b3"):
        with pytest.raises(RecordingError, match="already"):
            tree.rename(tree.branches[1], name)
    for name in ("", "7", "a b", "ä", "x" * 65, "\x1b[2J", "a\n"):
        with pytest.raises(RecordingError, match="expected a letter"):
            tree.rename(tree.branches[1], name)
    assert tree.branches[1].name == "b2"


def test_there_is_an_end_to_branches() -> None:
    tree = grown([])
    with mock.patch.object(branches_module, "BRANCHES_MAX", 3):
        tree.fork()
        tree.fork()
        with pytest.raises(RecordingError, match="3 branches already"):
            tree.fork()
    assert len(tree.branches) == 3


def test_a_branch_without_a_run_says_so() -> None:
    with pytest.raises(RecordingError, match="has no run"):
        assert Branch(1, "b1", 0, 0).timeline


# -- through a file ---------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(GROWTH, st.data())
def test_a_tree_comes_back_from_a_file(
    tmp_path_factory: pytest.TempPathFactory,
    growth: list[tuple[int, int, int]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("tree") / "run.kms"
    with short_segments(2):
        tree = grown(growth)
        for branch in tree.branches.values():
            if data.draw(st.booleans()):
                tree.rename(branch, f"name{branch.number}")
        marks = {"here": Bookmark("here", len(tree.branches) - 1, 3, "a note")}
        wanted, told = digests_of(tree, 7), facts(tree)
        save_tree(path, tree, Origin(), marks)
        opened = open_recording(path)
        assert facts(opened.tree) == told and opened.bookmarks == marks and not opened.warnings
        assert digests_of(opened.tree, 7) == wanted
        for number, branch in tree.branches.items():
            assert inputs_of(opened.tree.branches[number].timeline) == inputs_of(branch.timeline)
            assert list(opened.tree.branches[number].timeline.marks()) == list(
                branch.timeline.marks()
            )
        save_tree(path.with_name("again.kms"), opened.tree, opened.origin, opened.bookmarks)
        opened.reader.close()
    assert path.with_name("again.kms").read_bytes() == path.read_bytes()
    assert verify_recording(path) == []


def test_a_branch_with_a_machine_of_its_own_comes_back(tmp_path: Path) -> None:
    tree = grown([(0, 40, 1)])
    tree.add(recorded(small_config(cpus=3), BUSY[:8]), MAIN, 0, "three CPUs")
    tree.current.timeline.seek(9)
    tree.fork("and back")
    act(tree, 64)
    wanted, told = digests_of(tree, 5), facts(tree)
    save_tree(tmp_path / "run.kms", tree, Origin())
    opened = open_recording(tmp_path / "run.kms")
    assert facts(opened.tree) == told and digests_of(opened.tree, 5) == wanted
    assert len(opened.tree.branches[2].timeline.machine.cpus) == 3
    opened.reader.close()


def test_a_branch_can_be_asked_for_and_gone_on_with(tmp_path: Path) -> None:
    with short_segments(2):
        tree = grown([(0, 50, 2), (1, 70, 1)])
        save_tree(tmp_path / "run.kms", tree, Origin())
        opened = open_recording(tmp_path / "run.kms", branch=2)
        assert opened.timeline is opened.tree.branches[2].timeline and opened.timeline.step == 0
        opened.timeline.seek(NO_LIMIT)
        act(opened.tree, 1000)
        digest = state_digest(opened.timeline.machine)
        save_tree(tmp_path / "more.kms", opened.tree, opened.origin)
        opened.reader.close()
        again = open_recording(tmp_path / "more.kms", branch=2)
        assert state_digest_at_end(again.tree.current) == digest
        again.reader.close()
        with pytest.raises(RecordingError, match="no branch 9"):
            open_recording(tmp_path / "run.kms", branch=9)
    assert verify_recording(tmp_path / "more.kms") == []


def test_branches_in_one_file_share_what_lies_before(tmp_path: Path) -> None:
    with short_segments(2):
        tree = grown([(0, 90, 1), (0, 95, 1), (0, 99, 1)], nr_first=40)
        save_tree(tmp_path / "tree.kms", tree, Origin())
        apart = 0
        for branch in tree.branches.values():
            path = tmp_path / f"{branch.name}.kms"
            save_timeline(path, branch.timeline, Origin())
            apart += path.stat().st_size
    assert (tmp_path / "tree.kms").stat().st_size < apart / 2


def test_opening_reads_nothing_of_other_branches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with short_segments(2):
        tree = grown([(0, 50, 3), (1, 80, 3), (0, 20, 3)], nr_first=9)
        save_tree(tmp_path / "run.kms", tree, Origin())
    read: list[tuple[str, object]] = []
    real = recording_source.RecordingReader.read

    def counting(self: object, entry: object) -> object:
        read.append((entry.kind, entry.key.get("b")))  # type: ignore[attr-defined]
        return real(self, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(recording_source.RecordingReader, "read", counting)
    opened = open_recording(tmp_path / "run.kms")
    assert read.count(("Segment", 0)) <= 1  # the open one
    assert not [row for row in read if row[0] in ("Segment", "Keyframe") and row[1] != 0]
    assert [branch.end_step for branch in opened.tree.branches.values()] == [
        branch.end_step for branch in tree.branches.values()
    ]
    read.clear()
    assert opened.tree.branches[2].timeline.end_step == tree.branches[2].end_step
    assert {row[1] for row in read if row[0] == "Segment"} <= {1, 2}
    opened.reader.close()


def test_branches_go_off_from_branches_hundreds_deep(tmp_path: Path) -> None:
    """Whoever acts in the past of the newest branch again and again gets that, and no recursion."""
    with short_segments(3):
        tree = grown([], nr_first=9)
        for _ in range(400):
            timeline = tree.current.timeline
            timeline.seek(timeline.end_step - 1)
            tree.fork()
            tree.current.timeline.give("purge_vmap", 0)
            tree.current.timeline.advance(NO_LIMIT)
        deepest = tree.current
        digest = state_digest(deepest.timeline.machine)
        for step in (0, deepest.end_step // 2, deepest.end_step):
            deepest.timeline.seek(step)
            assert deepest.timeline.step == step
        save_tree(tmp_path / "run.kms", tree, Origin())
        opened = open_recording(tmp_path / "run.kms", branch=400)
        assert state_digest_at_end(opened.tree.current) == digest
        opened.timeline.seek(0)
        assert len(list(opened.tree.walk())) == 401
        opened.reader.close()


# -- hostile --------------------------------------------------------------------------------------------


@pytest.fixture
def pieces(tmp_path: Path) -> Pieces:
    with short_segments(2):
        save_tree(tmp_path / "run.kms", grown([(0, 50, 2), (1, 70, 1)]), Origin())
    return Pieces.of(tmp_path / "run.kms")


@pytest.mark.parametrize(
    "changed",
    [
        {"parent": 2}, {"parent": 3}, {"parent": 9}, {"parent": "0"}, {"parent": None}, {"shared": -1},
        {"shared": 99}, {"shared": "1"}, {"name": 7}, {"name": "\x1b[2J"}, {"name": "x" * 2000},
        {"note": None}, {"fork": "1"}, {"end": None}, {"shared": 0}, {"parent": -1},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_branch_that_cannot_be_is_refused(
    tmp_path: Path, pieces: Pieces, changed: dict[str, object]
) -> None:
    place = pieces.places("Branch")[2]
    body = pieces.records[place][2]
    assert isinstance(body, dict)
    pieces.set(place, body=body | changed)
    path = pieces.write(tmp_path / "hostile.kms")
    with pytest.raises(RecordingError, match=str(path)):
        opened = open_recording(path)
        try:
            assert opened.tree.branches[2].timeline
        finally:
            opened.reader.close()


def test_a_bookmark_on_a_branch_that_is_not_there_does_no_harm(
    tmp_path: Path, pieces: Pieces
) -> None:
    pieces.records.append(("bookmark", {}, Bookmark("far", 77, 3).to_body()))
    path = pieces.write(tmp_path / "hostile.kms")
    assert any("far" in problem for problem in verify_recording(path))


# -- for ever -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v3-small", "v3-killed"])
def test_all_branches_of_a_recording_of_schema_3_stay_readable_for_ever(name: str) -> None:
    path = RECORDINGS / f"{name}.kms"
    assert facts_of(path) == json.loads(path.with_suffix(".json").read_text())
    problems = verify_recording(path)
    assert problems == [] if name == "v3-small" else "its writer was killed" in problems[-1]


def test_a_branch_of_schema_2_stays_readable_for_ever() -> None:
    opened = open_recording(RECORDINGS / "v2-small.kms")
    assert [(branch.number, branch.name) for _, branch in opened.tree.walk()] == [
        (0, "main"), (1, "b1"),
    ]  # fmt: skip
    assert [state_digest_at_end(opened.tree.branches[number]) for number in (0, 1)] == V2_ENDS
    opened.reader.close()
