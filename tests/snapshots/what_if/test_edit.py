"""Edited runs, held against runs that were recorded so from the start."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.events import PercpuAllocPercpu, PercpuFreePercpu
from snapshots.errors import InputError
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.what_if.edit import (
    Alter,
    Configure,
    Drop,
    Edit,
    Edited,
    Move,
    argument_names,
    edited,
)
from snapshots.what_if.program import finished
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    GFP_ATOMIC,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    short_segments,
    small_config,
)

LAWS = settings(max_examples=60, deadline=None)
PICKS = st.integers(0, 1 << 16)


def edit(timeline: Timeline, *edits: Edit, keep_raw: bool = False) -> Edited:
    return finished(edited(timeline, edits, keep_raw=keep_raw))


def digest_at_end(timeline: Timeline) -> str:
    timeline.seek(timeline.end_step)
    return state_digest(timeline.machine)


def one_by_one(*calls: tuple[object, ...], config: MachineConfig | None = None) -> Timeline:
    """Calls (do, cpu, *args), each run to its end; an argument "#2" is the result of call 2."""
    timeline = Timeline(boot(config or small_config()))
    for do, cpu, *args in calls:
        words = (
            timeline.calls[int(arg[1:])].result
            if isinstance(arg, str) and arg.startswith("#")
            else arg
            for arg in args
        )
        timeline.give(str(do), int(str(cpu)), tuple(words))  # type: ignore[arg-type]
        timeline.advance(NO_LIMIT)
    return timeline


def alloc(size: int, cpu: int = 0, gfp: int = GFP_KERNEL) -> tuple[object, ...]:
    return ("pcpu_alloc", cpu, size, 8, False, gfp, "here")


def births_of_frees(timeline: Timeline) -> list[int]:
    """The sizes of what the frees freed, in order: each allocation of these tests has its own."""
    live: dict[int, int] = {}
    freed = []
    for at in events_of(timeline):
        if isinstance(at.event, PercpuAllocPercpu):
            live[at.event.ptr] = at.event.size
        elif isinstance(at.event, PercpuFreePercpu):
            freed.append(live.pop(at.event.ptr))
    return freed


@LAWS
@given(CONFIGS, SCHEDULES, st.sampled_from([3, 2048]))
def test_editing_nothing_gives_an_equal_run(
    config: MachineConfig, actions: list[Action], segment_inputs: int
) -> None:
    with short_segments(segment_inputs):
        timeline = recorded(config, actions)
        digest, inputs, events = digest_at_end(timeline), inputs_of(timeline), events_of(timeline)
        made = edit(timeline)
        assert not (made.along or made.refused or made.stopped)
        assert inputs_of(made.timeline) == inputs
        assert events_of(made.timeline) == events
        assert digest_at_end(made.timeline) == digest
        assert digest_at_end(timeline) == digest, "the old run is as it was"


@LAWS
@given(CONFIGS, SCHEDULES, PICKS)
def test_a_run_that_ends_in_the_midst_of_calls_ends_there_again(
    config: MachineConfig, actions: list[Action], stop: int
) -> None:
    timeline = recorded(config, actions)
    timeline.seek(stop % (timeline.end_step + 1))
    half = timeline.fork()
    digest, inputs = state_digest(half.machine), inputs_of(half)
    made = edit(half)
    assert inputs_of(made.timeline) == inputs
    assert digest_at_end(made.timeline) == digest


@LAWS
@given(CONFIGS, SCHEDULES, PICKS, st.integers(0, 3), PICKS)
def test_altering_back_gives_the_original(
    config: MachineConfig, actions: list[Action], pick: int, cpu: int, size: int
) -> None:
    timeline = recorded(config, actions)
    inputs = inputs_of(timeline)
    allocs = [number for number, one in enumerate(inputs) if one.do == "pcpu_alloc"]
    assume(allocs)
    number = allocs[pick % len(allocs)]
    old = inputs[number]
    digest, events = digest_at_end(timeline), events_of(timeline)
    made = edit(
        timeline, Alter(number, "cpu", cpu % len(config.cpus.possible)),
        Alter(number, "size", size), Alter(number, "size", old.args[0]), Alter(number, "cpu", old.cpu),
    )  # fmt: skip
    assert inputs_of(made.timeline) == inputs
    assert events_of(made.timeline) == events
    assert digest_at_end(made.timeline) == digest


@LAWS
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2000)), min_size=2, max_size=12), PICKS)
def test_dropping_an_input_is_the_run_recorded_without_it(
    asked: list[tuple[int, int]], pick: int
) -> None:
    config = small_config(cpus=4, policy="random", seed=3)
    calls = [alloc(4 * size, cpu) for cpu, size in asked]
    number = pick % len(calls)
    made = edit(one_by_one(*calls, config=config), Drop(number))
    other = one_by_one(*calls[:number], *calls[number + 1 :], config=config)
    assert inputs_of(made.timeline) == inputs_of(other)
    assert events_of(made.timeline) == events_of(other)
    assert digest_at_end(made.timeline) == digest_at_end(other)


@LAWS
@given(CONFIGS, SCHEDULES, PICKS)
def test_frees_free_what_they_freed_before(
    config: MachineConfig, actions: list[Action], pick: int
) -> None:
    """Every allocation gets a size of its own, by which it is known again at another place."""
    sized = [
        (what, *rest[:1], 4 * (place + 1), *rest[2:]) if what == "alloc" else (what, *rest)
        for place, (what, *rest) in enumerate(actions)
    ]
    timeline = recorded(config, sized)
    inputs = inputs_of(timeline)
    allocs = [number for number, one in enumerate(inputs) if one.do == "pcpu_alloc"]
    assume(allocs)
    gone = allocs[pick % len(allocs)]
    before = births_of_frees(timeline)
    made = edit(timeline, Drop(gone))
    after = births_of_frees(made.timeline)
    assert timeline.machine.fault is None
    assert made.timeline.machine.fault is None
    along = [inputs[left.number].do for left in made.along]
    assert all(do in ("free_percpu", "this_cpu_write") for do in along)
    assert all(size in before for size in after)
    assert inputs[gone].args[0] not in after
    assert len(after) == len(before) - along.count("free_percpu")
    assert made.timeline.nr_inputs == len(inputs) - 1 - len(along)


def test_numbers_follow_their_results_with_the_offset() -> None:
    timeline = one_by_one(
        alloc(64), alloc(128), ("this_cpu_write", 1, "#1", 7, 8), ("free_percpu", 0, "#1")
    )
    ptr = timeline.calls[1].result
    timeline.give("this_cpu_write", 0, (int(str(ptr)) + 8, 7, 8))
    timeline.advance(NO_LIMIT)
    made = edit(timeline, Alter(0, "size", 4096))
    new = made.timeline.calls[1].result
    assert new != ptr
    inputs = inputs_of(made.timeline)
    assert [inputs[at].args[0] for at in (2, 3, 4)] == [new, new, int(str(new)) + 8]


def test_who_names_what_is_gone_goes_along_or_keeps_its_number() -> None:
    timeline = one_by_one(alloc(64), alloc(64), ("free_percpu", 0, "#0"))
    made = edit(timeline, Drop(0))
    assert [left.number for left in made.along] == [2]
    assert made.timeline.nr_inputs == 1
    raw = edit(timeline, Drop(0), keep_raw=True)
    assert raw.timeline.nr_inputs == 2
    assert raw.timeline.machine.fault is None, "the other area lies there now"


def test_who_names_what_was_not_given_goes_along() -> None:
    config = small_config(dynamic_bytes=12288)
    timeline = one_by_one(alloc(16384), ("free_percpu", 0, "#0"), config=config)
    made = edit(timeline, Alter(0, "gfp", GFP_ATOMIC))
    assert made.timeline.calls[0].result == 0
    assert made.along[0].number == 1 and "gave nothing" in made.along[0].why


def test_what_the_machine_refuses_is_told_and_the_rest_goes_on() -> None:
    config = MachineConfig.from_mapping(
        small_config(cpus=2).to_mapping() | {"cpus": {"possible": "0-1", "online": "0"}}, where="x"
    )
    timeline = one_by_one(("cpu_up", 0, 1), alloc(64, 1), alloc(32, 0), config=config)
    made = edit(timeline, Drop(0))
    assert [left.number for left in made.refused] == [1]
    assert [one.cpu for one in inputs_of(made.timeline)] == [0]
    assert made.numbers == {0: 2}


def test_an_edit_that_ends_in_a_fault_tells_what_was_not_given() -> None:
    timeline = one_by_one(alloc(64), ("free_percpu", 0, "#0"), alloc(8), alloc(16))
    made = edit(timeline, Move(1, before=3), Alter(1, "ptr", 0x999))
    assert made.timeline.machine.fault is not None
    assert [left.number for left in made.stopped] == [3]


def test_moving_an_input_is_the_run_recorded_so() -> None:
    config = small_config(cpus=2, policy="random")
    sizes = [alloc(64), alloc(128), alloc(256, 1), alloc(512)]
    for made in (
        edit(one_by_one(*sizes, config=config), Move(3, before=1)),
        edit(one_by_one(*sizes, config=config), Move(3, step=4)),
    ):
        other = one_by_one(sizes[0], sizes[3], sizes[1], sizes[2], config=config)
        assert inputs_of(made.timeline) == inputs_of(other)
        assert digest_at_end(made.timeline) == digest_at_end(other)


def test_moving_a_producer_behind_its_user_drops_the_user() -> None:
    timeline = one_by_one(alloc(64), ("free_percpu", 0, "#0"), alloc(8))
    made = edit(timeline, Move(0, step=timeline.end_step))
    assert [left.number for left in made.along] == [1]
    assert [one.args[0] for one in inputs_of(made.timeline)] == [8, 64]


def test_calls_that_overlapped_still_do() -> None:
    timeline = Timeline(boot(small_config(cpus=3)))
    for cpu in range(3):
        timeline.give("pcpu_alloc", cpu, (8192, 8, False, GFP_KERNEL, "here"))
        timeline.advance(timeline.step + 2)
    timeline.advance(NO_LIMIT)
    gaps = [one.step for one in inputs_of(timeline)]
    made = edit(timeline, Alter(0, "size", 16))
    assert [one.step for one in inputs_of(made.timeline)] == gaps
    dropped = edit(timeline, Drop(0))
    assert [one.step for one in inputs_of(dropped.timeline)] == [0, 2], "the next opens the stretch"


def test_a_branch_shares_what_lies_before_the_edit() -> None:
    with short_segments(2):
        timeline = recorded(small_config(cpus=4), BUSY)
        last = timeline.nr_inputs - 1
        made = edit(timeline, Alter(last, "size", 64))
        assert made.began_at > 0
        shared = inputs_of(timeline)[:last]
        assert inputs_of(made.timeline)[:last] == shared
        assert made.timeline.keyframe_parts(1) is timeline.keyframe_parts(1) or (
            made.timeline.heads[1] == timeline.heads[1]
        )


def test_another_machine_takes_all_inputs_from_boot_on() -> None:
    timeline = one_by_one(alloc(64), alloc(30000), ("free_percpu", 0, "#1"))
    old = timeline.calls[1].result
    made = edit(timeline, Configure("percpu.dynamic_bytes", 65536))
    assert made.timeline.machine is not timeline.machine
    assert made.timeline.machine.alloc_info.dyn_size_bytes > 65536 - 4096
    assert not made.along and made.timeline.machine.fault is None
    assert made.timeline.calls[1].result != old
    assert births_of_frees(made.timeline) == [30000]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Drop(9), "input 9: there is none"),
        (Move(0, before=0), "before itself"),
        (Move(0), "moved where"),
        (Alter(0, "colour", 1), "expected one of size, align, reserved, gfp, call_site, do, cpu"),
        (Alter(0, "size", "x"), "expected int"),
        (Alter(0, "size", True), "expected int"),
        (Alter(0, "cpu", 99), "no such CPU"),
        (Alter(0, "do", "kfree"), "does not take its arguments"),
        (Configure("colour", 1), "expected TABLE.KEY"),
    ],
)
def test_a_wrong_edit_says_what_was_expected(wrong: Edit, said: str) -> None:
    timeline = one_by_one(alloc(64))
    with pytest.raises(InputError, match=said):
        edit(timeline, wrong)
    assert timeline.nr_inputs == 1


def test_a_machine_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="atom_bytes"):
        edit(one_by_one(alloc(64)), Configure("percpu.atom_bytes", 5))


def test_arguments_have_the_names_of_the_kernels_parameters() -> None:
    machine = boot(small_config())
    assert argument_names(machine, "vmalloc") == ("size_bytes",)
    assert argument_names(machine, "free_pages") == ("pfn", "order")
    assert argument_names(machine, "load_module") == ("image", "name", "script")
    assert argument_names(machine, "cpu_up") == ("up",)
    assert argument_names(machine, "fail_pages") == ("after",)
    assert argument_names(machine, "no such") == ()
