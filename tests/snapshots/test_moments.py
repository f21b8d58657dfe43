"""Moments kept near the present: few in all, pinned ones for ever, and the last one before a step."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from snapshots.moments import NEAR_STEPS, PER_OCTAVE, Moment, Moments

STEPS = st.one_of(st.integers(0, 3000), st.integers(0, 1 << 20), st.integers(0, 1 << 40))


def moment(step: int) -> Moment:
    return Moment(step, step // 7, {})


def octaves(kept: Moments) -> int:
    """How many octaves there are at most on both sides of any of these steps."""
    steps = [each.step for each in kept.kept]
    length = max(steps) - min(steps)
    return 2 * ((length // NEAR_STEPS).bit_length() + 1)


@given(st.lists(STEPS, min_size=1, max_size=120), st.lists(STEPS, max_size=5))
def test_their_number_grows_with_the_logarithm(steps: list[int], pinned: list[int]) -> None:
    moments = Moments()
    for step in pinned:
        moments.pin(step)
    for step in steps:
        moments.keep(moment(step))
        assert len(moments) <= PER_OCTAVE * octaves(moments) + len(moments.pinned)
        assert moments.has(step), "the one just kept"
        held = [each.step for each in moments.kept]
        assert held == sorted(set(held))


@given(st.lists(STEPS, max_size=60), st.lists(STEPS, min_size=1, max_size=20))
def test_before_is_what_a_scan_finds(steps: list[int], asked: list[int]) -> None:
    moments = Moments()
    for step in steps:
        moments.keep(moment(step))
    for step in asked:
        wanted = [each for each in moments.kept if each.step <= step]
        assert moments.before(step) == (wanted[-1] if wanted else None)
        assert moments.has(step) == any(each.step == step for each in moments.kept)


@given(st.lists(STEPS, min_size=1, max_size=80), STEPS, st.data())
def test_a_pinned_moment_stays(steps: list[int], pinned: int, data: st.DataObject) -> None:
    moments = Moments()
    moments.keep(moment(pinned))
    moments.pin(pinned)
    for step in steps:
        moments.keep(moment(step))
        assert moments.has(pinned)
    moments.unpin(pinned)
    for step in range(60 * PER_OCTAVE):
        moments.keep(moment((1 << 50) + step))
    assert len(moments) <= PER_OCTAVE * octaves(moments)


def test_the_nearest_to_the_present_stay_and_far_ones_are_spread() -> None:
    moments = Moments()
    for step in range(0, 100_000, 10):
        moments.keep(moment(step))
    steps = [each.step for each in moments.kept]
    near = [step for step in steps if step > 99_990 - NEAR_STEPS]
    assert 99_990 in near and PER_OCTAVE <= len(near) <= PER_OCTAVE + 1  # what is here, and behind
    assert 2 * PER_OCTAVE < len(steps) <= PER_OCTAVE * octaves(moments)
    assert steps[0] == 0
    gaps = [after - before for before, after in pairwise(steps)]
    assert max(gaps) < 60_000 and max(gaps[-3:]) < NEAR_STEPS


def test_who_goes_back_finds_moments_there_again() -> None:
    moments = Moments()
    for step in range(0, 20_000, 10):
        moments.keep(moment(step))
    for step in range(5000, 4500, -10):
        moments.keep(moment(step))
    near = [each.step for each in moments.kept if abs(each.step - 4510) < NEAR_STEPS]
    assert len(near) >= PER_OCTAVE


def test_a_branch_takes_the_moments_before_it() -> None:
    moments = Moments()
    for step in (5, 10, 20):
        moments.keep(moment(step))
        moments.pin(step)
    branch = moments.up_to(10)
    assert [each.step for each in branch.kept] == [5, 10] and list(branch.pinned) == [5, 10]
    branch.keep(moment(7))
    branch.unpin(5)
    assert [each.step for each in moments.kept] == [5, 10, 20] and 5 in moments.pinned


def test_the_first_of_two_at_a_step_stays() -> None:
    moments = Moments()
    moments.keep(Moment(5, 1, {}))
    moments.keep(Moment(5, 2, {}))
    assert len(moments) == 1 and moments.before(9) == Moment(5, 1, {})
    assert moments.before(4) is None
