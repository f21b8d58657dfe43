"""Every machine of examples/machines boots, holds its invariants, and shows every listing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.check import check_machine
from kernel_sim.percpu.catalogue import ENTRIES
from snapshots.opening import read_config
from tests.tui.debugger.commands.test_percpu_systems import ONLY_BITMAP, lines_of
from tests.tui.system_sessions import tell
from tui.debugger.console import answer_now
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.proc import proc_names

MACHINES = Path(__file__).parents[1] / "examples" / "machines"
FILES = sorted(MACHINES.glob("*.toml"))
SMALL = [path for path in FILES if "4096" not in path.stem]  # that one is slow


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_a_machine_boots_works_and_shows_everything(path: Path) -> None:
    session = Session.boot(read_config(path))
    machine = session.machine
    online = machine.online_cpus()
    for number, size in enumerate((64, 200, 1000)):
        tell(session, f"alloc {online[number % len(online)]} {size}")
    check_machine(machine)
    assert len(list(machine.system.live_areas())) == 3
    for line in lines_of(session):
        try:
            text, _ = answer_now(session, line)
            assert text, line
        except CommandError as problem:
            assert machine.bitmap is None and f"is '{machine.system.name}'" in str(problem), line
            assert line.split()[0] in ONLY_BITMAP or line.split()[-1] in proc_names(), line


def test_every_system_has_a_machine_with_a_comment_that_says_whose_it_is() -> None:
    by_system = {read_config(path).percpu.system: path for path in SMALL}
    assert set(by_system) == {entry.name for entry in ENTRIES}
    for name, path in by_system.items():
        comment = path.read_text().partition("\n\n")[0]
        assert comment.startswith("# ")
        if name != "bitmap":
            assert any(year in comment for year in ("2005", "2006", "2009", "2010")), path
            assert any(who in comment for who in ("Thirumalai", "Rostedt", "Heo")), path


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_what_boot_prints_is_the_systems_own(path: Path) -> None:
    session = Session.boot(read_config(path))
    printed = session.machine.kernel_log
    for line in session.machine.system.boot_lines():
        assert (line.level, line.text) in printed
