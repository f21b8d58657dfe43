from __future__ import annotations

import pytest

from kernel_sim.percpu.stretch import DYNAMIC, HOLE
from tests.tui.system_sessions import OTHERS, SIZES, busy_session_of, ptrs_of
from tui.debugger.owners import whatis
from tui.debugger.owners_stretches import is_percpu_ptr, percpu_owner, spans_of


@pytest.mark.parametrize("system", OTHERS)
def test_every_copy_is_named_with_owner_maker_and_its_sisters(system: str) -> None:
    session = busy_session_of(system)
    machine = session.machine
    for at, ptr in enumerate(ptrs_of(session)):
        for cpu in (0, 3):
            addr = machine.system.copy_addr(ptr, cpu)
            assert addr is not None
            owner = whatis(session, addr + 4)
            assert (owner.kind, owner.cpu) == (DYNAMIC, cpu)
            assert f"copy of CPU {cpu}" in owner.summary and "kmemscope" in owner.summary
            facts = dict(owner.facts)
            assert facts["ptr"] == f"{ptr:#x}" and facts["size"] in (SIZES[at], *range(64, 1025))
            assert facts["born_cpu"] == at
            for each in range(4):
                assert facts[f"copy of CPU {each}"] == f"{machine.system.copy_addr(ptr, each):#x}"


@pytest.mark.parametrize("system", OTHERS)
def test_the_same_by_physical_address_and_by_ptr(system: str) -> None:
    session = busy_session_of(system)
    machine = session.machine
    ptr = ptrs_of(session)[1]
    addr = machine.system.copy_addr(ptr, 2)
    assert addr is not None
    by_ptr = whatis(session, f"percpu:{ptr:#x}")
    assert by_ptr.summary.startswith("a __percpu pointer: ") and by_ptr.cpu is None
    assert "copy of CPU 3" in dict(by_ptr.facts)
    assert whatis(session, f"percpu:{ptr:#x}@2+8").address == addr + 8
    phys = machine.space.translate(addr)
    assert phys is not None
    by_phys = whatis(session, f"phys:{phys:#x}")
    assert dict(by_phys.facts).get("mapped_at", f"{addr:#x}") == f"{addr:#x}"
    assert whatis(session, "percpu:0x12345678").kind == "nothing"
    assert is_percpu_ptr(machine, ptr) and not is_percpu_ptr(machine, 0x12345678)


@pytest.mark.parametrize("system", OTHERS)
def test_every_stretch_is_named_at_its_first_and_last_byte(system: str) -> None:
    session = busy_session_of(system)
    for stretch in session.machine.system.stretches():
        for addr in (stretch.addr, stretch.end - 1):
            owner = percpu_owner(session, addr)
            assert owner is not None and owner.kind == stretch.kind
            assert owner.summary.startswith(f"{stretch.strip}: {stretch.what}")
            if stretch.kind != HOLE:
                assert dict(whatis(session, addr).facts)["physical"] != "none"


@pytest.mark.parametrize("system", OTHERS)
def test_spans_cover_all_stretches_and_nothing_else(system: str) -> None:
    machine = busy_session_of(system).machine
    spans = list(spans_of(machine))
    total = sum(each.size_bytes for each in machine.system.stretches())
    assert sum(end - start for start, end in spans) == total
    for each in machine.system.stretches():
        assert any(start <= each.addr and each.end <= end for start, end in spans)


def test_static_variables_have_their_symbol() -> None:
    session = busy_session_of("legacy-static")
    machine = session.machine
    machine.symbols["runqueues"] = machine.system.percpu_start + 0x40
    addr = machine.system.copy_addr(machine.system.percpu_start + 0x44, 1)
    assert addr is not None
    owner = whatis(session, addr)
    assert dict(owner.facts)["symbol"] == "runqueues+0x4" and owner.cpu == 1
    assert whatis(session, "runqueues").kind == "static"
