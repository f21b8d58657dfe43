"""Per-CPU variables: a CPU reaches its own copy by its base register, others by the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.calls import call_table

Build = Callable[..., Any]


@pytest.mark.parametrize("backend", ["vm", "km"])
@pytest.mark.parametrize("first_chunk", ["embed", "page"])
@pytest.mark.parametrize("later_chunk", [False, True])
def test_a_write_reaches_the_cpus_own_copy_and_only_that(
    small_kernel: Build, backend: str, first_chunk: str, later_chunk: bool
) -> None:
    kernel = small_kernel(backend=backend, first_chunk=first_chunk)
    if later_chunk:
        kernel.use_up_ready_space(leave=0)
    ptr = kernel.alloc(24)
    kernel.call("this_cpu_write", ptr + 8, 0x1122334455667788, 8, cpu=2)
    for cpu in range(4):
        value = 0x1122334455667788.to_bytes(8, "little") if cpu == 2 else bytes(8)
        assert kernel.bytes_of(ptr, cpu, 24) == bytes(8) + value + bytes(8)
        assert kernel.call("this_cpu_read", ptr + 8, 8, cpu=cpu) == int.from_bytes(value, "little")
        assert kernel.call("per_cpu", ptr + 8, cpu, 8, cpu=0) == int.from_bytes(value, "little")
    kernel.check()


def test_all_copies_lie_in_different_bytes(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    for cpu in range(4):
        kernel.call("this_cpu_write", ptr, cpu + 1, 4, cpu=cpu)
    assert [kernel.call("per_cpu", ptr, cpu, 4, cpu=3) for cpu in range(4)] == [1, 2, 3, 4]


def test_an_add_is_one_step_and_wraps(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    for _ in range(3):
        kernel.call("this_cpu_add", ptr, 100, 1)
    assert kernel.call("this_cpu_read", ptr, 1) == 300 % 256
    assert kernel.call("this_cpu_read", ptr + 1, 1) == 0
    kernel.call("this_cpu_add", ptr, -45, 1)
    assert kernel.call("this_cpu_read", ptr, 1) == 255


def test_a_negative_value_is_stored_as_its_low_bytes(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    kernel.call("this_cpu_write", ptr, -2, 4)
    assert kernel.bytes_of(ptr, 0, 8) == b"\xfe\xff\xff\xff\0\0\0\0"


def test_the_address_of_another_cpus_copy_comes_from_memory(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    for cpu in range(4):
        assert kernel.call("per_cpu_ptr", ptr, cpu) == kernel.address(ptr, cpu)
    machine = kernel.machine
    phys = machine.space.translate(machine.symbol("__per_cpu_offset") + 8)
    machine.memory.write_u64(phys, 0x1000)
    assert kernel.call("per_cpu_ptr", ptr, 1) == 0x1000 + ptr


@pytest.mark.parametrize("later_chunk", [False, True])
def test_a_new_area_is_zeroed_even_if_it_was_written_before(
    small_kernel: Build, later_chunk: bool
) -> None:
    kernel = small_kernel(mode="scripted")
    if later_chunk:
        kernel.use_up_ready_space(leave=0)
    ptr = kernel.alloc(64)
    for cpu in range(4):
        kernel.call("this_cpu_write", ptr + 56, 0xFFFFFFFFFFFFFFFF, 8, cpu=cpu)
    kernel.free(ptr)
    assert kernel.bytes_of(ptr, 1, 64) != bytes(64)
    assert kernel.alloc(64) == ptr
    for cpu in range(4):
        assert kernel.bytes_of(ptr, cpu, 64) == bytes(64)


def test_pages_that_come_back_from_elsewhere_are_zeroed_where_allocated(
    small_kernel: Build,
) -> None:
    """Written, freed, depopulated, populated again: nothing of the old bytes may be seen."""
    kernel = small_kernel(mode="scripted")
    ptrs = [kernel.alloc(32768) for _ in range(3)]
    for ptr in ptrs:
        for cpu in range(4):
            for page in range(8):
                kernel.call("this_cpu_write", ptr + page * 4096 + 8, 0xAB, 1, cpu=cpu)
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.balance()
    for _ in range(6):
        ptr = kernel.alloc(16384)
        for cpu in range(4):
            for page in range(4):
                assert kernel.bytes_of(ptr + page * 4096, cpu, 64) == bytes(64)
    kernel.check()


def fault_of(kernel: Any, cpu: int, name: str, *args: Any) -> Any:
    kernel.give(cpu, name, *args)
    kernel.drain()
    fault = kernel.machine.fault
    assert fault is not None
    return fault


def test_an_access_to_an_unmapped_address_stops_the_machine(small_kernel: Build) -> None:
    kernel = small_kernel()
    addr = 1 << 40
    fault = fault_of(kernel, 3, "this_cpu_write", addr, 1, 8)
    virt = kernel.machine.cpus[3].gs_base + addr
    assert fault.reason.startswith(f"BUG: unable to handle page fault for address: {virt:016x}; ")
    assert (fault.addr, fault.error_code) == (virt, 2)
    assert (fault.cpu, fault.step) == (3, kernel.machine.step)
    assert fault.frames == ("this_cpu_write",)


@pytest.mark.parametrize("size", [0, 9, -1])
def test_an_access_of_a_strange_size_stops_the_machine(small_kernel: Build, size: int) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(64)
    fault = fault_of(kernel, 0, "this_cpu_read", ptr, size)
    assert f"read of {size} bytes" in fault.reason


def test_a_cpu_that_has_no_entry_in_the_table_has_no_copy(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    fault = fault_of(kernel, 0, "per_cpu", ptr, 77, 8)
    assert "page fault" in fault.reason


def test_a_table_out_of_reach_names_the_inner_function(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.machine.symbols["__per_cpu_offset"] = 0xFFFFFFFF00000000
    fault = fault_of(kernel, 0, "per_cpu", 64, 1, 8)
    assert fault.frames == ("per_cpu_ptr", "per_cpu")


def test_calls_have_the_kernels_names(small_kernel: Build) -> None:
    table = call_table(small_kernel().machine)
    assert list(table) == [
        "pcpu_alloc", "free_percpu", "pcpu_balance_workfn", "this_cpu_read", "this_cpu_write",
        "this_cpu_add", "per_cpu_ptr", "per_cpu", "load_module", "delete_module",
        "do_free_init", "try_module_get", "module_put", "alloc_pages", "free_pages", "drain_all_pages",
        "kmalloc_node", "kfree", "vmalloc", "vfree", "read", "write", "flush_tlb_all",
        "flush_tlb_kernel_range", "do_flush_tlb_all", "do_kernel_range_flush", "cpu_up", "cpu_down",
        "start_secondary", "take_cpu_down", "cpuhp_thread_fun",
    ]  # fmt: skip
