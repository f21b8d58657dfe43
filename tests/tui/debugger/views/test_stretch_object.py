from __future__ import annotations

import pytest

from kernel_sim.percpu.stretch import DYNAMIC, FREE, PADDING
from tests.tui.debugger.views.test_stretch_map import strip_of
from tests.tui.system_sessions import OTHERS, busy_session_of, ptrs_of
from tui.debugger.strips import StripIndex, find_stretch
from tui.debugger.views.stretch_object import describe_stretch, main_offset
from tui.debugger.views.strip_layout import StripPlace


def test_of_a_cell_what_is_in_use_counts_else_the_largest() -> None:
    strip = strip_of((FREE, 20), (DYNAMIC, 4), (FREE, 8), (PADDING, 32))
    assert main_offset(strip, StripPlace("s", 0, 64)) == 20
    assert main_offset(strip, StripPlace("s", 24, 40)) == 32
    assert main_offset(strip, StripPlace("s", 8, 4)) == 8


@pytest.mark.parametrize("system", OTHERS)
def test_an_area_is_told_with_maker_and_copies(system: str) -> None:
    session = busy_session_of(system)
    machine = session.machine
    ptr = ptrs_of(session)[1]
    addr = machine.system.copy_addr(ptr, 1)
    assert addr is not None
    stretch = find_stretch(machine, addr)
    strip = next(each for each in StripIndex.of(machine).read_all() if stretch in each.stretches)
    place = StripPlace(strip.name, addr - strip.addr, 8)
    text = describe_stretch(session, strip, place)
    assert text.startswith(f"{strip.name} +{addr - strip.addr:#x}  ")
    for told in (f"at {addr:#x}", f"ptr {ptr:#x}", "kmemscope", "born at step", "4 in all"):
        assert told in text
    whole = describe_stretch(session, strip, StripPlace(strip.name, 0, strip.size_bytes))
    nr_more = len(strip.stretches) - 1
    assert ("more piece" in whole) == (nr_more > 0)


def test_a_static_variable_has_its_name() -> None:
    session = busy_session_of("legacy-static")
    machine = session.machine
    machine.symbols["runqueues"] = machine.system.percpu_start + 0x40
    strip = next(each for each in StripIndex.of(machine).read_all() if each.cpu == 2)
    text = describe_stretch(session, strip, StripPlace(strip.name, 0x40, 4))
    assert "runqueues" in text and f"{strip.name} +0x40  static variables" in text
