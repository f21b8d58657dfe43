from __future__ import annotations

import pytest

from kernel_sim.mm.memory_access import PF_INSTR, PF_PROT, PF_RSVD, PF_USER, PF_WRITE
from tui.debugger.session import Session
from tui.debugger.views.fault import error_code_text, fault_headline, fault_lines, fault_view


def test_a_page_fault_is_told_with_reason_cr2_code_owner_and_stack(session: Session, tell) -> None:
    tell("vmalloc 4096")
    guard = session.machine.vmalloc.areas[0].start + 4096
    tell(f"store 1 {guard:#x} 5")
    rows = fault_view(session).rows
    facts = dict(rows)
    assert [value for name, value in rows if name == "reason"] == [
        f"BUG: unable to handle page fault for address: {guard:016x}",
        "#PF: supervisor write access in kernel mode",
        "#PF: error_code(0x0002) - not-present page",
    ]
    assert facts["cr2"] == f"{guard:#x}" and facts["cpu"] == "1"
    assert facts["error_code"] == "0x0002: write to a page that is not present, by the kernel"
    assert facts["owner"] == "in a vmalloc area of vmalloc, its guard page"
    assert facts["#0"] == "write"


def test_other_faults_have_no_cr2(session: Session, tell) -> None:
    tell("alloc 0 8", "free 0 0x999")
    facts = dict(fault_view(session).rows)
    assert "cr2" not in facts and facts["#0"] == "free_percpu"
    assert fault_lines(session)[0].startswith("the machine stopped: ")
    fault = session.machine.fault
    assert fault is not None and fault_headline(session, fault).startswith(
        "machine stopped on cpu 0"
    )


def test_a_machine_that_runs_has_no_fault(session: Session) -> None:
    assert fault_view(session).rows == () and fault_lines(session) == ()


def test_the_headline_says_all_in_one_line(session: Session, tell) -> None:
    tell("store 1 0x10 5")
    fault = session.machine.fault
    assert fault is not None
    assert fault_headline(session, fault) == (
        "page fault on cpu 1: write to 0x10 (not present), "
        "in the user half, which this machine does not use"
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "read of a page that is not present, by the kernel"),
        (PF_WRITE | PF_PROT, "write to a page that is forbidden, by the kernel"),
        (PF_USER | PF_PROT, "read of a page that is forbidden, by user"),
        (PF_INSTR, "fetch from a page that is not present, by the kernel"),
        (PF_RSVD | PF_PROT, "read of a page that is marked with reserved bits, by the kernel"),
    ],
)
def test_error_codes_read_as_phrases(code: int, text: str) -> None:
    assert error_code_text(code) == text
