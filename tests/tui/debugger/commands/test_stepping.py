from __future__ import annotations

import asyncio

import pytest

from tui.debugger.commands import stepping
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_step_and_back_are_each_others_reverse(busy: Session, tell) -> None:
    tell("goto 5")
    digest = busy.digest()
    tell("step 4", "back 4")
    assert (busy.step, busy.digest()) == (5, digest)


def test_step_at_the_newest_moment_lets_the_machine_go_on(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "step 2")
    assert [cpu.current is not None for cpu in session.machine.cpus.values()] == [
        True, True, False, False,
    ]  # fmt: skip
    tell("run")
    assert not session.machine.active and session.machine.percpu.chunks[0].nr_alloc == 2


def test_calls_for_later_are_still_there_after_going_back_and_forth(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "run")
    end, digest = session.step, session.digest()
    tell("goto 1", "goto 0", "goto end")
    assert (session.step, session.digest()) == (end, digest)
    assert list(session.tree.branches) == [0]


def test_step_beyond_the_end_says_so(busy: Session, tell) -> None:
    assert "this is the end" in tell("step 100000").lines[-1]
    assert busy.step == busy.end_step
    assert "this is the start" in tell("back 100000").lines[-1]
    assert busy.step == 0


def test_next_goes_to_the_end_of_a_call_and_prev_to_its_beginning(busy: Session, tell) -> None:
    given = [busy.timeline.input_at(number).step for number in range(busy.timeline.nr_inputs)]
    tell("goto start")
    forth = [(tell("next"), busy.step)[1] for _ in given]
    assert forth == [*given[1:], busy.end_step]
    back = [(tell("prev"), busy.step)[1] for _ in given]
    assert back == list(reversed(given))


def test_event_visits_every_step_with_an_event_both_ways(busy: Session, tell) -> None:
    steps = sorted({busy.event(number).step for number in range(busy.nr_events)})
    tell("goto start")
    forth = [(tell("event"), busy.step)[1] for _ in steps]
    assert forth == steps
    tell("goto end")
    back = [(tell("prev-event"), busy.step)[1] for _ in steps[1:]]
    assert back == steps[-2::-1]
    assert "no event before this" in tell("prev-event").lines[-1]


def test_continue_stops_at_the_next_chunk_event_and_back(busy: Session, tell) -> None:
    created = [mark.step for mark in busy.marks if mark.kind == "c"]
    tell("goto start", "continue")
    assert busy.step == created[0]
    tell("goto end", "reverse-continue create")
    assert busy.step == created[-1]
    assert tell("reverse-continue fail").lines[-1] == "none before this: this is the start"


def test_until_finds_the_next_event_whose_fields_are_as_wished(busy: Session, tell) -> None:
    tell("goto start")
    output = tell("until alloc size=100 cpu=1")
    assert busy.event(busy.event_index - 1).event.size == 100
    assert "size=100" in output.lines[-1]
    tell("goto end", "reverse-until percpu_alloc_percpu size=32000")
    assert busy.event(busy.event_index - 1).event.size == 32000
    assert "no such alloc" in tell("goto start", "until alloc size=12345").lines[-1]


@pytest.mark.parametrize("text", ["50%", "#1", "@here", "end", "start", "3"])
def test_goto_takes_every_way_to_write_a_position(busy: Session, tell, text: str) -> None:
    tell("goto 3", "bookmark here", f"goto {text}")
    assert busy.step == busy.position(text)


def test_a_fault_is_told_wherever_its_step_is_shown(session: Session, tell) -> None:
    output = tell("free 0 0x12345678")
    assert not output.ok
    assert any("the machine stopped: cpu 0: free of 0x12345678" in line for line in output.lines)
    assert not tell("where").ok
    assert tell("back 1").ok
    assert not tell("step").ok


def test_event_at_the_end_tells_of_calls_under_way(session: Session, tell) -> None:
    assert tell("event").lines[-1] == "no further event: this is the end"
    tell("alloc 0 8 later")
    assert "calls under way" in tell("event").lines[-1]


