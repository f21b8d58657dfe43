"""What was exported comes back as the same recording; what was changed since is found out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import KernelSimError
from snapshots.errors import TraceError
from snapshots.export.ftrace_export import ftrace_lines
from snapshots.export.ftrace_import import ImportedReport, import_exported, is_exported_first_line
from snapshots.logs.replay import replay_path
from snapshots.opening import open_any
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    short_segments,
    small_config,
    straight_run,
)

ROOT = Path(__file__).parents[3]
ORIGIN = Origin(source="x.txt", notes=["a note"], counts={"lines": 3}, opens_at=2)


def exported(timeline: Timeline) -> list[str]:
    return "".join(ftrace_lines(timeline, ORIGIN)).splitlines(keepends=True)


def imported(lines: list[str]) -> ImportedReport:
    return import_exported(lines, "log")


def run_of(report: ImportedReport) -> Timeline:
    assert report.timeline is not None
    return report.timeline


def assert_same(one: Timeline, other: Timeline) -> None:
    assert one.machine.config == other.machine.config
    assert inputs_of(one) == inputs_of(other)
    assert events_of(one) == events_of(other)
    assert (one.first_step, one.end_step) == (other.first_step, other.end_step)


@settings(max_examples=60, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_export_and_import_give_the_same_recording_at_every_step(
    config: MachineConfig, actions: list[Action]
) -> None:
    with short_segments(5):
        timeline = recorded(config, actions)
        report = imported(exported(timeline))
        back = run_of(report)
        assert report.divergences == [] and report.ok
        assert report.nr_compared == timeline.nr_events
        assert report.origin() == ORIGIN
        assert_same(timeline, back)
        digests, _ = straight_run(config, inputs_of(timeline), timeline.end_step)
        for step in range(back.end_step, -1, -1):
            back.seek(step)
            assert state_digest(back.machine) == digests[step]


def test_inputs_that_wait_at_the_end_come_back() -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    timeline.give("pcpu_alloc", 1, (64, 8, False, 0xCC0, "late"), line=7, by="ip-7")
    back = run_of(imported(exported(timeline)))
    assert_same(timeline, back)
    assert inputs_of(back)[-1].by == "ip-7"
    timeline.advance(NO_LIMIT)
    back.advance(NO_LIMIT)
    assert state_digest(timeline.machine) == state_digest(back.machine)


def test_modules_hotplug_and_knobs_come_back() -> None:
    mapping = small_config(cpus=4).to_mapping()
    mapping["cpus"] = {"possible": "0-3", "present": "0-3", "online": "0-2"}
    modules = ROOT / "examples" / "modules"
    module, script = (modules / "hits.o").read_bytes(), (modules / "hits.script").read_text()
    timeline = Timeline(boot(MachineConfig.from_mapping(mapping, where="test")))
    timeline.give("vmalloc", 0, (5 * 4096,))
    timeline.give("cpu_up", 0, (3,))
    timeline.give("fail_page_alloc", 0, ("probability=0",), by="a #task\n-3")
    timeline.advance(NO_LIMIT)
    timeline.give("load_module", 1, (module, "hits", script))
    timeline.advance(NO_LIMIT)
    lines = exported(timeline)
    assert max(map(len, lines)) < 5000
    report = imported(lines)
    assert report.ok
    assert_same(timeline, run_of(report))
    assert state_digest(run_of(report).machine) == state_digest(timeline.machine)


def test_the_demo_comes_back_through_files(tmp_path: Path) -> None:
    opened = open_recording(ROOT / "examples" / "demo.kms")
    log = tmp_path / "demo.txt"
    log.write_text("".join(ftrace_lines(opened.timeline, opened.origin)))
    back = open_any(log)
    assert back.origin == opened.origin
    assert_same(opened.timeline, back.timeline)
    save_timeline(tmp_path / "back.kms", back.timeline, back.origin)
    again = open_recording(tmp_path / "back.kms")
    for step in (0, 1, 40000, opened.timeline.end_step):
        again.timeline.seek(step)
        opened.timeline.seek(step)
        assert state_digest(again.timeline.machine) == state_digest(opened.timeline.machine)
    again.reader.close()
    opened.reader.close()


# -- what was changed ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return exported(recorded(small_config(cpus=3), BUSY))


def place_of(lines: list[str], start: str, nth: int = 0) -> int:
    return [number for number, line in enumerate(lines) if line.startswith(start)][nth]


def test_an_event_line_that_was_edited_is_a_divergence(lines: list[str]) -> None:
    number = next(n for n, line in enumerate(lines) if ": percpu_free_percpu: " in line)
    edited = [*lines]
    edited[number] = re.sub(r"off=(\d+)", r"off=4\1", edited[number])
    report = imported(edited)
    assert not report.ok
    [row] = report.divergences
    assert (row.line_no, row.kind) == (number + 1, "event")
    assert "off=4" in row.expected and "off=4" not in row.got.replace("off=4\\d", "")


@pytest.mark.parametrize("change", ["gone", "twice", "another CPU"])
def test_event_lines_must_be_all_there_and_no_more(lines: list[str], change: str) -> None:
    number = next(n for n, line in enumerate(lines) if ": percpu_free_percpu: " in line)
    line = lines[number]
    other = re.sub(r"\[00(\d)\]", lambda found: f"[00{int(found[1]) ^ 1}]", line)
    new = {"gone": [], "twice": [line, line], "another CPU": [other]}[change]
    report = imported([*lines[:number], *new, *lines[number + 1 :]])
    assert not report.ok and run_of(report).nr_inputs


DAMAGE: list[tuple[str, Callable[[list[str]], list[str]], str]] = [
    ("cut", lambda lines: lines[:-1], "the log ends without"),
    ("cut within", lambda lines: [*lines[:-1], lines[-1][:-9]], "cut off within this line"),
    ("version", lambda lines: ["# kmemscope trace 2\n", *lines[1:]], "line 1: comments of version 2"),
    ("no machine", lambda lines: [lines[0], lines[1], *lines[3:]], "`machine` should stand before"),
    ("machine twice", lambda lines: [*lines[:3], lines[2], *lines[3:]], "`machine` for the second"),
    ("word", lambda lines: [*lines[:2], "# kmemscope what 1\n", *lines[2:]], "line 3: 'what' is no"),
    ("behind the end", lambda lines: [*lines, "# kmemscope input []\n"], "behind the end"),
    ("line behind", lambda lines: [*lines, "a line\n"], "behind the end"),
    ("schema", lambda lines: [lines[0], '# kmemscope head {"schema": 99}\n'], "schema 99"),
    ("first", lambda lines: [lines[0], '# kmemscope head {"schema": 1, "first_step": 7}\n'], "step 7"),
    ("head", lambda lines: [lines[0], "# kmemscope head 7\n"], "expected an object"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_damage_is_named_with_its_line(
    lines: list[str], name: str, damage: Callable[[list[str]], list[str]], said: str
) -> None:
    with pytest.raises(TraceError, match=r"log: line \d+: ") as caught:
        imported(damage(lines))
    assert said in str(caught.value)


@pytest.mark.parametrize("nth", [0, 9, -1])
def test_an_input_that_is_missing_is_found_out(lines: list[str], nth: int) -> None:
    number = place_of(lines, "# kmemscope input ", nth)
    with pytest.raises(TraceError):
        report = imported([*lines[:number], *lines[number + 1 :]])
        assert not report.ok


def test_an_input_that_no_machine_takes_is_an_error_with_its_line(lines: list[str]) -> None:
    number = place_of(lines, "# kmemscope input ", 3)
    for row in ('[0, "pcpu_alloc", 9, [], 0, ""]', '[0, "nothing", 0, [], 0, ""]', "[0]"):
        edited = [*lines[:number], f"# kmemscope input {row}\n", *lines[number + 1 :]]
        with pytest.raises(TraceError, match=r"log: line \d+: "):
            imported(edited)


def test_a_machine_that_cannot_be_is_refused(lines: list[str]) -> None:
    edited = [*lines[:2], '# kmemscope machine {"name": 3}\n', *lines[3:]]
    with pytest.raises(KernelSimError, match="log: machine"):
        imported(edited)


def test_an_origin_of_the_wrong_kind_is_refused(lines: list[str]) -> None:
    for body in ('{"kind": 3}', '{"notes": [1]}', '{"counts": {"a": "b"}}', '{"inferred": [1]}'):
        edited = [*lines[:3], f"# kmemscope origin {body}\n", *lines[4:]]
        with pytest.raises(TraceError, match="origin"):
            imported(edited)


def test_every_line_flipped_or_gone_ends_in_an_error_a_divergence_or_the_same_run(
    lines: list[str],
) -> None:
    timeline = run_of(imported(lines))
    for number in range(1, len(lines), 3):
        for new in ([], [lines[number][::-1]], [lines[number].replace("1", "2", 1)]):
            try:
                report = imported([*lines[:number], *new, *lines[number + 1 :]])
            except KernelSimError:
                continue
            if report.ok:
                assert inputs_of(run_of(report)) == inputs_of(timeline) or number < 5


@pytest.mark.parametrize("name", ["events", "digest"])
def test_an_end_that_says_otherwise_is_a_divergence(lines: list[str], name: str) -> None:
    end = json.loads(lines[-1].removeprefix("# kmemscope end "))
    edited = [*lines[:-1], f"# kmemscope end {json.dumps(end | {name: 7})}\n"]
    assert [row.kind for row in imported(edited).divergences] == [name]


@pytest.mark.parametrize("change", [{"inputs": 7}, {"end_step": 1 << 70}, {"end_step": 10**9}])
def test_an_end_that_the_inputs_do_not_lead_to_is_an_error(
    lines: list[str], change: dict[str, int]
) -> None:
    end = json.loads(lines[-1].removeprefix("# kmemscope end "))
    with pytest.raises(TraceError, match=f"log: line {len(lines)}: "):
        imported([*lines[:-1], f"# kmemscope end {json.dumps(end | change)}\n"])


def test_a_machine_beside_an_export_is_not_needed(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "run.txt"
    path.write_text("".join(lines))
    other = small_config(cpus=1).to_mapping()
    report = replay_path(path, other)
    assert report.ok and report.mode == "read back"
    assert len(run_of(report).machine.config.cpus.possible) == 3
    assert any("was not needed" in note for note in report.notes)


def test_only_our_first_line_is_an_export() -> None:
    assert is_exported_first_line("# kmemscope trace 1\n")
    assert is_exported_first_line("# kmemscope trace 2\n")
    assert not is_exported_first_line("# tracer: nop\n")
    assert not is_exported_first_line("")
