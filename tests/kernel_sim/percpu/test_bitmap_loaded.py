"""A state from a stranger: what this machine cannot have come to is refused, what it has come to is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.bitmap_loaded import BootShape, check_loaded_bitmap, shape_at_boot

Build = Callable[..., Any]
Damage = Callable[[Any], object]


def busy(small_kernel: Build, backend: str) -> tuple[Any, BootShape]:
    """Return a machine with three chunks, and what boot made."""
    kernel = small_kernel(mode="scripted", backend=backend)
    shape = shape_at_boot(kernel.machine.percpu)
    kernel.use_up_ready_space(leave=0)
    for size in (4096, 8192, 30000, 30000):
        kernel.alloc(size)
    assert len(kernel.machine.percpu.chunks) > 2
    return kernel.machine, shape


@pytest.mark.parametrize("backend", ["vm", "km"])
def test_where_a_run_can_come_to_is_no_stranger(small_kernel: Build, backend: str) -> None:
    machine, shape = busy(small_kernel, backend)
    check_loaded_bitmap(machine, shape)


def chunk(of: int, /, **values: Any) -> Damage:
    return lambda percpu: [setattr(percpu.chunks[of], *each) for each in values.items()]


def percpu_has(**values: Any) -> Damage:
    return lambda percpu: [setattr(percpu, *each) for each in values.items()]


DAMAGES: list[tuple[Damage, str]] = [
    (percpu_has(first_offset=0), "offsets of the first chunk"),
    (percpu_has(free_hint_fixed=True), "offsets of the first chunk"),
    (percpu_has(next_number=1), "a number that was used"),
    (percpu_has(next_number=1 << 63), "a number that was used"),
    (percpu_has(warn_limit=11), "11 warnings"),
    (percpu_has(nr_empty_pop_pages=-(1 << 62)), "nr_empty_pop_pages"),
    (percpu_has(nr_populated=0), "nr_populated"),
    (lambda percpu: percpu.chunks.pop(0), "expected the first one"),
    (lambda percpu: setattr(percpu.statistics, "nr_max_alloc", -1), "statistics"),
    (chunk(0, base_addr=4096), "chunk 0 is"),
    (chunk(0, immutable=False), "chunk 0 is"),
    (chunk(1, number=2), "says that it is chunk 2"),
    (chunk(1, start_offset=4), "chunk 1"),
    (chunk(1, nr_alloc=7), "number of areas"),
    (chunk(1, slot=-1), "slot"),
    (chunk(1, free_bytes=-4), "free_bytes"),
    (chunk(1, nr_populated=1 << 60), "pages or bytes of"),
    (chunk(1, max_alloc_bytes=-1), "pages or bytes of"),
    (lambda percpu: setattr(percpu.chunks[1].md, "contig_hint", 1 << 60), "hints"),
    (lambda percpu: setattr(percpu.chunks[1].md, "first_free", -1), "hints"),
    (lambda percpu: setattr(percpu.chunks[1].blocks[3], "scan_hint_start", -1), "hints"),
    (chunk(1, data=()), "its memory is at"),
    (lambda percpu: percpu.chunk_by_base.clear(), "two chunks are at one address"),
]


@pytest.mark.parametrize("backend", ["vm", "km"])
@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_what_cannot_be_is_named(small_kernel: Build, backend: str, number: int) -> None:
    machine, shape = busy(small_kernel, backend)
    damage, expected = DAMAGES[number]
    damage(machine.percpu)
    with pytest.raises(InvariantBroken, match=expected):
        check_loaded_bitmap(machine, shape)


def test_a_km_chunk_begins_a_block(small_kernel: Build) -> None:
    machine, shape = busy(small_kernel, "km")
    first = machine.percpu.chunks[1]
    first.base_addr += 4096
    first.data = (first.data[0] + 1,)
    with pytest.raises(InvariantBroken, match="begins no block of order"):
        check_loaded_bitmap(machine, shape)
