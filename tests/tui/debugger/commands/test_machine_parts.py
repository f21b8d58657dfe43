from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tui.debugger.conftest import OBJECTS
from tui.debugger.commands import machine_parts
from tui.debugger.commands.machine_parts import module_name
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

PLAIN = OBJECTS / "plain-x86-64.o"
COUNTER = OBJECTS / "counter-x86-64.o"


def test_a_module_is_loaded_does_what_its_script_says_and_goes(session: Session, tell) -> None:
    output = tell(f"insmod {PLAIN} 'init: a = pcpu_alloc 64 8; exit: free_percpu a'")
    assert output.lines[0] == "plain_x86_64 is loaded"
    assert session.machine.modules.modules[0].variables
    assert tell("rmmod plain_x86_64").lines[0] == "plain_x86_64 is gone"
    assert not session.machine.modules.modules and not session.machine.modules.leaks


def test_a_script_may_be_a_file(session: Session, tell, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("init: a = pcpu_alloc 32 8\n")
    tell(f"insmod {PLAIN} {script}")
    assert list(session.machine.modules.modules[0].variables) == ["a"]


def test_a_module_that_the_kernel_refuses_is_told_with_what_it_printed(
    session: Session, tell
) -> None:
    lines = tell(f"insmod {COUNTER}").lines
    assert lines[0] == "counter_x86_64 could not be loaded: -ENOENT"
    assert any("Unknown symbol" in line for line in lines)
    assert session.step > 0 and not session.machine.modules.modules


@pytest.mark.parametrize("nr_bytes", [0, 3, 64, 300])
def test_a_broken_object_is_refused_before_the_machine_hears_of_it(
    session: Session, tell, tmp_path: Path, nr_bytes: int
) -> None:
    path = tmp_path / "cut.ko"
    path.write_bytes(PLAIN.read_bytes()[:nr_bytes])
    with pytest.raises(CommandError, match="file offset 0x"):
        tell(f"insmod {path}")
    assert session.step == 0 and session.timeline.nr_inputs == 0


def test_an_object_of_another_architecture_is_refused(session: Session, tell) -> None:
    with pytest.raises(CommandError, match="this machine is x86-64"):
        tell(f"insmod {OBJECTS / 'plain-i386.o'}")
    assert session.timeline.nr_inputs == 0


def test_a_bad_script_is_refused_with_line_and_column(session: Session, tell) -> None:
    with pytest.raises(CommandError, match="script line 2, column 8"):
        tell(f"insmod {PLAIN} 'init: a = pcpu_alloc 64 8; exit: nonsense'")
    assert session.timeline.nr_inputs == 0


def test_files_that_are_missing_or_too_large_are_refused(
    session: Session, tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="No such file"):
        tell(f"insmod {tmp_path / 'none.ko'}")
    monkeypatch.setattr(machine_parts, "OBJECT_BYTES_MAX", 100)
    with pytest.raises(CommandError, match="larger than 100 bytes"):
        tell(f"insmod {PLAIN}")
    assert session.timeline.nr_inputs == 0


def test_a_module_in_use_stays(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'}")
    session.machine.modules.modules[0].refcnt += 1
    assert tell("rmmod plain_x86_64").lines[0].startswith("plain_x86_64 stays: -E")
    with pytest.raises(CommandError, match="there is no module 'nix'"):
        tell("rmmod nix")


def test_a_cpu_goes_and_comes_back(session: Session, tell) -> None:
    assert tell("cpu down 3").lines[0] == "cpu 3 is offline"
    assert session.machine.online_cpus() == (0, 1, 2)
    with pytest.raises(CommandError, match="not online"):
        tell("alloc 3 8")
    assert tell("cpu up 3").lines[0] == "cpu 3 is online"
    assert tell("alloc 3 8").ok


def test_the_boot_cpu_stays_and_a_failed_step_is_undone(session: Session, tell) -> None:
    assert "-EPERM" in tell("cpu down 0").lines[0]
    tell("cpu down 3", "fail hotplug 3 180")
    assert tell("hotplug").table.notes[-1].startswith("step 180 (workqueue:online) of cpu 3")
    assert "-EAGAIN" in tell("cpu up 3").lines[0]
    assert not session.machine.cpus[3].online
    assert tell("check").ok


def test_page_allocations_fail_as_told_until_told_off(session: Session, tell) -> None:
    assert "caller=vmalloc" in tell("fail page-alloc nth=0 caller=vmalloc").lines[0]
    assert tell("vmalloc 5000").lines[0].startswith("no memory")
    assert tell("vmalloc 5000").lines[0].startswith("address")
    tell("fail page-alloc off")
    assert session.machine.pages.fault is None


@pytest.mark.parametrize(
    "line",
    ["fail page-alloc nix=1", "fail page-alloc nth=x", "fail page-alloc probability=900",
     "fail hotplug 9 180", "fail hotplug 3 181", "fail hotplug 3", "fail disk"],
)  # fmt: skip
def test_a_failure_that_cannot_be_is_refused_and_leaves_no_input(
    session: Session, tell, line: str
) -> None:
    with pytest.raises(CommandError, match="expected"):
        tell(line)
    assert session.timeline.nr_inputs == 0


@pytest.mark.parametrize(
    ("path", "name"), [("a/nf-tables.ko", "nf_tables"), ("x.o", "x"), ("veth", "veth")]
)
def test_a_file_names_a_module(path: str, name: str) -> None:
    assert module_name(path) == name


def test_a_module_may_be_loaded_step_by_step_while_a_cpu_comes_up(session: Session, tell) -> None:
    tell("cpu down 3", "cpu up 3 cpu=1 later")
    answer = tell(f"insmod {PLAIN} 'init: a = pcpu_alloc 64 8' cpu=2 later")
    assert answer.lines[-1].startswith("load_module waits on cpu 2")
    tell("step 6")
    assert [len(session.machine.cpus[cpu].stack) for cpu in (1, 2)] == [1, 1]
    tell("run")
    assert session.machine.cpus[3].online
    assert [*session.machine.modules.modules[0].variables] == ["a"]
    with pytest.raises(CommandError, match="'9' is no CPU"):
        tell(f"insmod {PLAIN} cpu=9")


def test_a_cpu_that_is_not_present_is_named_so(boot_example) -> None:
    session = boot_example("possible-gt-online")
    assert asyncio.run(execute(session, "cpu up 7")).lines[0] == "cpu 7 is not present: -EINVAL"
