"""The loader as a whole: results, roll-back, several CPUs at once, and a state machine."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import KernelBug
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.modules.module import GOING, LIVE
from kernel_sim.primitives import run_undisturbed

MODULES = Path(__file__).parents[2] / "modules"
SCRIPT = (
    "init: a = pcpu_alloc 64 8\ninit: b = pcpu_alloc 32 4\nexit: free_percpu b\nexit: free_percpu a"
)
PERMANENT = "init: a = pcpu_alloc 64 8"
ENOENT, ENOEXEC, EWOULDBLOCK, ENOMEM, EBUSY, EEXIST, EINVAL = -2, -8, -11, -12, -16, -17, -22


def test_a_module_is_loaded_used_and_unloaded(any_bench: Any) -> None:
    bench = any_bench
    assert bench.load("counter", SCRIPT) == bench.load("reader") == 0
    bench.loader.check_invariants()
    assert [module.name for module in bench.loader.modules] == ["reader", "counter"]
    counter = bench.loader.find_module("counter")
    assert (counter.state, counter.use_count, list(counter.used_by)) == (LIVE, 1, ["reader"])
    assert list(bench.loader.find_module("reader").uses) == ["counter"]
    assert bench.delete("counter") == EWOULDBLOCK
    assert bench.delete("reader") == bench.delete("counter") == 0
    assert bench.host.is_clean() and not bench.loader.modules
    assert not bench.loader.loading and bench.loader.mutex.holder == -1


def test_unknown_symbols_are_all_told(make_bench: Any, unchanged: Any) -> None:
    bench = make_bench()
    with unchanged(bench):
        assert bench.load("reader") == ENOENT
    assert bench.host.log == [
        (4, "reader: Unknown symbol counter_bump (err -2)"),
        (4, "reader: Unknown symbol counter_global (err -2)"),
    ]


def test_common_symbols_are_refused(any_bench: Any, unchanged: Any) -> None:
    with unchanged(any_bench):
        assert any_bench.load("common") == ENOEXEC
    assert any_bench.host.log == [(4, "common: please compile with -fno-common")]


def test_an_address_out_of_range_is_refused(make_bench: Any, unchanged: Any) -> None:
    bench = make_bench(symbols={"far_kernel_data": 0xFFFF888001000000})
    with unchanged(bench):
        assert bench.load("far") == ENOEXEC
    assert bench.host.texts()[0].startswith("module: overflow in relocation type 1")
    assert bench.host.texts()[1] == "module: `far' likely not compiled with -mcmodel=kernel"


def test_a_per_cpu_area_out_of_reach_is_refused(make_bench: Any, unchanged: Any) -> None:
    """A dynamic chunk is as far away: only the reserved part can hold a module's section."""
    bench = make_bench(symbols={"kernel_func": 0xFFFFFFFF81000000, "kernel_percpu": 0x607F83800000})
    with unchanged(bench):
        assert bench.load("counter") == ENOEXEC
    assert "overflow in relocation type 11 val 607f83800000" in bench.host.texts()[0]


@pytest.mark.parametrize(
    ("image", "name", "script", "err", "text"),
    [
        (b"\x7fELF", "x", "", ENOEXEC, "x: ELF header, file offset 0x0"),
        (None, "a b", "", EINVAL, "module name"),
        (None, "x", "init: what", EINVAL, "script line 1"),
    ],
)
def test_what_cannot_be_read_gives_an_error_and_a_line(
    make_bench: Any,
    unchanged: Any,
    image: bytes | None,
    name: str,
    script: str,
    err: int,
    text: str,
) -> None:
    bench = make_bench()
    data = (MODULES / "objects" / "plain-x86-64.o").read_bytes() if image is None else image
    with unchanged(bench):
        assert bench.load(name, script, data) == err
    assert text in bench.host.texts()[0]
    assert bench.host.nr_allocs == 0


def test_a_second_module_of_a_name_is_refused(bench: Any, unchanged: Any) -> None:
    assert bench.load("plain") == 0
    with unchanged(bench):
        assert bench.load("plain") == EEXIST
    bench.loader.check_invariants()


