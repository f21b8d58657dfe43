from __future__ import annotations

import asyncio

import pytest

import snapshots.timeline
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_what_is_written_on_one_cpu_is_read_there_and_on_no_other(session: Session, tell) -> None:
    tell("alloc 0 64", "write 2 0x37000 0xdead")
    assert "reads 0xdead" in tell("read 2 0x37000").lines[0]
    assert "reads 0x0" in tell("read 1 0x37000").lines[0]
    assert tell("x percpu:0x37000@2 2").table.rows[0][1] == "ad de"


def test_looking_takes_no_step(busy: Session, tell) -> None:
    step, digest = busy.step, busy.digest()
    tell("x 0xffff88803ec37000 64", "whatis percpu:0x37000", "walk 0xffff88803ec37000", "check")
    assert (busy.step, busy.digest()) == (step, digest)


def test_acting_in_the_past_begins_a_branch_and_keeps_the_old_one(busy: Session, tell) -> None:
    old, end = busy.timeline, busy.end_step
    output = tell("goto 50%", "alloc 0 8")
    assert "ptr" in output.lines[0]
    assert busy.tree.branches[0].timeline is old
    assert old.end_step == end and busy.timeline is not old


def test_alloc_takes_alignment_and_flags_in_any_order(session: Session, tell) -> None:
    tell("alloc 0 8", "alloc 0 16 atomic 4096", "alloc 1 32 reserved")
    events = [session.event(number).event for number in range(session.nr_events)]
    allocs = [event for event in events if type(event).__name__ == "PercpuAllocPercpu"]
    assert [(event.align, event.is_atomic, event.reserved) for event in allocs] == [
        (8, False, False), (4096, True, False), (8, False, True),
    ]  # fmt: skip


def test_no_room_is_an_answer_and_no_error(session: Session, tell) -> None:
    output = tell("fail-pages 0", "alloc 0 32768")
    assert output.ok and "no room for 32768 bytes" in output.lines[0]
    assert tell("fail-pages never", "alloc 0 32768").lines[0].startswith("ptr 0x")


@pytest.mark.parametrize("line", ["alloc 0 0", "alloc 0 8 24"])
def test_a_request_that_the_kernel_refuses_has_nothing_to_do_with_room(tell, line: str) -> None:
    text = "\n".join(tell(line).lines)
    assert text.startswith("refused: ") and "illegal size" in text
    assert "no room" not in text and "zones" not in text


def test_a_machine_at_a_fault_must_go_back_before_it_acts(session: Session, tell) -> None:
    tell("alloc 0 8", "free 0 0x999")
    with pytest.raises(CommandError, match="go back"):
        tell("alloc 0 8")
    tell("prev", "alloc 0 8")
    assert session.machine.fault is None
    assert len(session.tree.branches) == 2


def test_a_parked_call_holds_its_lock_until_it_is_let_go(session: Session, tell) -> None:
    tell("alloc 0 8 later", "park 0 2", "alloc 1 8 later", "run")
    rows = {row[0]: row for row in tell("locks").table.rows}
    assert rows["pcpu_alloc_mutex"][2:] == (0, "1")
    tell("unpark 0", "run")
    assert not session.machine.active


def test_a_cpu_that_is_not_online_runs_nothing(boot_example) -> None:
    session = boot_example("possible-gt-online")
    offline = max(session.machine.topology.possible)
    assert offline not in session.machine.topology.online
    with pytest.raises(CommandError, match="not online"):
        asyncio.run(execute(session, f"alloc {offline} 8"))


def test_inputs_that_wait_are_not_lost_where_a_keyframe_is_due(
    session: Session, tell, monkeypatch
) -> None:
    monkeypatch.setattr(snapshots.timeline, "KEYFRAME_EVERY_INPUTS", 3)
    tell("alloc 0 8 later", "alloc 1 8 later", "alloc 2 8 later")
    with pytest.raises(CommandError, match="run first"):
        tell("alloc 3 8 later")
    tell("run", "alloc 3 8", "goto start", "goto end")
    assert session.machine.percpu.chunks[0].nr_alloc == 4


def test_a_machine_at_a_fault_says_where_to_go_on(session: Session, tell) -> None:
    """One step back the call that faults is under way; where it was given another may be made."""
    output = tell("alloc 0 8", "load 1 0x10")
    begin = session.fault_begin_step()
    assert begin is not None and begin < session.step - 1
    assert f"goto {begin}" in output.lines[-1]
    with pytest.raises(CommandError, match=f"to step {begin}"):
        tell("alloc 0 8")
    assert not tell("back", "alloc 0 8").ok
    assert tell(f"goto {begin}", "alloc 0 8").ok and session.machine.fault is None


def test_an_access_tells_what_it_cost_the_tlb(session: Session, tell) -> None:
    tell("alloc 1 8")
    assert ": TLB miss, " in tell("read 2 0x37000").lines[0]
    assert tell("read 2 0x37000").lines[0].endswith(": TLB hit in L1")


def test_acting_in_the_past_tells_which_branch_begins_and_where(busy: Session, tell) -> None:
    step = busy.step
    lines = tell("goto 50%", "alloc 0 8").lines
    went_off = busy.tree.current.fork_step
    assert f"branch b1 begins at step {went_off}; main keeps what came after" in lines
    assert went_off < step
    assert not any("begins" in line for line in tell("alloc 0 8").lines)
    assert any("branch b2 begins" in line for line in tell("back 1", "kworker 0").lines)
