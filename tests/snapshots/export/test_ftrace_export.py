"""An exported log is a log as a real kernel prints it, and without our comments a replay finds no fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.workload import record
from kernel_sim.config import MachineConfig
from snapshots.errors import RecordingError
from snapshots.export.ftrace_export import ftrace_lines
from snapshots.logs.ftrace import parse_trace
from snapshots.logs.replay import LogJob, replay_log, replay_path
from snapshots.recording import SCHEMA, Origin, open_recording
from snapshots.rerun import Rerun
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    events_of,
    recorded,
    small_config,
)

ROOT = Path(__file__).parents[3]


def stripped(lines: list[str], prefix: str = "# kmemscope") -> list[str]:
    return [line for line in lines if line and not line.startswith(prefix)]


def exported(timeline: Timeline) -> list[str]:
    return [line for line in ftrace_lines(timeline, Origin()) if line]


def test_the_first_lines_are_these() -> None:
    timeline = recorded(small_config(), [("alloc", 1, 24, 8, 0xCC0), ("drain",)])
    lines = "".join(exported(timeline)).splitlines()
    assert lines[0] == "# kmemscope trace 1"
    assert lines[1] == f'# kmemscope head {{"schema": {SCHEMA}, "first_step": 0}}'
    assert lines[2].startswith('# kmemscope machine {"name": "small", "kernel": ')
    assert lines[3].startswith('# kmemscope origin {"kind": "session", ')
    assert lines[4:7] == ["# tracer: nop", "#", "# entries-in-buffer/entries-written: 1/1   #P:2"]
    assert lines[16:18] == [
        '# kmemscope input [0, "pcpu_alloc", 1, [24, 8, false, 3264, "here"], 0, ""]',
        "            task-2       [001] .....     0.000004: percpu_alloc_percpu: call_site=here"
        " reserved=0 is_atomic=0 size=24 align=8 base_addr=ffff888007ff1000 off=0 ptr=0000000000001000"
        " bytes_alloc=96 gfp_flags=GFP_KERNEL",
    ]
    assert lines[18].startswith('# kmemscope end {"end_step": 4, "inputs": 1, "events": 1, "dig')


@settings(max_examples=20, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_every_event_has_its_line_and_the_timeline_is_not_moved(
    config: MachineConfig, actions: list[Action]
) -> None:
    timeline = recorded(config, actions)
    half = timeline.end_step // 2
    timeline.seek(half)
    lines = stripped(exported(timeline), "#")
    assert timeline.step == half
    assert len(lines) == len(events_of(timeline))
    for at, line in zip(events_of(timeline), lines, strict=True):
        assert f"[{at.cpu:03}]" in line and f"{at.step / 1e6:.6f}: " in line


def test_the_real_demo_without_comments_is_predicted_again() -> None:
    opened = open_recording(ROOT / "examples" / "demo.kms")
    lines = [line for line in ftrace_lines(opened.timeline, opened.origin) if line]
    mapping = opened.config.to_mapping()
    opened.reader.close()
    nr_allocs = sum(": percpu_alloc_percpu: " in line for line in stripped(lines))
    for plain in (stripped(lines), stripped(lines, "#")):
        report = replay_log(LogJob("plain", parse_trace(plain, "plain"), dict(mapping)))
        assert (report.mode, report.divergences) == ("predicted", [])
        assert report.nr_compared == nr_allocs + report.counts["early_operations"] == 11022


@pytest.mark.parametrize("nr_ops", [40, 3000])
def test_a_synthetic_run_without_comments_is_predicted(nr_ops: int) -> None:
    timeline = record(nr_ops, live_max=300)
    log = parse_trace(stripped(exported(timeline)), "plain")
    mapping = timeline.machine.config.to_mapping()
    report = replay_log(LogJob("plain", log, mapping, early=()))
    assert (report.mode, report.divergences) == ("predicted", [])
    assert report.nr_compared == sum(event.kind == "alloc" for event in log.events) > 20


def test_a_plain_log_is_no_export(tmp_path: Path) -> None:
    timeline = record(60)
    path = tmp_path / "plain.txt"
    path.write_text("".join(stripped(exported(timeline))))
    report = replay_path(path, timeline.machine.config.to_mapping())
    assert report.mode != "read back"


def test_a_plain_log_in_a_folder_without_early_allocations_is_predicted(tmp_path: Path) -> None:
    timeline = record(200, live_max=60)
    (tmp_path / "trace.txt").write_text("".join(stripped(exported(timeline), "#")))
    (tmp_path / "early-allocs.jsonl").write_text("")
    report = replay_path(tmp_path, timeline.machine.config.to_mapping())
    assert (report.mode, report.divergences) == ("predicted", [])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_sequential_runs_on_several_cpus_are_predicted(
    cpus: int, picks: list[tuple[int, int]]
) -> None:
    sizes = (4, 8, 24, 64, 200, 1024, 4096, 8192, 16, 40)
    timeline = Timeline(Rerun(recorded(small_config(cpus=cpus), []), from_boot=True).machine)
    live: list[int] = []
    for cpu, pick in [(0, 1), *picks]:
        if len(live) > 6 and pick % 2:
            timeline.give("free_percpu", cpu % cpus, (live.pop(pick % len(live)),))
        else:
            args = (sizes[pick], 8, False, 0xCC0, "here")
            number = timeline.give("pcpu_alloc", cpu % cpus, args)
            timeline.advance(NO_LIMIT)
            live.append(int(str(timeline.calls[number].result)))
        timeline.advance(NO_LIMIT)
    log = parse_trace(stripped(exported(timeline)), "plain")
    mapping = timeline.machine.config.to_mapping()
    report = replay_log(LogJob("plain", log, mapping, early=()))
    assert (report.mode, report.divergences) == ("predicted", [])


def test_a_recording_that_lies_is_not_exported() -> None:
    timeline = recorded(small_config(), BUSY)
    body = timeline.open_body
    at = body.events[2]
    body.events[2] = at._replace(cpu=at.cpu ^ 1)
    with pytest.raises(RecordingError, match="event 2 is not what was recorded"):
        exported(timeline)


def test_progress_is_told_and_breath_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshots.export.ftrace_export.BREATH_STEPS", 10)
    timeline = recorded(small_config(), BUSY)
    told: list[tuple[int, int]] = []
    lines = list(ftrace_lines(timeline, Origin(), lambda here, goal: told.append((here, goal))))
    assert told == [(step, timeline.end_step) for step in range(10, timeline.end_step + 1, 10)]
    assert lines.count("") == len(told)