def test_a_symbol_is_exported_once(bench: Any, unchanged: Any, make_image: Any) -> None:
    assert bench.load("plain") == 0
    with unchanged(bench):
        assert bench.load("other", "", make_image("plain")) == ENOEXEC
    assert bench.host.texts() == ["other: exports duplicate symbol plain_get (owned by plain)"]
    bench.host.symbols["exporter_func"] = 0xFFFFFFFF81000000
    with unchanged(bench):
        assert bench.load("exporter") == ENOEXEC
    assert bench.host.texts()[-1].endswith("exporter_func (owned by kernel)")


def test_a_weak_symbol_is_taken_if_it_is_there(make_bench: Any) -> None:
    without, with_it = make_bench(), make_bench()
    with_it.host.symbols["optional_func"] = 0xFFFFFFFF81777770
    for bench in (without, with_it):
        assert bench.load("counter") == bench.load("reader") == 0
    assert without.section("reader", ".text") != with_it.section("reader", ".text")


def test_what_cannot_be_unloaded(bench: Any) -> None:
    assert bench.delete("nobody") == ENOENT
    assert bench.load("plain", PERMANENT) == 0
    assert bench.delete("plain") == EBUSY  # init without exit: permanent
    assert bench.load("exporter") == 0
    assert run_undisturbed(bench.loader.try_module_get(0, "exporter")) is True
    assert run_undisturbed(bench.loader.try_module_get(0, "nobody")) is False
    bench.loader.check_invariants()
    assert bench.delete("exporter") == EWOULDBLOCK
    run_undisturbed(bench.loader.module_put(0, "exporter"))
    with pytest.raises(KernelBug, match="which nobody holds"):
        run_undisturbed(bench.loader.module_put(0, "exporter"))
    assert bench.delete("exporter") == 0


def test_the_nth_allocation_fails(make_bench: Any) -> None:
    """Whatever cannot be had: -ENOMEM, nothing left, and the next try succeeds."""
    for arch in ("x86-64", "i386"):
        for n in range(20):
            bench = make_bench(arch)
            bench.host.fail_at = n
            result = bench.load("counter", SCRIPT)
            bench.loader.check_invariants()
            if result == 0:
                assert n == 5  # core, init, per-CPU section, two areas of the script
                break
            assert result == ENOMEM
            assert bench.host.is_clean() and not bench.loader.modules and not bench.loader.loading
            assert bench.load("counter", SCRIPT) == 0
        else:
            raise AssertionError("it never succeeded")


def test_the_nth_allocation_fails_for_a_module_that_uses_another(make_bench: Any) -> None:
    for n in range(5):
        bench = make_bench()
        assert bench.load("counter", SCRIPT) == 0
        before = bench.loader.dump()
        bench.host.fail_at = bench.host.nr_allocs + n
        result = bench.load("reader", PERMANENT)
        if result == 0:
            assert n == 4
            return
        assert result == ENOMEM and bench.loader.dump() == before
        bench.loader.check_invariants()
    raise AssertionError("it never succeeded")


def test_dump_and_load_make_the_same_loader(bench: Any) -> None:
    assert bench.load("counter", SCRIPT) == bench.load("reader") == 0
    state = bench.loader.dump()
    again = ModuleLoader.load(bench.host, state)
    assert again.dump() == state
    again.check_invariants()
    assert run_undisturbed(again.delete_module(0, "reader")) == 0
    assert run_undisturbed(again.delete_module(0, "counter")) == 0
    assert bench.host.is_clean()


def test_version_grows_with_every_change(bench: Any) -> None:
    seen = [bench.loader.version]
    assert bench.load("counter") == bench.load("reader") == 0
    seen.append(bench.loader.version)
    run_undisturbed(bench.loader.try_module_get(0, "reader"))
    seen.append(bench.loader.version)
    bench.load("plain", "", b"")
    assert bench.loader.version == seen[-1]
    run_undisturbed(bench.loader.module_put(0, "reader"))
    assert bench.delete("reader") == 0
    seen.append(bench.loader.version)
    assert seen == sorted(dict.fromkeys(seen))


# -- several CPUs --------------------------------------------------------------------------------------


def test_the_same_module_on_two_cpus_is_loaded_once(
    bench: Any, make_cpus: Any, make_image: Any
) -> None:
    cpus = make_cpus()
    for cpu in (0, 1, 2):
        cpus.give(cpu, bench.loader.load_module(cpu, make_image("counter"), "counter", SCRIPT))
    turn = iter(range(10**6))
    results = cpus.run(lambda runnable: runnable[next(turn) % len(runnable)])
    assert sorted(results.values()) == [EEXIST, EEXIST, 0]
    assert len(bench.host.blocks) == 1 + len(bench.loader.init_free)
    bench.loader.check_invariants()


