"""Fault injection: what matches, what is counted, and when it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.fault_injection import KERNEL_DEFAULTS, FaultInjection, FaultSettings
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_HIGHMEM, GFP_KERNEL, GFP_NOFAIL
from kernel_sim.random_state import RandomState


def injection(settings: FaultSettings) -> FaultInjection:
    return FaultInjection(settings, RandomState.from_seed(7))


def answers(settings: FaultSettings, count: int, order: int = 0) -> str:
    """Return a letter for every request: F failed, . did not."""
    one = injection(settings)
    return "".join(
        "F" if one.should_fail(gfp=GFP_KERNEL, order=order) else "." for _ in range(count)
    )


def test_nothing_is_set_nothing_fails_and_nothing_is_drawn() -> None:
    one = injection(FaultSettings())
    before = one.dump()
    assert not any(one.should_fail(gfp=GFP_KERNEL, order=3) for _ in range(50))
    assert one.dump() == before


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (FaultSettings(probability=100), "FFFFFFFF"),
        (FaultSettings(probability=100, times=3), "FFF....."),
        (FaultSettings(probability=100, times=0), "........"),
        (FaultSettings(probability=100, interval=3), "..F..F.."),
        (FaultSettings(probability=100, interval=2, times=2), ".F.F...."),
        (FaultSettings(probability=100, space=4), "...FFFFF"),
        (FaultSettings(nth=0), "F......."),
        (FaultSettings(nth=4), "....F..."),
        (FaultSettings(nth=2, probability=100), "..FFFFFF"),
        (FaultSettings(nth=2, probability=100, times=2), "..FF...."),
        (FaultSettings(probability=100, min_order=1), "........"),
        (KERNEL_DEFAULTS, "........"),
    ],
)
def test_the_settings_mean_what_the_kernels_do(settings: FaultSettings, expected: str) -> None:
    assert answers(settings, 8) == expected


def test_space_is_used_up_by_pages() -> None:
    assert answers(FaultSettings(probability=100, space=20), 6, order=2) == "....FF"


def test_flags_that_must_not_fail_or_are_left_out() -> None:
    def fails(gfp: int, **settings: bool) -> bool:
        return injection(FaultSettings(probability=100, **settings)).should_fail(gfp=gfp, order=0)

    assert fails(GFP_KERNEL)
    assert not fails(GFP_KERNEL | GFP_NOFAIL)
    assert fails(GFP_KERNEL | GFP_HIGHMEM)
    assert not fails(GFP_KERNEL | GFP_HIGHMEM, ignore_gfp_highmem=True)
    assert not fails(GFP_KERNEL, ignore_gfp_wait=True)
    assert fails(GFP_ATOMIC, ignore_gfp_wait=True)


def test_only_requests_of_the_named_caller_count() -> None:
    one = injection(FaultSettings(nth=1, caller="pcpu_alloc"))
    callers = ["pcpu_alloc_pages", "", "a < pcpu_alloc < b", "pcpu_alloc", "pcpu_alloc"]
    failed = [one.should_fail(gfp=GFP_KERNEL, order=0, caller=caller) for caller in callers]
    assert failed == [False, False, False, True, False]
    assert one.nr_failed == 1


def test_probability_is_roughly_kept_and_repeats_with_the_seed() -> None:
    settings = FaultSettings(probability=30)
    first = answers(settings, 2000)
    assert first == answers(settings, 2000)
    assert 500 < first.count("F") < 700


@given(
    st.builds(
        FaultSettings,
        probability=st.integers(0, 100),
        interval=st.integers(1, 4),
        times=st.integers(-1, 4),
        space=st.integers(0, 9),
        min_order=st.integers(0, 2),
        nth=st.none() | st.integers(0, 5),
        caller=st.sampled_from(["", "kmalloc"]),
    ),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "kmalloc"])), max_size=30),
    st.integers(0, 30),
)
def test_saved_anywhere_it_goes_on_the_same_way(
    settings: FaultSettings, requests: list[tuple[int, str]], saved_at: int
) -> None:
    straight, saved = injection(settings), injection(settings)
    for number, (order, caller) in enumerate(requests):
        if number == saved_at:
            saved = FaultInjection.load(saved.dump())
        wanted = straight.should_fail(gfp=GFP_KERNEL, order=order, caller=caller)
        assert saved.should_fail(gfp=GFP_KERNEL, order=order, caller=caller) == wanted
        saved.check_invariants()
    assert saved == straight
    assert saved.dump() == straight.dump()
    if settings.times >= 0:
        assert straight.nr_failed <= settings.times + (settings.nth is not None)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"probability": 101}, "probability is 101, expected 0 to 100"),
        ({"interval": 0}, "interval is 0, expected 1 or more"),
        ({"times": -2}, "times is -2, expected -1 or more"),
        ({"space": -1}, "space is -1"),
        ({"nth": -1}, "nth is -1"),
    ],
)
def test_settings_nobody_can_mean_are_refused(settings: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        FaultSettings(**settings)


def test_a_state_with_nonsense_in_it_is_refused() -> None:
    state = injection(FaultSettings()).dump()
    state["settings"]["interval"] = "often"
    with pytest.raises(ConfigError, match="interval is 'often', expected a number"):
        FaultInjection.load(state)
    state = injection(FaultSettings()).dump()
    state["settings"]["caller"] = 5
    with pytest.raises(ConfigError, match="caller 5"):
        FaultInjection.load(state)


def test_counters_out_of_reach_are_found() -> None:
    one = injection(FaultSettings(nth=3))
    one.nth_left = 4
    with pytest.raises(InvariantBroken, match="nth_left is 4"):
        one.check_invariants()
