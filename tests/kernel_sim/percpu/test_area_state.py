"""State out and in: parts that did not change stay the same objects, strangers' parts are refused."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.percpu.area_state import dump_areas, load_areas, unnoticed_change
from tests.kernel_sim.percpu.area_kernel import AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    kernel = AreaKernel()
    for size in (65536, 30000, 8, 3):
        kernel.alloc(size, 1)
    kernel.free(kernel.alloc(100, 64))
    return kernel


def test_only_what_changed_is_dumped_anew(kernel: AreaKernel) -> None:
    first = dump_areas(kernel.percpu, {})
    assert sorted(first) == [
        "system", "system.chunk.-1", "system.chunk.0", "system.chunk.1", "system.chunk.2",
    ]  # fmt: skip
    again = dump_areas(kernel.percpu, first)
    assert all(again[name] is first[name] for name in first)
    kernel.alloc(8, 8, reserved=True)
    later = dump_areas(kernel.percpu, first)
    assert [name for name in first if later[name] is not first[name]] == ["system.chunk.-1"]


@pytest.mark.parametrize("stage", ["mail", "v1", ".31", ".32"])
def test_another_machine_takes_the_state_over(stage: str) -> None:
    kernel = AreaKernel(stage=stage)
    ptrs = [kernel.alloc(size, 8) for size in (65536, 30000, 8, 3, 65536)]
    kernel.free(ptrs[0])
    parts = dump_parts(kernel.machine)
    other = AreaKernel(stage=stage)
    load_parts(other.machine, parts)
    other.check()
    assert dump_parts(other.machine) == parts
    for one in (kernel, other):
        one.free(ptrs[4])
        one.alloc(77, 4)
    assert dump_parts(other.machine) == dump_parts(kernel.machine)


def test_loading_keeps_the_chunks_that_are_as_they_were(kernel: AreaKernel) -> None:
    parts = dump_parts(kernel.machine)
    chunks = dict(kernel.chunks)
    kernel.alloc(8, 8, reserved=True)
    lock = kernel.percpu.lock
    load_parts(kernel.machine, parts)
    kept = [number for number in chunks if kernel.chunks[number] is chunks[number]]
    assert kept == [0, 1, 2]
    assert kernel.percpu.lock is lock
    assert dump_parts(kernel.machine) == parts


def test_who_hides_a_change_is_found(kernel: AreaKernel) -> None:
    cache = dump_areas(kernel.percpu, {})
    assert unnoticed_change(kernel.percpu, cache) == ""
    kernel.chunks[1].area_map.contig_hint += 4
    assert unnoticed_change(kernel.percpu, cache) == "chunk 1"


def changed(part: object, **values: object) -> dict[str, object]:
    assert isinstance(part, dict)
    return part | values


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("system", {"numbers": (-1, 0, 1, 2, 9)}, "system.chunk.9"),
        ("system", {"lists": ((),)}, "of another stage"),
        ("system", {"holders": (0,)}, "of another stage"),
        ("system", {"holders": (-1, -2)}, "cannot be"),
        ("system", {"warn_limit": "ten"}, "expected int"),
        ("system.chunk.1", {"number": 2}, "is of chunk 2"),
        ("system.chunk.1", {"nr_pages": 17}, "a chunk of 17 pages"),
        ("system.chunk.1", {"entries": (-65536, 0)}, "2 entries"),
        ("system.chunk.1", {"populated_runs": ((3, 99),)}, "pages that a unit"),
    ],
)
def test_what_no_such_machine_can_be_in_is_refused(
    kernel: AreaKernel, name: str, values: dict[str, Any], match: str
) -> None:
    parts = dump_areas(kernel.percpu, {})
    parts[name] = changed(parts[name], **values)
    with pytest.raises(KernelBug, match=match):
        load_areas(AreaKernel().percpu, parts, {})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("system.chunk.1", {"entries": (-65536, 4)}),
        ("system.chunk.1", {"base_addr": 4096}),
        ("system.chunk.1", {"data": ()}),
        ("system.chunk.1", {"slot": 3}),
        ("system.chunk.1", {"immutable": True}),
        ("system", {"next_number": 2}),
        ("system.chunk.2", {"contig_hint": 0}),
        ("system.chunk.0", {"entries": (26084, 23068)}),
        ("system.chunk.2", {"populated_runs": ()}),
        ("system.chunk.1", {"large_pfns": (512,)}),
    ],
)
def test_what_cannot_be_is_found_after_loading(
    kernel: AreaKernel, name: str, values: dict[str, Any]
) -> None:
    parts = dump_parts(kernel.machine)
    parts[name] = changed(parts[name], **values)
    other = boot(kernel.config)
    load_parts(other, parts)
    with pytest.raises(InvariantBroken):
        other.system.check_loaded()
