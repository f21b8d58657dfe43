from __future__ import annotations

from kernel_sim.call import Call
from snapshots.history.call_span import call_begin, call_under_way
from snapshots.history.change_index import run_now
from snapshots.timeline import Timeline


def spans(run: Timeline) -> dict[int, int | None]:
    """The slow model: go through once, remember for every step where the call under way began."""
    begun: dict[int, int] = {}
    expected: dict[int, int | None] = {}
    calls: list[Call] = []  # kept, so that no two have one id
    run.seek(0)
    for number in range(len(run.heads)):
        run.seek(run.heads[number].first_step)
        end = run.end_step if number == len(run.heads) - 1 else run.heads[number].last_step
        while run.step < end:
            before = run.step
            run.advance(before + 1)
            for cpu in run.machine.cpus.values():
                for call in cpu.stack:
                    if call.nr_resumed and id(call) not in begun:
                        begun[id(call)] = before
                        calls.append(call)
            call = call_under_way(run.machine)
            expected[run.step] = begun[id(call)] if call is not None and call.nr_resumed else None
    return expected


def test_the_beginning_of_every_call_is_found_from_every_step(run: Timeline) -> None:
    expected = spans(run)
    assert sum(begin is not None for begin in expected.values()) > 50
    for step, begin in expected.items():
        run.seek(step)
        assert run_now(call_begin(run)) == begin, step
        assert run.step == step
    run.seek(run.end_step)


def test_a_search_gives_way_and_an_idle_machine_has_no_call(run: Timeline) -> None:
    run.seek(run.end_step)
    assert call_under_way(run.machine) is None and run_now(call_begin(run)) is None
    step = next(step for step, begin in reversed(spans(run).items()) if begin is not None)
    run.seek(step)
    assert list(call_begin(run, slice_s=0))
    run.seek(run.end_step)
