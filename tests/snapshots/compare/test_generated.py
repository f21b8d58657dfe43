"""Generated work: a function of its spec, and possible at every operation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from snapshots.compare.generated import KINDS, OPS_MAX, Spec, generated_workload, read_spec
from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    StaticAccess,
    Workload,
)


def check_possible(work: Workload) -> None:
    """Nobody frees or uses what does not live, no CPU that is down does anything, no name is used twice."""
    up = set(range(work.nr_cpus))
    live: set[int] = set()
    modules: set[str] = set()
    names: set[int | str] = set()
    for operation in work.operations:
        match operation:
            case Alloc(number, size, align, _, cpu):
                assert number not in names
                assert size > 0
                assert align >= 4
                assert align & (align - 1) == 0
                assert cpu in up
                live.add(number)
                names.add(number)
            case Free(number, cpu):
                live.remove(number)
                assert cpu in up
            case Access(number, cpu, owner):
                assert number in live
                assert {cpu, owner} <= up
            case StaticAccess(offset, cpu, owner):
                assert offset >= 0
                assert {cpu, owner} <= up
            case ModuleLoad(name, size, align, nr_variables, cpu):
                assert name not in names
                assert 0 < nr_variables <= max(1, size // 4)
                assert cpu in up
                modules.add(name)
                names.add(name)
            case ModuleUnload(name, cpu):
                modules.remove(name)
                assert cpu in up
            case ModuleAccess(name, cpu, owner):
                assert name in modules
                assert {cpu, owner} <= up
            case CpuDown(cpu):
                assert cpu > 0
                up.remove(cpu)
            case CpuUp(cpu):
                assert cpu not in up
                up.add(cpu)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(KINDS)), st.integers(0, 1 << 62), st.integers(1, 400), st.integers(1, 9)
)
def test_what_is_generated_is_possible_and_as_long_as_asked(
    kind: str, seed: int, nr_operations: int, nr_cpus: int
) -> None:
    spec = Spec(kind, seed, nr_operations, nr_cpus)
    work = generated_workload(spec.text)
    assert len(work.operations) == nr_operations
    assert work.nr_cpus == nr_cpus
    check_possible(work)
    assert generated_workload(spec.text) == work


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_other_work(kind: str) -> None:
    one, two = (generated_workload(f"gen:{kind},seed={seed},ops=300") for seed in (1, 2))
    assert one.operations != two.operations


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("counters", {"Alloc", "Free", "Access", "StaticAccess"}),
        ("small", {"Alloc", "Free", "Access"}),
        (
            "mixed",
            {
                "Alloc", "Free", "Access", "StaticAccess", "ModuleLoad", "ModuleUnload", "ModuleAccess",
            },
        ),
        ("modules", {"ModuleLoad", "ModuleUnload", "ModuleAccess", "StaticAccess"}),
        ("churn", {"Alloc", "Free", "Access"}),
        ("numa-access", {"Alloc", "Free", "Access", "StaticAccess"}),
        ("hotplug", {"Alloc", "Free", "Access", "StaticAccess", "CpuDown", "CpuUp"}),
    ],
)  # fmt: skip
def test_a_kind_of_work_is_made_of_its_operations(kind: str, wanted: set[str]) -> None:
    assert set(generated_workload(f"gen:{kind},seed=3").counts) == wanted


def test_counters_are_4_to_64_bytes_and_summed_over_all_cpus() -> None:
    work = generated_workload("gen:counters,seed=5,ops=2000")
    sizes = [each.size_bytes for each in work.operations if isinstance(each, Alloc)]
    assert min(sizes) == 4
    assert max(sizes) == 64
    others = sum(isinstance(each, Access) and each.cpu != each.owner for each in work.operations)
    assert others > 20


def test_churn_gives_back_30_percent_and_makes_as_many_anew() -> None:
    work = generated_workload("gen:churn,seed=5,ops=2000")
    counts = work.counts
    nr_live = counts["Alloc"] - counts["Free"]
    first_free = next(i for i, each in enumerate(work.operations) if isinstance(each, Free))
    assert 0.6 * first_free < nr_live <= first_free
    assert counts["Free"] > 1.5 * first_free


def test_defaults_are_told() -> None:
    assert read_spec("gen:small") == Spec("small", 1, 1000, 4)
    assert generated_workload("gen:small").origin == "gen:small,seed=1,ops=1000,cpus=4"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gen:", "no kind of work ''; expected one of counters, small, mixed"),
        ("gen:mixd,seed=1", "no kind of work 'mixd'"),
        ("gen:mixed,sed=1", "'sed=1' is no setting; expected seed=…, ops=…, cpus=…"),
        ("gen:mixed,seed", "'seed' is no setting"),
        ("gen:mixed,", "'' is no setting"),
        ("gen:mixed,ops=0", f"ops=0: expected a number from 1 to {OPS_MAX}"),
        ("gen:mixed,ops=-1", "ops=-1: expected a number"),
        ("gen:mixed,ops=1e3", "ops=1e3: expected a number"),
        ("gen:mixed,seed=" + "9" * 5000, "expected a number from 0 to"),
        ("gen:mixed,seed=٣", "expected a number from 0 to"),
        ("gen:mixed,cpus=65", "cpus=65: expected a number from 1 to 64"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_would_be_right(spec: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        generated_workload(spec)
    assert said in str(caught.value)
    assert str(caught.value).startswith("gen:")
