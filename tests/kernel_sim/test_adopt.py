"""Making a machine agree with a log: whatever is taken over, the machine stays sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.chunk import RESERVED
from tests.kernel_sim.whole_machines import Whole

Build = Callable[..., Any]
GFP = 0xCC0


def adopt(kernel: Any, number: int, off: int, size: int) -> int:
    """Take an area over and return its pointer."""
    kernel.knob("adopt_alloc", number, off, size, 8, GFP, "f+0x1")
    percpu = kernel.machine.percpu
    return percpu.chunks[number].base_addr + off - percpu.base_addr & (1 << 64) - 1


def test_an_area_exists_where_the_log_has_it_with_pages_and_events(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.knob("adopt_create", 0)
    kernel.machine.take_events()
    ptr = adopt(kernel, 1, 8192 - 16, 61)
    assert kernel.live_areas() == {(1, 8192 - 16): 64}
    assert kernel.taken_events() == ["percpu_populate", "percpu_alloc_percpu"]
    kernel.check()
    kernel.call("this_cpu_write", ptr, 5, 8, cpu=3)
    kernel.free(ptr)
    kernel.check()


def test_what_is_in_the_way_is_given_back(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.knob("adopt_create", 0)
    for off in (0, 64, 128, 192):
        adopt(kernel, 1, off, 64)
    adopt(kernel, 1, 100, 100)
    assert kernel.live_areas() == {(1, 0): 64, (1, 100): 100}
    kernel.check()


@pytest.mark.parametrize("number", [0, RESERVED])
def test_an_area_in_the_first_unit_can_be_taken_over(small_kernel: Build, number: int) -> None:
    kernel = small_kernel(mode="scripted")
    chunk = kernel.machine.percpu.chunks[number]
    adopt(kernel, number, chunk.start_offset + 64, 8)
    assert kernel.live_areas() == {(number, chunk.start_offset + 64): 8}
    kernel.check()


@pytest.mark.parametrize(("number", "end"), [(0, "low"), (RESERVED, "low"), (RESERVED, "high")])
def test_an_area_in_the_hidden_ends_is_refused(small_kernel: Build, number: int, end: str) -> None:
    kernel = small_kernel(mode="scripted")
    chunk = kernel.machine.percpu.chunks[number]
    hidden = chunk.start_offset if end == "low" else chunk.end_offset
    assert hidden
    off = 0 if end == "low" else chunk.nr_pages * 4096 - 64
    with pytest.raises(ConfigError):
        adopt(kernel, number, off, 64)
    kernel.check()


@pytest.mark.parametrize(
    ("number", "off", "size"), [(1, -4, 8), (1, 32764, 8), (1, 2, 8), (9, 0, 8)]
)
def test_an_area_outside_every_unit_is_refused(
    small_kernel: Build, number: int, off: int, size: int
) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.knob("adopt_create", 0)
    with pytest.raises(ConfigError):
        kernel.knob("adopt_alloc", number, off, size, 8, GFP, "f")
    kernel.check()


def test_an_adopted_area_reads_as_zeros_whatever_was_there(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    ptr = kernel.alloc(64)
    kernel.call("this_cpu_write", ptr, 0xFF, 8)
    chunk, off = kernel.machine.percpu.area_at(0, ptr)
    kernel.free(ptr)
    assert adopt(kernel, chunk.number, off, 64) == ptr
    assert kernel.bytes_of(ptr, 0, 64) == bytes(64)


def test_a_free_is_taken_over_without_afterthoughts(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    ptrs = [kernel.alloc(32768), kernel.alloc(32768)]
    assert all(ptrs)
    requests = kernel.machine.work.nr_requests
    kernel.machine.take_events()
    kernel.knob("adopt_free", 1, 0)
    kernel.knob("adopt_free", 2, 0)
    assert kernel.taken_events() == ["percpu_free_percpu"] * 2
    assert kernel.machine.work.nr_requests == requests
    kernel.check()


def test_a_free_of_nothing_is_refused_in_words(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    with pytest.raises(ConfigError):
        kernel.knob("adopt_free", 0, 4000)
    with pytest.raises(ConfigError):
        kernel.knob("adopt_free", 5, 0)
    kernel.check()


def test_a_chunk_is_made_at_the_logs_address_if_that_is_free(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    wanted = 0xFFFFE8FF00000000
    kernel.knob("adopt_create", wanted)
    kernel.knob("adopt_create", wanted)
    chunks = kernel.machine.percpu.chunks
    assert chunks[1].base_addr == wanted != chunks[2].base_addr
    assert kernel.taken_events() == ["percpu_create_chunk"] * 2
    kernel.check()


def test_a_chunk_goes_with_whatever_is_in_it(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    free_pages = kernel.nr_unused_pages() + kernel.machine.space.nr_table_pages
    kernel.knob("adopt_create", 0)
    for off in (0, 5000):
        adopt(kernel, 1, off, 64)
    kernel.check()
    kernel.machine.take_events()
    kernel.knob("adopt_destroy", 1)
    assert kernel.taken_events()[-1] == "percpu_destroy_chunk"
    assert list(kernel.machine.percpu.chunks) == [RESERVED, 0]
    now = kernel.nr_unused_pages() + kernel.machine.space.nr_table_pages
    assert now == free_pages
    kernel.check()


@pytest.mark.parametrize("number", [0, RESERVED])
def test_the_first_unit_cannot_be_destroyed(small_kernel: Build, number: int) -> None:
    kernel = small_kernel(mode="scripted")
    with pytest.raises(ConfigError):
        kernel.knob("adopt_destroy", number)
    kernel.check()
    assert kernel.alloc(8)


def test_an_adopted_isolated_chunk_counts_its_pages_once(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space(leave=0)
    pages = [kernel.alloc(4096, align=4096) for _ in range(24)]
    for ptr in pages[:15]:
        kernel.free(ptr)
    isolated = [c for c in kernel.machine.percpu.chunks.values() if c.isolated]
    assert isolated
    adopt(kernel, isolated[0].number, 0, 64)
    assert not isolated[0].isolated
    kernel.check()


def test_on_km_a_chunk_can_come_and_go_as_on_vm(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted", backend="km")
    free_pages = kernel.machine.pages.nr_free_pages
    kernel.knob("adopt_create", 0)
    adopt(kernel, 1, 0, 64)
    kernel.check()
    kernel.knob("adopt_destroy", 1)
    assert kernel.machine.pages.nr_free_pages == free_pages
    kernel.check()


def test_what_a_chunk_at_any_place_purged_is_flushed_at_once() -> None:
    whole = Whole()
    machine = whole.machine
    places = machine.places
    span = max(map(sum, zip(places.group_offsets, places.group_sizes, strict=True)))
    addr = machine.vmalloc.alloc_area(2 * span, 4096, "f")
    assert addr is not None
    left = machine.vmalloc.end + 1 - machine.vmalloc.area_of(addr).end
    assert machine.vmalloc.alloc_area(left - 3 * 4096, 4096, "f") is not None
    machine.tlbs[2].insert(addr, 12, 0x300, 0)
    machine.vmalloc.free_vm_areas((addr,))  # only a purge makes room
    assert machine.vmalloc.lazy
    whole.knob("adopt_create", 0)
    assert not machine.vmalloc.lazy
    assert machine.vmalloc.take_purged() is None
    assert machine.tlbs[2].lookup(addr) is None