@pytest.mark.parametrize(
    ("line", "start", "bound"),
    [
        ("step 9", 2, 5), ("back 9", 12, 8), ("next", 0, 2), ("prev", 12, 11), ("event", 0, 1),
        ("prev-event", 12, 11),
    ],
)  # fmt: skip
def test_every_move_stops_at_its_bound(
    busy: Session, tell, line: str, start: int, bound: int
) -> None:
    tell(f"goto {start}")
    assert tell(f"{line} --until {bound}").lines[-1] == "this is the bound that --until set"
    assert busy.step == bound
    digest = busy.digest()
    tell("goto end", f"goto {bound}")
    assert busy.digest() == digest


@pytest.mark.parametrize("line", ["step 2", "back 2", "next", "prev", "event", "prev-event"])
def test_a_bound_that_is_far_enough_changes_nothing(busy: Session, tell, line: str) -> None:
    edge = "start" if line.startswith(("back", "prev")) else "end"
    tell("goto 9", line)
    free = busy.step
    tell("goto 9")
    output = tell(f"{line} --until {edge}")
    assert busy.step == free
    assert "bound" not in output.lines[-1] or free == busy.position(edge)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("step --until end 5", "stands behind an option"),
        ("step 1 2", "'2' is too much"),
        ("step x", "'x' is no number"),
        ("next 5", "'5' is too much"),
        ("back --nix", "expected --until POSITION"),
        ("step --until 0", "lies behind the present step"),
    ],
)
def test_wrong_words_of_a_move_are_named(busy: Session, tell, line: str, text: str) -> None:
    tell("goto 5")
    with pytest.raises(CommandError, match=text):
        tell(line)


def test_finish_goes_to_the_step_at_which_the_call_under_way_ends(busy: Session, tell) -> None:
    for start in range(1, busy.end_step):
        tell(f"goto {start}")
        machine = busy.machine
        cpu = machine.cpus[machine.scheduler.last_cpu]
        if cpu.current is None:
            if not machine.active:
                with pytest.raises(CommandError, match="no call is under way"):
                    tell("finish")
            continue
        name, depth = cpu.current.name, len(cpu.stack)
        expected = start
        while len(cpu.stack) >= depth and cpu.stack[depth - 1].name == name:
            expected += 1
            busy.go_now(expected)
        tell(f"goto {start}")
        assert f"{name} on cpu {cpu.number} has ended" in tell("finish").lines
        assert busy.step == expected
        tell(f"goto {start}", f"finish --until {start}")
        assert busy.step == start


def test_finish_lets_the_machine_go_on_at_the_newest_step(session: Session, tell) -> None:
    tell("alloc 2 64 later", "step 2")
    assert session.machine.active
    assert "pcpu_alloc on cpu 2 has ended" in tell("finish").lines
    assert not session.machine.active and session.step == session.end_step


def test_finish_and_its_reverse_lead_back_and_forth(busy: Session, tell) -> None:
    tell("goto 2", "finish")
    end = busy.step
    tell("back")
    assert "begins with the next step it takes" in tell("reverse-finish").lines[-1]
    begin = busy.step
    assert not busy.machine.active
    tell("step", "finish")
    assert (busy.step, begin < 2) == (end, True)
    tell(f"goto {end - 1}")
    assert (
        tell(f"reverse-finish --until {end - 2}").lines[-1] == "this is the bound that --until set"
    )
    tell("goto start")
    with pytest.raises(CommandError, match="no call has begun here"):
        tell("reverse-finish")


def test_a_finish_that_is_given_up_stands_at_a_sound_step(
    busy: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.go_now(15)
    monkeypatch.setattr(stepping, "SLICE_S", 0)

    async def given_up() -> None:
        task = asyncio.create_task(execute(busy, "finish"))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(given_up())
    here, digest = busy.step, busy.digest()
    assert here > 15
    busy.go_now(0)
    busy.go_now(here)
    assert busy.digest() == digest
