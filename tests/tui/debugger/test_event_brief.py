from __future__ import annotations

import pytest

from kernel_sim import events as row
from kernel_sim.modules.module_events import ModuleFree, ModuleGet, ModuleLoad, ModulePut
from tui.debugger.event_brief import event_brief
from tui.debugger.session import Session

EVERY = (
    row.PercpuAllocPercpu("f+0x1", False, True, 64, 8, 1 << 40, 16, 0x37010, 256, 0xCC0),
    row.PercpuFreePercpu(1 << 40, 16, 0x37010),
    row.PercpuAllocPercpuFail(False, True, 64, 8),
    row.PercpuCreateChunk(1 << 40),
    row.PercpuDestroyChunk(1 << 40),
    row.PercpuPopulate(1 << 40, 0, 4),
    row.PercpuDepopulate(1 << 40, 3, 4),
    row.WorkQueued("w"),
    row.WorkBegan("w"),
    row.Printk(4, "text"),
    row.MmPageAlloc(0x1F3, 0, 0xCC0, 1),
    row.MmPageFree(0x1F3, 0),
    row.TlbFlush(1, -1),
    row.PageFaultKernel(0x10, 2),
    row.KmallocNode("kmalloc_node", 0x1000, 60, 64, 0xCC0, -1),
    row.Kfree("kfree", 0x1000),
    row.AllocVmapArea(0x1000, 8192, False),
    row.FreeVmapArea(0x1000),
    row.PurgeVmapAreas(0x1000, 0x3000),
    row.CpuhpEnter(3, 235, 180, "workqueue_online_cpu"),
    row.CpuhpExit(3, 180, 180, 0),
    ModuleLoad("m", ""),
    ModuleFree("m"),
    ModuleGet("m", "f", 2),
    ModulePut("m", "f", 1),
    row.PercpuAddBlock(0xF8800000, 9, 4),
    row.PercpuFreeBlock(0xF8800000),
)


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_every_event_has_a_short_name_and_something_to_say(
    session: Session, event: row.Event
) -> None:
    name, text = event_brief(session, event)
    assert 0 < len(name) <= 6 and text
    assert name != type(event).__name__[:6]  # that is for rows that nobody knows yet


def test_every_row_of_the_catalogue_is_tried_above() -> None:
    assert [type(event) for event in EVERY] == list(row.EVENT_NAMES)


@pytest.mark.parametrize(
    ("event", "brief"),
    [
        (row.MmPageAlloc(0x1F3, 2, 0, 1), ("page+", "0x1f3 order 2 of node 1")),
        (row.MmPageAlloc(-1, 2, 0, 1), ("page!", "no page of order 2 for node 1")),
        (row.AllocVmapArea(0, 8192, True), ("vmap!", "no room for 8192 B")),
        (row.TlbFlush(1, -1), ("flush", "all, remote shootdown")),
        (row.TlbFlush(2, 5), ("flush", "5 pages, local shootdown")),
        (row.CpuhpExit(3, 147, 180, -11), ("cpuhp!", "cpu 3: 180 failed with -11")),
        (row.PercpuPopulate(1 << 40, 3, 4), ("pages+", "3 of …00000000")),
    ],
)
def test_what_failed_is_told_from_what_did_not(
    session: Session, event: row.Event, brief: tuple[str, str]
) -> None:
    assert event_brief(session, event) == brief
