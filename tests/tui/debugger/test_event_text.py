from __future__ import annotations

from kernel_sim.events import PageFaultKernel, PercpuAllocPercpu, PercpuPopulate, Printk, TlbFlush
from tui.debugger.event_text import argument_text, event_fields


def test_an_allocation_reads_as_in_a_trace_of_linux_6_1() -> None:
    event = PercpuAllocPercpu(
        "alloc_desc+0x50/0x250", False, False, 4, 4, 0xFFFF88807B437000, 2208, 0x378A0, 16, 0xCC0
    )
    assert event_fields(event) == (
        "call_site=alloc_desc+0x50/0x250 reserved=0 is_atomic=0 size=4 align=4"
        " base_addr=ffff88807b437000 off=2208 ptr=00000000000378a0 bytes_alloc=16"
        " gfp_flags=GFP_KERNEL"
    )


def test_events_of_our_own_read_in_the_same_manner() -> None:
    text = "base_addr=ffffe8ffffc00000 page_start=0 page_end=8"
    assert event_fields(PercpuPopulate(0xFFFFE8FFFFC00000, 0, 8)) == text
    assert event_fields(Printk(4, "percpu: limit reached")) == "<4>percpu: limit reached"


def test_only_large_arguments_read_in_hex() -> None:
    assert [argument_text(arg) for arg in (64, 0xFFFF888000000000, True, "f+0x1")] == [
        "64", "0xffff888000000000", "True", "f+0x1",
    ]  # fmt: skip


def test_a_file_reads_as_its_size_and_digest_and_a_long_text_as_its_beginning() -> None:
    assert argument_text(b"\x7fELF" * 1000).startswith("[4000 bytes, sha256 ")
    assert len(argument_text(bytes(1 << 20))) < 60
    assert argument_text("init: a = pcpu_alloc 64 8\nexit: free_percpu a") == (
        "init: a = pcpu_alloc 64 8… [2 lines]"
    )
    assert len(argument_text("x" * 1000)) < 70


def test_faults_and_flushes_read_as_the_kernel_prints_them() -> None:
    text = "address=ffffc90000005000 error_code=0x2"
    assert event_fields(PageFaultKernel(0xFFFFC90000005000, 2)) == text
    assert event_fields(TlbFlush(1, -1)) == "pages:-1 reason:remote shootdown"
