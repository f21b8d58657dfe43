"""The allocator's state: pointers, chunks by address, what is said of failures."""

from __future__ import annotations

import pytest

from kernel_sim.errors import DoubleFree
from kernel_sim.percpu.area_chunk import FIRST, RESERVED
from kernel_sim.percpu.area_percpu import WARN_LIMIT
from tests.kernel_sim.percpu.area_kernel import AreaKernel


@pytest.fixture
def kernel() -> AreaKernel:
    return AreaKernel()


def test_a_ptr_and_its_address_in_unit_0(kernel: AreaKernel) -> None:
    percpu = kernel.percpu
    ptr = kernel.alloc(100)
    addr = percpu.addr_of(ptr)
    assert percpu.ptr_of(addr) == ptr
    assert addr == percpu.base_addr + kernel.place(ptr)[1]
    kernel.new_chunk()
    far = kernel.alloc(65536, 1)
    assert percpu.ptr_of(percpu.addr_of(far)) == far
    assert percpu.addr_of(far) == kernel.chunks[1].base_addr


def test_on_i386_a_ptr_counts_from_the_static_section() -> None:
    kernel = AreaKernel(arch="i386")
    assert kernel.percpu.percpu_start == kernel.machine.symbol("__per_cpu_start")
    ptr = kernel.alloc(8)
    assert ptr - kernel.percpu.percpu_start == kernel.place(ptr)[1]


def test_every_address_of_unit_0_is_of_one_chunk(kernel: AreaKernel) -> None:
    percpu, base = kernel.percpu, kernel.percpu.base_addr
    later = kernel.new_chunk()
    limit = percpu.reserved_limit_bytes
    assert limit == 17892 + 8192
    expected = {
        base: RESERVED,
        base + limit - 1: RESERVED,
        base + limit: FIRST,
        base + 65535: FIRST,
        later.base_addr: later.number,
        later.base_addr + 65535: later.number,
    }
    for addr, number in expected.items():
        chunk = percpu.chunk_of(addr)
        assert chunk is not None and chunk.number == number
    for addr in (base - 1, base + 65536, later.base_addr - 1, later.base_addr + 65536):
        assert percpu.chunk_of(addr) is None


def test_only_a_live_area_is_found(kernel: AreaKernel) -> None:
    ptr = kernel.alloc(100)
    percpu = kernel.percpu
    assert percpu.find_area(ptr) == (kernel.chunks[FIRST], kernel.place(ptr)[1])
    assert percpu.find_area(ptr + 1) is None
    static = percpu.ptr_of(percpu.base_addr)
    assert percpu.find_area(static) is None, "the static section is no area"
    with pytest.raises(DoubleFree, match=r"no allocated area starts there \(chunk 0 at"):
        percpu.area_at(0, ptr + 1)
    with pytest.raises(DoubleFree, match="no chunk holds"):
        percpu.area_at(0, ptr + (1 << 30))


def test_limits(kernel: AreaKernel) -> None:
    for size, align in ((0, 4), (65537, 4), (8, 8192)):
        assert kernel.alloc(size, align) == 0
        assert kernel.log()[-1] == (
            f"<4>WARN: illegal size ({size}) or align ({align}) for percpu allocation"
        )
    assert kernel.alloc(65536, 4096)
    assert kernel.alloc(5, 0) % 1 == 0, "an alignment of 0 counts as 1"
    kernel.check()


def test_ten_failures_are_printed(kernel: AreaKernel) -> None:
    assert kernel.alloc(8192, 4, reserved=True)
    before = len(kernel.log())
    for _ in range(12):
        assert kernel.alloc(100, 8, reserved=True) == 0
    said = kernel.log()[before:]
    line = "<4>PERCPU: allocation failed, size=100 align=8, alloc from reserved chunk failed"
    assert said == [line] * WARN_LIMIT + ["<6>PERCPU: limit reached, disable warning"]
    assert kernel.event_names().count("percpu_alloc_percpu_fail") == 12


def test_locks_are_named_as_the_day_named_them() -> None:
    assert [lock.name for lock in AreaKernel().percpu.locks] == ["pcpu_alloc_mutex", "pcpu_lock"]
    early = AreaKernel(stage="v1").percpu
    assert [lock.name for lock in early.locks] == ["pcpu_mutex"]
    with pytest.raises(AssertionError):
        _ = early.spinlock
