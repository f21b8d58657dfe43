from __future__ import annotations

import pytest

from tui.debugger.commands.outcomes import access_cost, tlb_counters, why_no_memory
from tui.debugger.session import Session


def test_a_chunk_that_could_not_grow_is_told_with_the_kernels_line_and_the_cause(
    session: Session, tell
) -> None:
    lines = tell("fail page-alloc probability=100 times=-1", "alloc 0 32000").lines
    assert lines[0] == "no room for 32000 bytes: ptr 0"
    assert lines[1].startswith("percpu: allocation failed") and "failed to populate" in lines[1]
    assert lines[2] == "1 request for pages failed as told so far; fail page-alloc off ends that"


@pytest.mark.parametrize("line", ["pages 0", "kmalloc 64", "vmalloc 5000"])
def test_pages_that_were_told_to_be_used_up_are_named_as_the_cause(tell, line: str) -> None:
    assert "fail-pages never ends that" in "\n".join(tell("fail-pages 0", line).lines)


def test_without_a_word_of_the_kernel_the_zones_are_the_place_to_look(session: Session) -> None:
    assert why_no_memory(session, session.event_index) == ("zones tells what each zone has left",)


def test_the_cost_is_that_of_one_access(session: Session, tell) -> None:
    start = int(tell("vmalloc 4096").lines[0].split()[1].rstrip(","), 16)
    assert tell(f"load 1 {start:#x}").lines[0].endswith(": TLB miss, 4 table entries read")
    before = tlb_counters(session, 1)
    assert tell(f"store 1 {start:#x} 5").lines[0].endswith(": TLB hit in L1")
    assert access_cost(session, 1, before) == ": TLB hit in L1"
    assert access_cost(session, 1, None) == ""


def test_a_machine_without_tlbs_has_no_cost(session: Session) -> None:
    session.machine.tlbs.clear()
    assert tlb_counters(session, 0) is None and access_cost(session, 0, None) == ""
