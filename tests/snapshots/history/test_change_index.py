"""The index against a scan from the start that seeks every step afresh."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from snapshots.history.change_index import Change, ChangeIndex, becomes_true, run_now
from snapshots.history.compiled import compile_text
from snapshots.journal import Journal
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.acted_tree import Worker
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    play,
    recorded,
    small_config,
)
from tests.snapshots.history.conftest import changes_in, readings, scan, short_segments

LAWS = settings(max_examples=20, deadline=None)


def plain(rows: tuple[Change, ...]) -> list[tuple[int, object, object]]:
    return [(row.step, row.old, row.new) for row in rows]


def all_changes(index: ChangeIndex, text: str) -> list[tuple[int, object, object]]:
    timeline = index.timeline
    of = compile_text(text, timeline.machine)
    return plain(run_now(index.changes(of, timeline.first_step, timeline.end_step)))


def check_everything(timeline: Timeline, texts: list[str] | None = None) -> int:
    """Hold all changes of all expressions against the slow model; returns how many there were."""
    nr_changes = 0
    index = ChangeIndex(timeline)
    for text, read in readings(timeline).items():
        if texts is None or text in texts:
            expected = changes_in(scan(timeline, read), timeline.first_step)
            assert all_changes(index, text) == expected, text
            nr_changes += len(expected)
    return nr_changes


def test_every_expression_changes_when_the_slow_model_says_so(run: Timeline) -> None:
    changed = [text for text in readings(run) if all_changes(ChangeIndex(run), text)]
    assert check_everything(run) > 500
    assert len(changed) >= len(readings(run)) - 4  # nearly all of them move at all


def check_some(timeline: Timeline, data: st.DataObject, index: ChangeIndex) -> None:
    """Hold some expressions against the slow model: all changes, and both ways from some steps."""
    reads = readings(timeline)
    here = [text for text in reads if "1, 1]" not in text or 1 in timeline.machine.cpus]
    here = [text for text in here if "cpu[1]" not in text or 1 in timeline.machine.cpus]
    for text in data.draw(st.lists(st.sampled_from(here), min_size=1, max_size=4, unique=True)):
        rows = changes_in(scan(timeline, reads[text]), timeline.first_step)
        of = compile_text(text, timeline.machine)
        for at in data.draw(st.lists(st.integers(0, timeline.end_step), max_size=4)):
            last, following = run_now(index.last(of, at)), run_now(index.next(of, at))
            back = [row for row in rows if row[0] <= at]
            forth = [row for row in rows if row[0] > at]
            assert plain((last,) if last else ()) == back[-1:], (text, at)
            assert plain((following,) if following else ()) == forth[:1], (text, at)
        assert all_changes(index, text) == rows, text


def check_random_run(
    config: MachineConfig,
    actions: list[Action],
    later: list[Action],
    inputs: int,
    data: st.DataObject,
) -> None:
    with short_segments(inputs):
        old = recorded(config, [*BUSY[:14], *actions])
        known = ChangeIndex(old)
        check_some(old, data, known)
        old.seek(data.draw(st.integers(0, old.end_step)))
        branch = old.fork()
        play(branch, later)
        branch.advance(NO_LIMIT)
        index = ChangeIndex(branch, slice_s=data.draw(st.sampled_from([0, 0.01])))
        index.adopt(known)
        names = [type(branch.event_at(number).event).__name__ for number in range(branch.nr_events)]
        if "PercpuCreateChunk" in names and "PercpuAllocPercpu" in names:
            check_some(branch, data, index)
        old.seek(old.end_step)
        check_some(old, data, known)


RUNS = {
    "config": CONFIGS, "actions": SCHEDULES, "later": SCHEDULES, "inputs": st.sampled_from([1, 3, 7]),
    "data": st.data(),
}  # fmt: skip


@LAWS
@given(**RUNS)
def test_changes_of_random_runs_and_their_branches_are_those_of_a_scan(**drawn: object) -> None:
    check_random_run(**drawn)  # type: ignore[arg-type]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(**RUNS)
def test_changes_of_many_random_runs_are_those_of_a_scan(**drawn: object) -> None:
    check_random_run(**drawn)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["chunk[0].free_bytes", "chunk[1].exists", "percpu.nr_chunks"])
def test_last_and_next_find_the_neighbours_from_every_step(run: Timeline, text: str) -> None:
    steps = [step for step, _, _ in changes_in(scan(run, readings(run)[text]), run.first_step)]
    of = compile_text(text, run.machine)
    index = ChangeIndex(run)
    for at in range(run.first_step, run.end_step + 1):
        last, following = run_now(index.last(of, at)), run_now(index.next(of, at))
        assert (last.step if last else None) == max((s for s in steps if s <= at), default=None)
        assert (following.step if following else None) == min(
            (s for s in steps if s > at), default=None
        )
        fresh = ChangeIndex(run)
        if at % 29 == 0:
            assert run_now(fresh.last(of, at)) == last
            assert run_now(ChangeIndex(run).next(of, at)) == following


@pytest.mark.parametrize("text", ["chunk[0].free_bytes", "chunk[1].free_bytes < 20000", "fault"])
def test_a_bound_hides_what_lies_beyond_it(run: Timeline, text: str) -> None:
    steps = [step for step, _, _ in changes_in(scan(run, readings(run)[text]), run.first_step)]
    of, index = compile_text(text, run.machine), ChangeIndex(run)
    near = sorted({step + off for step in (*steps[::5], 0, run.end_step) for off in (-1, 0, 1)})
    for at in near:
        for bound in near:
            last = run_now(index.last(of, at, least=bound))
            following = run_now(index.next(of, at, most=bound))
            back = [step for step in steps if bound <= step <= at]
            inside = [step for step in steps if at < step <= bound]
            assert (last.step if last else None) == max(back, default=None), (at, bound)
            assert (following.step if following else None) == min(inside, default=None), (at, bound)
            found = plain(run_now(index.changes(of, at, bound)))
            assert [step for step, _, _ in found] == inside, (at, bound)
        fresh = run_now(ChangeIndex(run).last(of, at, least=near[3]))
        assert fresh == run_now(index.last(of, at, least=near[3]))


@pytest.mark.parametrize(
    "text", ["chunk[1].free_bytes < 20000", "step & 6", "chunk[1].nr_populated"]
)
def test_a_condition_becomes_true_where_a_scan_says_so_both_ways(run: Timeline, text: str) -> None:
    truth = [bool(value) for value in scan(run, readings(run)[text])]
    risen = [step for step in range(1, len(truth)) if truth[step] and not truth[step - 1]]
    assert risen
    of, index = compile_text(text, run.machine), ChangeIndex(run)
    for at in range(run.first_step, run.end_step + 1):
        back = run_now(index.last(of, at - 1, wanted=becomes_true))
        forth = run_now(index.next(of, at, wanted=becomes_true))
        assert (back.step if back else None) == max((s for s in risen if s < at), default=None)
        assert (forth.step if forth else None) == min((s for s in risen if s > at), default=None)


def test_a_run_that_grows_is_known_further(run: Timeline) -> None:
    with short_segments(4):
        timeline = Timeline(boot(small_config(cpus=2)))
        index, texts = (
            ChangeIndex(timeline),
            ["chunk[0].free_bytes", "nr_events", "percpu.nr_chunks"],
        )
        reads = {text: read for text, read in readings(run).items() if text in texts}
        for action in BUSY:
            play(timeline, [action])
            if len(timeline.heads) % 2 or action == ("drain",):
                for text in texts:
                    expected = changes_in(scan(timeline, reads[text]), 0)
                    assert all_changes(index, text) == expected
                    newest = run_now(
                        index.last(compile_text(text, timeline.machine), timeline.end_step)
                    )
                    assert (newest.step if newest else None) == (
                        expected[-1][0] if expected else None
                    )
        assert len(timeline.heads) > 4


def test_a_branch_is_known_for_itself_and_shares_what_came_before() -> None:
    with short_segments(4):
        old = recorded(small_config(cpus=2), BUSY)
        known = ChangeIndex(old)
        of = compile_text("chunk[0].free_bytes", old.machine)
        before = all_changes(known, of.text)
        old.seek(old.end_step * 2 // 3)
        branch = old.fork()
        branch.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))
        branch.advance(NO_LIMIT)
        index = ChangeIndex(branch)
        index.adopt(known)
        found = all_changes(index, of.text)
        assert 0 < index.nr_steps_scanned < branch.end_step / 2
        read = readings(branch)[of.text]
        assert found == changes_in(scan(branch, read), 0) != before
        old.seek(old.end_step)
        assert all_changes(known, of.text) == before == changes_in(scan(old, read), 0)


def test_steps_that_a_followed_file_takes_back_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(100):
        worker, journal = Worker(small_config(cpus=3), 3), Journal.begin(path)
        for _ in range(5):
            worker.timeline.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))
        worker.timeline.advance(7)  # calls are under way
        journal.note(worker.tree, Origin(), {}, worker.place())
        opened = open_recording(path)
        opened.timeline.seek(NO_LIMIT)
        opened.timeline.advance(NO_LIMIT)
        index, text = ChangeIndex(opened.timeline), "percpu.nr_alloc"
        beyond = all_changes(index, text)
        for size_bytes in (8, 16, 32):
            worker.timeline.give("pcpu_alloc", 1, (size_bytes, 8, False, 0xCC0, "here"))
            worker.timeline.advance(worker.timeline.step + 3)
        worker.timeline.advance(NO_LIMIT)
        journal.note(worker.tree, Origin(), {}, worker.place())
        opened.follow()
        now = all_changes(ChangeIndex(opened.timeline), text)
        assert now[: len(beyond)] != beyond  # the file tells it otherwise
        assert all_changes(index, text) == now
        journal.remove()


def test_a_run_from_a_file_is_known_as_well(run: Timeline, tmp_path) -> None:
    path = tmp_path / "run.kms"
    save_timeline(path, run, Origin())
    opened = open_recording(path)
    with opened.reader:
        texts = ["chunk[0].free_bytes", "percpu.nr_chunks", "nr_events[percpu_free_percpu]"]
        assert check_everything(opened.timeline, texts) > 30


def test_the_timeline_stands_still_and_a_second_question_is_a_look_up(run: Timeline) -> None:
    run.seek(run.end_step // 2)
    here, digest = run.step, state_digest(run.machine)
    index = ChangeIndex(run, slice_s=0)
    of = compile_text("percpu.nr_chunks", run.machine)
    slices = list(index.changes(of, 0, run.end_step))
    assert len(slices) > 20  # it gives way
    assert slices == sorted(slices)
    scanned = index.nr_steps_scanned
    assert scanned == run.end_step - run.first_step
    list(index.changes(of, 0, run.end_step))
    assert index.nr_steps_scanned == scanned
    search = index.changes(compile_text("fault", run.machine), 0, run.end_step)
    next(search)
    search.close()
    assert (run.step, state_digest(run.machine)) == (here, digest)
    run.seek(run.end_step)


def test_a_question_given_up_half_way_is_answered_right_later(run: Timeline) -> None:
    of = compile_text("chunk[0].free_bytes", run.machine)
    expected = all_changes(ChangeIndex(run), of.text)
    for given_up_after in range(1, 40, 3):
        index = ChangeIndex(run, slice_s=0)
        search = index.last(of, run.end_step, least=0, wanted=lambda row: False)
        for _ in range(given_up_after):
            next(search, None)
        search.close()
        run_now(index.next(compile_text("nr_events", run.machine), 3))  # moves the scout elsewhere
        assert all_changes(index, of.text) == expected


def test_progress_of_a_way_back_goes_back(run: Timeline) -> None:
    index = ChangeIndex(run, slice_s=0)
    of = compile_text("fault", run.machine)
    here = list(index.last(of, run.end_step))
    assert here[0] > here[-1] and run.first_step <= here[-1]
    assert max(here) <= run.end_step


def test_what_is_kept_is_bounded_and_still_right(run: Timeline) -> None:
    index = ChangeIndex(run, rows_max=30)
    texts = ["chunk[0].free_bytes", "nr_events", "step & 4"]
    expected = {text: all_changes(ChangeIndex(run), text) for text in texts}
    for text in texts * 2:
        assert all_changes(index, text) == expected[text]
        nr_rows = sum(1 + len(stretch.rows) for stretch in index._kept.values())
        assert nr_rows == index._nr_rows
        largest = max(len(stretch.rows) for stretch in index._kept.values())
        assert nr_rows <= 30 + 1 + largest


def test_a_change_tells_who_made_it(run: Timeline) -> None:
    of = compile_text("chunk[0].free_bytes", run.machine)
    rows = run_now(ChangeIndex(run).changes(of, 0, run.end_step))
    for row in rows:
        assert row.do in ("pcpu_alloc", "free_percpu"), row
        assert (row.new > row.old) == (row.do == "free_percpu")  # type: ignore[operator]
        events = [at for n in range(run.nr_events) if (at := run.event_at(n)).step == row.step]
        assert len(row.events) == len({type(at.event) for at in events})
        assert all(at.cpu == row.cpu for at in events)
    freed = [row for row in rows if row.do == "free_percpu"]
    assert freed and all("percpu_free_percpu" in row.events for row in freed)
    purges = run_now(
        ChangeIndex(run).changes(compile_text("vmalloc.nr_lazy", run.machine), 0, run.end_step)
    )
    assert "purge_vmap" in [row.do for row in purges]


def test_the_value_at_a_step_is_that_of_the_model(run: Timeline) -> None:
    for text in ("chunk[1].nr_populated", "percpu.nr_chunks", "work.queued_cpu", "fault"):
        values = scan(run, readings(run)[text])
        index, of = ChangeIndex(run), compile_text(text, run.machine)
        for step in (*range(0, run.end_step, 7), run.end_step, 3):
            assert run_now(index.value_at(of, step)) == values[step], (text, step)


def test_the_present_is_seen_with_all_that_happened_before(run: Timeline) -> None:
    index = ChangeIndex(run)
    for text in (
        "nr_events",
        "nr_events[percpu_free_percpu]",
        *(t for t in readings(run) if "gener" in t),
    ):
        of, read = compile_text(text, run.machine), readings(run)[text]
        for step in range(0, run.end_step + 1, 17):
            run.seek(step)
            assert of.get(run_now(index.sight_at_present(of))) == read(run), (text, step)
    run.seek(run.end_step)


def test_rows_are_in_order_and_no_more_than_asked_for(run: Timeline) -> None:
    of = compile_text("step", run.machine)
    rows = run_now(ChangeIndex(run).changes(of, 0, run.end_step, rows_max=25))
    assert len(rows) == 25
    assert all(one.step + 1 == other.step for one, other in pairwise(rows))
