from __future__ import annotations

from kernel_sim.hotplug.states import STATES
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.hotplug import hotplug_view, state_of


def standing(session: Session) -> dict[object, object]:
    table = hotplug_view(session)
    return {
        state: cpus
        for state, cpus in zip(column(table, "state"), column(table, "cpus"), strict=True)
        if cpus
    }


def test_all_steps_are_listed_between_offline_and_online(session: Session) -> None:
    states = column(hotplug_view(session), "state")
    assert states == [0, *(state.number for state in STATES), 235]
    assert standing(session) == {235: "0-3"}


def test_a_cpu_is_seen_on_its_way_up(session: Session, tell) -> None:
    tell("cpu down 3")
    assert standing(session) == {0: "3", 235: "0-2"}
    tell("cpu up 3 later", "step 6")
    seen = standing(session)
    assert seen[235] == "0-2" and 0 not in seen and len(seen) == 2
    tell("run")
    assert standing(session) == {235: "0-3"}


def test_cpus_shows_the_same_state(session: Session, tell) -> None:
    tell("cpu down 3")
    assert column(cpus_view(session), "state") == ["235 online"] * 3 + ["0 offline"]
    assert column(cpus_view(session), "online") == [True, True, True, False]


def test_masks_and_a_failure_that_was_asked_for_are_noted(boot_example) -> None:
    session = boot_example("possible-gt-online")
    topology = session.machine.topology
    note = hotplug_view(session).notes[0]
    assert note.startswith(f"possible 0-{topology.possible[-1]}; present")
    session.machine.hotplug_fail = (1, 180)
    assert "step 180 (workqueue:online) of cpu 1" in hotplug_view(session).notes[1]


def test_a_cpu_that_boot_brought_up_did_all_steps() -> None:
    assert (state_of(0, True), state_of(0, False), state_of(147, True)) == (235, 0, 147)
