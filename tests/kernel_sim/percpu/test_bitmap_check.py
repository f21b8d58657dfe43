from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.bitmap_check import (
    check_chunk,
    check_chunk_areas,
    check_counts,
    check_lists,
    chunk_pages,
)

Build = Callable[..., Any]


def busy(small_kernel: Build) -> Any:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space(leave=0)
    kernel.alloc(4096)
    return kernel


def test_a_sound_allocator_passes(small_kernel: Build) -> None:
    machine = busy(small_kernel).machine
    for chunk in machine.percpu.chunks.values():
        check_chunk(chunk)
    check_lists(machine.percpu)
    check_counts(machine)
    check_chunk_areas(machine)
    nr_backed = sum(c.nr_populated for c in machine.percpu.chunks.values() if c.number > 0)
    pages = list(chunk_pages(machine))
    assert len(pages) == nr_backed * len(machine.places.cpus)
    assert len({page.pfn for page in pages}) == len(pages)


def test_damage_is_named(small_kernel: Build) -> None:
    machine = busy(small_kernel).machine
    chunk = machine.percpu.chunks[1]
    chunk.md.first_free += 1
    with pytest.raises(InvariantBroken, match="chunk 1: first_free"):
        check_chunk(chunk)
    machine.percpu.nr_populated += 1
    with pytest.raises(InvariantBroken, match="nr_populated"):
        check_counts(machine)
    chunk.slot += 1
    with pytest.raises(InvariantBroken, match="chunk 1: slot"):
        check_lists(machine.percpu)
    chunk.populated ^= 1 << chunk.nr_pages - 1
    with pytest.raises(InvariantBroken, match="populated is"):
        list(chunk_pages(machine))
    chunk.data = (0x1000,)
    with pytest.raises(InvariantBroken, match="no area in use starts at 0x1000"):
        check_chunk_areas(machine)
