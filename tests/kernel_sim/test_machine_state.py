"""A machine's state part by part, and back into a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.machine_state import check_cache, dump_parts, load_parts, pages_version

Build = Callable[..., Any]


def busy_kernel(small_kernel: Build, **options: Any) -> tuple[Any, list[int]]:
    kernel = small_kernel(**options)
    kernel.use_up_ready_space()
    ptrs = [kernel.alloc(size, cpu=size % 4) for size in (4096, 64, 9000, 32768, 5)]
    for cpu, ptr in enumerate(ptrs[:4]):
        kernel.call("this_cpu_write", ptr, 0x1234 + cpu, 4, cpu=cpu)
    return kernel, ptrs


def test_unchanged_parts_are_the_same_objects_in_the_next_dump(small_kernel: Build) -> None:
    kernel, ptrs = busy_kernel(small_kernel)
    before = dump_parts(kernel.machine)
    again = dump_parts(kernel.machine)
    shared = [name for name in before if before[name] is again[name]]
    assert again == before
    assert {"pages", "log", "tables", "chunk.0", "chunk.1"} <= dict.fromkeys(shared).keys()
    kernel.free(ptrs[1])
    after = dump_parts(kernel.machine)
    changed = [name for name in before if before[name] != after.get(name)]
    owner = kernel.machine.percpu.chunk_of(ptrs[1] + kernel.machine.percpu.base_addr)
    assert sorted(changed) == sorted(["clock", "percpu", f"chunk.{owner.number}"])


def test_parts_loaded_into_a_fresh_machine_make_it_the_same(small_kernel: Build) -> None:
    kernel, ptrs = busy_kernel(small_kernel)
    parts = dump_parts(kernel.machine)
    other = small_kernel()
    load_parts(other.machine, parts)
    assert dump_parts(other.machine) == parts
    other.check()
    assert [other.alloc(77, cpu=c) for c in (0, 3)] == [kernel.alloc(77, cpu=c) for c in (0, 3)]
    assert dump_parts(other.machine) == dump_parts(kernel.machine)
    assert other.call("this_cpu_read", ptrs[0], 4, cpu=0) == 0x1234


def test_going_back_and_running_again_gives_the_same_future(small_kernel: Build) -> None:
    kernel, ptrs = busy_kernel(small_kernel, policy="random", seed=5)
    then = dump_parts(kernel.machine)
    futures = []
    for _ in range(2):
        for cpu in range(4):
            kernel.give_alloc(3000 + cpu, cpu=cpu)
            kernel.give(cpu, "free_percpu", ptrs[cpu])
        kernel.drain()
        futures.append(dump_parts(kernel.machine))
        load_parts(kernel.machine, then)
        assert dump_parts(kernel.machine) == then
    assert futures[0] == futures[1] != then


def test_a_moment_with_calls_under_way_is_refused(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    kernel.machine.run(1)
    parts = dump_parts(kernel.machine)
    with pytest.raises(KernelBug, match="only reached by running"):
        load_parts(small_kernel().machine, parts)


def test_loading_drops_what_runs(small_kernel: Build) -> None:
    kernel = small_kernel()
    rest = dump_parts(kernel.machine)
    kernel.give_alloc(8)
    kernel.give_alloc(8)
    kernel.machine.run(2)
    load_parts(kernel.machine, rest)
    assert kernel.machine.is_idle
    assert dump_parts(kernel.machine) == rest
    assert all(not cpu.stack and not cpu.pending for cpu in kernel.machine.cpus.values())
    kernel.check()


def test_loading_brings_a_stopped_machine_back_to_life(small_kernel: Build) -> None:
    kernel = small_kernel()
    rest = dump_parts(kernel.machine)
    kernel.give(0, "free_percpu", 64)
    kernel.drain()
    assert kernel.machine.fault is not None
    load_parts(kernel.machine, rest)
    assert kernel.machine.fault is None
    assert kernel.alloc(8)


def test_a_fault_is_part_of_the_state(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give(0, "free_percpu", 64)
    kernel.drain()
    clock = dump_parts(kernel.machine)["clock"]
    assert isinstance(clock, tuple)
    assert clock[-1][1:] == (0, kernel.machine.fault.reason, ("free_percpu",))


def test_calls_under_way_are_told_apart(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    seen = [dump_parts(kernel.machine)["calls"]]
    while not kernel.machine.is_idle:
        kernel.machine.run(kernel.machine.step + 1)
        seen.append(dump_parts(kernel.machine)["calls"])
    assert seen[-1] == ()
    assert len(dict.fromkeys(map(repr, seen))) == len(seen)


@pytest.mark.parametrize("backend", ["vm", "km"])
def test_a_dump_at_any_step_is_what_a_first_dump_would_be(
    small_kernel: Build, backend: str
) -> None:
    """Parts that are kept from the step before must not hide a change."""
    kernel = small_kernel(backend=backend, mode="scripted")
    ptrs = [kernel.alloc(32768) for _ in range(3)]
    for ptr in ptrs:
        for cpu in range(4):
            kernel.call("this_cpu_write", ptr, 1, 8, cpu=cpu)
        kernel.free(ptr)
    machine = kernel.machine
    kernel.knob("kworker")
    kernel.give_alloc(32768, cpu=1)
    kernel.give_alloc(32768, cpu=1)
    stale: dict[str, None] = {}
    while not machine.is_idle:
        machine.run(machine.step + 1)
        kept = dump_parts(machine)
        fresh = kernel.fresh_parts()
        for name in fresh:
            if kept[name] != fresh[name]:
                stale[f"{name} at step {machine.step}"] = None
    assert list(stale) == []


def test_a_chunk_that_gets_pages_with_old_bytes_says_so_at_once(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space(leave=0)
    machine = kernel.machine
    for zone in machine.pages.zones:
        for start, end in zone.buddy.free_ranges():
            for pfn in range(start, end):
                machine.memory.fill_page(pfn, b"\xa5" * 4096)
    kernel.give_alloc(4096)
    while not machine.is_idle:
        machine.run(machine.step + 1)
        check_cache(machine)
        dump_parts(machine)


def test_the_pages_version_changes_with_every_page_taken_or_given(small_kernel: Build) -> None:
    pages = small_kernel().machine.pages
    seen = [pages_version(pages)]
    pfn = pages.alloc_pages(gfp=0xCC0, order=0, node=0)
    seen.append(pages_version(pages))
    pages.free_pages(pfn, 0)
    seen.append(pages_version(pages))
    pages.fail_after = 3
    seen.append(pages_version(pages))
    assert len(dict.fromkeys(seen)) == 4


def test_a_chunk_that_changed_in_secret_is_found_out(small_kernel: Build) -> None:
    kernel, _ = busy_kernel(small_kernel)
    dump_parts(kernel.machine)
    check_cache(kernel.machine)
    kernel.machine.percpu.chunks[1].nr_alloc += 1
    with pytest.raises(InvariantBroken, match="chunk 1 changed without saying so"):
        check_cache(kernel.machine)


def test_a_frame_that_changed_in_secret_is_found_out(small_kernel: Build) -> None:
    kernel, _ = busy_kernel(small_kernel)
    dump_parts(kernel.machine)
    pfn = next(iter(kernel.machine.memory.frames))
    kernel.machine.memory.frames[pfn][5] ^= 1
    with pytest.raises(InvariantBroken, match=f"frame {pfn:#x} changed without saying so"):
        check_cache(kernel.machine)


def test_a_page_allocator_that_changed_in_secret_is_found_out(small_kernel: Build) -> None:
    kernel, _ = busy_kernel(small_kernel)
    dump_parts(kernel.machine)
    pages = kernel.machine.pages
    pages.numa_hit[0], pages.numa_hit[1] = pages.numa_hit[0] + 1, pages.numa_hit[1] - 1
    with pytest.raises(InvariantBroken, match="page allocator changed without saying so"):
        check_cache(kernel.machine)
