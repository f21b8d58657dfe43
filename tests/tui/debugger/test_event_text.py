from __future__ import annotations

from kernel_sim.events import PercpuAllocPercpu, PercpuPopulate, Printk
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
    assert [argument_text(arg) for arg in (64, 0xFFFF888000000000, True, "f+0x1", b"\x01")] == [
        "64", "0xffff888000000000", "True", "f+0x1", "01",
    ]  # fmt: skip