def test_init_blocks_wait_for_the_work_and_go_in_the_order_of_loading(
    bench: Any, make_image: Any
) -> None:
    loader, host = bench.loader, bench.host
    for name in ("counter", "plain"):
        run_undisturbed(loader.load_module(2, make_image(name), name, ""))
    assert host.work == [(2, "do_free_init")] * 2
    waiting = list(loader.init_free)
    assert len(waiting) == 2 and all(addr in host.blocks for addr in waiting)
    assert ModuleLoader.load(host, loader.dump()).init_free == waiting
    run_undisturbed(loader.do_free_init(2))
    assert host.order == [f"memfree {addr:x}" for addr in waiting]
    assert loader.init_free == [] and len(host.blocks) == len(loader.modules) == 2


def test_who_waits_for_a_load_that_fails_gets_busy(
    bench: Any, make_cpus: Any, make_image: Any
) -> None:
    cpus = make_cpus()
    for cpu in (0, 1):
        cpus.give(cpu, bench.loader.load_module(cpu, make_image("reader"), "reader", ""))
    turn = iter(range(10**6))
    results = cpus.run(lambda runnable: runnable[next(turn) % len(runnable)])
    assert sorted(results.values()) == [EBUSY, ENOENT]
    assert bench.host.is_clean() and not bench.loader.modules


def test_a_user_waits_until_the_module_it_needs_is_live(
    bench: Any, make_cpus: Any, make_image: Any
) -> None:
    """Stop the first in its init; the second finds its symbols, but not ready."""
    cpus, loader = make_cpus(), bench.loader
    cpus.give(0, loader.load_module(0, make_image("counter"), "counter", SCRIPT))
    while loader.find_module("counter") is None or not loader.find_module("counter").variables:
        cpus.step(0)
    cpus.give(1, loader.load_module(1, make_image("reader"), "reader", ""))
    while 1 in cpus.runnable():
        cpus.step(1)
    assert cpus.wishes[1].name == "module_wq counter"
    assert cpus.run() == {0: 0, 1: 0}
    loader.check_invariants()


def test_a_module_on_its_way_out_cannot_be_used(
    bench: Any, make_cpus: Any, make_image: Any
) -> None:
    cpus, loader = make_cpus(), bench.loader
    assert bench.load("counter", SCRIPT) == 0
    cpus.give(0, loader.delete_module(0, "counter"))
    while loader.find_module("counter").state != GOING:
        cpus.step(0)
    cpus.give(1, loader.delete_module(1, "counter"))
    cpus.give(2, loader.load_module(2, make_image("reader"), "reader", ""))
    while 1 in cpus.paths or 2 in cpus.paths:
        cpus.step(1 if 1 in cpus.paths else 2)
    assert (cpus.results[1], cpus.results[2]) == (EBUSY, ENOENT)
    assert cpus.run()[0] == 0
    assert bench.host.is_clean()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(-1, 30))
def test_any_order_of_steps_ends_in_order(
    make_bench: Any, make_cpus: Any, make_image: Any, seed: int, fail_at: int
) -> None:
    """Three CPUs load and unload at random; nothing is lost, whoever fails."""
    chance = random.Random(seed)
    bench, cpus = make_bench(fail_at=fail_at), make_cpus()
    loader = bench.loader
    for _ in range(4):
        for cpu in range(3):
            name = chance.choice(["counter", "reader", "plain"])
            if chance.random() < 0.6:
                path = loader.load_module(cpu, make_image(name), name, SCRIPT)
            else:
                path = loader.delete_module(cpu, name)
            cpus.give(cpu, path)
        while cpus.paths:
            cpus.step(chance.choice(cpus.runnable()))
        loader.check_invariants()
        assert not loader.loading and loader.mutex.holder == -1
        assert len(bench.host.blocks) == len(loader.modules) + len(loader.init_free)
    run_undisturbed(loader.do_free_init(0))
    for name in ("reader", "counter", "plain"):
        assert bench.delete(name) in (0, ENOENT)
    assert bench.host.is_clean()


