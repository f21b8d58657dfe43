from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_later_chunks_are_congruent_to_the_first(small_kernel: Callable[..., Any]) -> None:
    kernel = small_kernel()
    kernel.use_up_ready_space(leave=0)
    kernel.alloc(4096)
    machine = kernel.machine
    places = machine.places
    assert places.cpus == machine.topology.possible
    for cpu in places.cpus:
        first = machine.percpu.base_addr + places.unit_offsets[cpu]
        later = machine.percpu.chunks[1].base_addr + places.unit_offsets[cpu]
        assert machine.space.translate(first) is not None
        assert later - machine.percpu.chunks[1].base_addr == first - machine.percpu.base_addr
