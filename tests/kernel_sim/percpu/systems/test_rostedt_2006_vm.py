"""`rostedt-2006-vm`: both variants behind the protocol: references, state, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.percpu.account import account_of
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.kernel_sim.percpu.rostedt_machine import Rostedt, give_work, rostedt_config

NAME = "rostedt-2006-vm"
VARIANTS = ("hybrid", "rfc")


def machine_of(variant: str = "hybrid", **options: Any) -> Rostedt:
    return Rostedt.of(NAME, variant=variant, **options)


@pytest.fixture(params=VARIANTS)
def kernel(request: pytest.FixtureRequest) -> Rostedt:
    return machine_of(request.param)


# -- references ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "access", "own", "others"),
    [("hybrid", "array", 2, 2), ("hybrid", "register", 1, 2), ("rfc", "array", 1, 1)],
)
def test_references_of_an_access(variant: str, access: str, own: int, others: int) -> None:
    kernel = machine_of(variant, access=access)
    kernel.load("slack", 100)
    kernel.load("window", 5000)
    var = kernel.system.percpu_start + 0x40
    for ptr in (var, kernel.ptr_of("slack"), kernel.ptr_of("window")):
        for cpu in range(4):
            read = kernel.references(cpu, ptr)
            assert len(read) == own and read[-1] == kernel.system.copy_addr(ptr, cpu)
            read = kernel.references(0, ptr, cpu)
            assert len(read) == others and read[-1] == kernel.system.copy_addr(ptr, cpu)
    assert len(kernel.references(1, kernel.alloc(8))) == 2
    kernel.check()


def test_each_cpu_has_its_own_copies(kernel: Rostedt) -> None:
    kernel.load("a", 100)
    kernel.load("b", 5000)
    ptrs = [kernel.system.percpu_start + 0x120, kernel.ptr_of("a"), kernel.ptr_of("b") + 4996]
    for ptr in ptrs:
        for cpu in range(4):
            kernel.call("this_cpu_write", ptr, ptr % 97 + cpu, 4, cpu=cpu)
    for ptr in ptrs:
        values = [kernel.call("per_cpu", ptr, cpu, 4) for cpu in range(4)]
        assert values == [ptr % 97 + cpu for cpu in range(4)]


def test_the_loader_fills_every_copy_and_takes_all_back(kernel: Rostedt) -> None:
    before = account_of(kernel.machine).by_kind
    free = kernel.machine.pages.nr_free_pages
    for name, size in (("a", 2588), ("b", 9000), ("c", 300)):
        assert kernel.load(name, size) == 0
        kernel.check()
    for name in ("b", "a", "c"):
        assert kernel.system.holds(kernel.ptr_of(name))
        assert kernel.call("delete_module", name) == 0
        kernel.check()
    if dict(kernel.system.facts())["variant"] == "hybrid":
        assert account_of(kernel.machine).by_kind == before
    else:
        assert kernel.machine.pages.nr_free_pages < free, "pages are never given back"


def test_what_it_says_of_itself(kernel: Rostedt) -> None:
    system = kernel.system
    assert system.name == NAME and system.locks == () and system.work_function == ""
    with pytest.raises(KernelBug, match="no background work"):
        system.work_path(0)
    assert not system.holds(system.percpu_start)
    assert system.metadata_bytes() >= 0
    ptr = kernel.alloc(24)
    assert list(system.live_areas()) == [(ptr, 24)] and system.holds(ptr)
    kernel.call("free_percpu", ptr)
    assert not system.holds(ptr)


# -- state ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"access": "register"}, {"variant": "rfc"}])
def test_every_step_can_be_gone_back_to_and_is_as_it_was(options: dict[str, str]) -> None:
    timeline = Timeline(boot(rostedt_config(NAME, online="0-2", **options)))
    give_work(timeline, "i386")
    end = timeline.step
    assert timeline.machine.cpus[3].online
    Rostedt(timeline.machine).check()
    at = {end: state_digest(timeline.machine)}
    for step in range(end - 1, -1, -41):
        timeline.seek(step)
        at[step] = state_digest(timeline.machine)
    for step in sorted(at):
        timeline.seek(step)
        assert state_digest(timeline.machine) == at[step], step
    Rostedt(timeline.machine).check()


@pytest.mark.parametrize("options", [{}, {"access": "register"}, {"variant": "rfc"}])
def test_another_machine_takes_the_state_over_and_gives_it_back(options: dict[str, str]) -> None:
    timeline = Timeline(boot(rostedt_config(NAME, online="0-2", **options)))
    at_boot = dump_parts(timeline.machine)
    give_work(timeline, "i386")
    parts = dump_parts(timeline.machine)
    other = boot(rostedt_config(NAME, online="0-2", **options))
    load_parts(other, parts)
    other.system.check_loaded()
    assert state_digest(other) == state_digest(timeline.machine)
    assert dump_parts(other)["system"] == parts["system"]
    Rostedt(other).check()
    load_parts(other, at_boot)
    other.system.check_loaded()
    Rostedt(other).check()
    assert other.cpus[3].gs_base == other.system.base_of(3)


def test_at_every_step_the_machine_is_sound() -> None:
    timeline = Timeline(boot(rostedt_config(NAME, online="0-2", policy="random")))
    give_work(timeline, "i386")
    for step in range(0, timeline.step, 23):
        timeline.seek(step)
        Rostedt(timeline.machine).check()


def test_an_unnoticed_change_is_found() -> None:
    kernel = machine_of()
    kernel.load("m", 64)
    dump_parts(kernel.machine)
    kernel.system.vm.window.sections[0].size_bytes = 60
    with pytest.raises(InvariantBroken, match="without saying so"):
        check_cache(kernel.machine)


def test_a_state_of_another_system_is_refused(kernel: Rostedt) -> None:
    with pytest.raises(KernelBug, match="no part 'system'"):
        kernel.system.load({}, {})


# -- refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arch": "x86-64"}, "'rostedt-2006-vm' on x86-64; expected i386"),
        ({"variant": "rfc", "access": "register"}, "access: not for variant 'rfc'"),
        ({"percpu_size_bytes": 1 << 21}, "percpu_size_bytes: not for variant 'hybrid'"),
        ({"variant": "rfc", "percpu_size_bytes": 5000}, "expected whole pages"),
        ({"variant": "rfc", "percpu_size_bytes": 16384}, "for 17892 static bytes"),
        ({"variant": "rfc", "nr_cpus": 255, "memory_mib": 400}, "nr_cpus: 255 copies of 1048576"),
        (
            {"variant": "rfc", "nr_cpus": 255, "static": 1000000},
            "copies of 255 CPUs, all of NR_CPUS",
        ),
        ({"cache_line_bytes": 48}, "expected a power of two"),
        ({"static": 60 << 20}, "for the per-CPU areas"),
        ({"symbols": {"__per_cpu_start": "0xc2000010"}}, "expected a multiple of 128"),
        ({"variant": "both"}, "variant"),
        ({"static": 4 << 20, "vmalloc": {"start": "0xff000000"}}, "expected room for 4 windows"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        machine_of(**changes)


# -- everything together -------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3])
def test_no_tlb_keeps_what_was_taken_back(kernel: Rostedt, levels: int) -> None:
    variant = dict(kernel.system.facts())["variant"]
    kernel = machine_of(variant, online="0-2", tlb="pentium4", levels=levels)
    for name, size in (("a", 9000), ("b", 3000), ("c", 500)):
        assert kernel.load(name, size) == 0
        for cpu in range(3):
            kernel.call("this_cpu_write", kernel.ptr_of(name), cpu, 4, cpu=cpu)
    assert kernel.call("cpu_up", 3) == 0
    for name in ("a", "b"):
        kernel.call("this_cpu_read", kernel.ptr_of(name), 4, cpu=3)
        assert kernel.call("delete_module", name) == 0
        kernel.check()
    assert kernel.load("d", 12000) == 0
    kernel.check()


MOVES = st.one_of(
    st.tuples(st.just("load"), st.integers(1, 7000), st.sampled_from([4, 32, 128])),
    st.tuples(st.just("unload"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("up"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("down"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("alloc"), st.integers(1, 500), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 20), st.just(0)),
)


@settings(max_examples=20, deadline=None)
@given(variant=st.sampled_from(VARIANTS), moves=st.lists(MOVES, max_size=25))
def test_whatever_is_done_copies_are_distinct_hold_what_was_written_and_all_is_sound(
    variant: str, moves: list[tuple[str, int, int]]
) -> None:
    kernel = machine_of(variant, online="0-1", tlb="pentium4")
    machine, modules, expected = kernel.machine, dict[str, int](), dict[tuple[int, int], int]()
    for number, (move, value, align) in enumerate(moves):
        if move == "load":
            if kernel.load(f"m{number}", value, align) == 0:
                modules[f"m{number}"] = value
        elif move == "unload" and modules:
            name = list(modules)[value % len(modules)]
            expected = {
                key: each for key, each in expected.items() if key[0] != kernel.ptr_of(name)
            }
            assert kernel.call("delete_module", name) == 0
            del modules[name]
        elif move in ("up", "down"):
            kernel.call(f"cpu_{move}", value)
        elif move == "alloc":
            kernel.alloc(value)
        machine.pages.fail_after = value if move == "fail" else -1
        if move == "fail":
            continue
        ptrs = [kernel.ptr_of(name) for name, size in modules.items() if size >= 4]
        for ptr in (kernel.system.percpu_start + 512, *ptrs):
            for cpu in machine.online_cpus():
                if (ptr, cpu) in expected:
                    assert kernel.call("per_cpu", ptr, cpu, 4) == expected[ptr, cpu]
                expected[ptr, cpu] = number << 8 | cpu
                kernel.call("this_cpu_write", ptr, expected[ptr, cpu], 4, cpu=cpu)
        kernel.check()