# -- against a table ------------------------------------------------------------------------------------

NEEDS = {"counter": (), "reader": ("counter",), "plain": (), "wide": (), "exporter": ()}
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["load", "load", "unload", "hold", "drop"]), st.sampled_from(sorted(NEEDS))
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(ACTIONS)
def test_the_loader_agrees_with_a_table_of_names(
    make_bench: Any, actions: list[tuple[str, str]]
) -> None:
    bench = make_bench()
    holds: dict[str, int] = {}
    for action, name in actions:
        if action == "load":
            expected = EEXIST if name in holds else 0
            if name not in holds and any(need not in holds for need in NEEDS[name]):
                expected = ENOENT
            assert bench.load(name, SCRIPT) == expected
            if expected == 0:
                holds[name] = 0
        elif action == "unload":
            used = any(name in NEEDS[user] for user in holds) or holds.get(name)
            expected = ENOENT if name not in holds else EWOULDBLOCK if used else 0
            assert bench.delete(name) == expected
            if expected == 0:
                del holds[name]
        elif action == "hold":
            assert run_undisturbed(bench.loader.try_module_get(0, name)) is (name in holds)
            if name in holds:
                holds[name] += 1
        elif holds.get(name):
            run_undisturbed(bench.loader.module_put(0, name))
            holds[name] -= 1
        assert [module.name for module in bench.loader.modules] == list(reversed(holds))
        for module in bench.loader.modules:
            users = sum(module.name in NEEDS[user] for user in holds)
            assert module.use_count == users + holds[module.name]
        bench.loader.check_invariants()
        assert len(bench.host.blocks) == len(holds)


# -- hostile input --------------------------------------------------------------------------------------


def try_to_load(bench: Any, image: bytes) -> None:
    before = bench.loader.dump()
    blocks, areas = dict(bench.host.blocks), dict(bench.host.areas)
    result = bench.load("strange", SCRIPT, image)
    bench.loader.check_invariants()
    if result:
        assert bench.loader.dump() == before
        assert (bench.host.blocks, bench.host.areas) == (blocks, areas)
    else:
        assert bench.delete(bench.loader.modules[0].name) in (0, EBUSY)


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=4)


def changed(image: bytes, changes: list[tuple[int, int]]) -> bytes:
    data = bytearray(image)
    for at, value in changes:
        data[at % len(data)] = value
    return bytes(data)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["counter", "reader", "exporter"]), st.sampled_from(["x86-64", "i386"]), CHANGES
)
def test_a_mutated_object_is_loaded_or_leaves_nothing(
    make_bench: Any, make_image: Any, name: str, arch: str, changes: list[tuple[int, int]]
) -> None:
    bench = make_bench(arch)
    assert bench.load("counter") == 0
    try_to_load(bench, changed(make_image(name, arch), changes))


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None)
@given(
    st.sampled_from(["counter", "reader", "exporter", "wide"]),
    st.sampled_from(["x86-64", "i386"]),
    CHANGES,
)
def test_a_long_campaign_of_mutated_objects(
    make_bench: Any, make_image: Any, name: str, arch: str, changes: list[tuple[int, int]]
) -> None:
    bench = make_bench(arch)
    assert bench.load("counter") == 0
    try_to_load(bench, changed(make_image(name, arch), changes))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
@pytest.mark.parametrize("arch", ["x86-64", "i386"])
def test_objects_built_today_behave_as_the_stored_ones(
    make_bench: Any, tmp_path: Path, make_image: Any, arch: str
) -> None:
    done = subprocess.run(
        ["sh", str(MODULES / "build.sh"), str(tmp_path)],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("this gcc cannot build for both processors")
    stored, today = make_bench(arch), make_bench(arch)
    for name in ("counter", "reader", "plain", "wide", "exporter", "common"):
        image = (tmp_path / f"{name}-{arch}.o").read_bytes()
        assert today.load(name, SCRIPT, image) == stored.load(name, SCRIPT)
    assert today.host.texts() == stored.host.texts()
    assert [event for _, event in today.host.events] == [event for _, event in stored.host.events]
    for mine, theirs in zip(today.loader.modules, stored.loader.modules, strict=True):
        assert (mine.name, mine.uses, sorted(mine.exports)) == (
            theirs.name, theirs.uses, sorted(theirs.exports),
        )  # fmt: skip
