"""The verb that watches a recording grow, from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingWriter
from snapshots.origin import Origin
from snapshots.recording import open_recording
from snapshots.recording_growth import TreeGrowth, held_by
from snapshots.timeline import NO_LIMIT
from tests.child import command_line, running

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "tests" / "recordings" / "v1-small.kms"


def kmemscope(*words: object) -> Result:
    from tui.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_closed_recording_is_printed_to_its_end() -> None:
    result = kmemscope("follow", DEMO, "--json")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(events) == open_recording(DEMO).timeline.nr_events
    assert "the writer has closed the file" in result.stderr


def test_what_is_no_recording_cannot_be_followed() -> None:
    result = kmemscope("follow", ROOT / "examples" / "machines" / "numa2-4cpu.toml")
    assert result.exit_code == 2
    assert "only a recording can be followed" in result.stderr


@pytest.mark.parametrize("closes", [True, False])
def test_events_come_while_they_are_written(tmp_path: Path, closes: bool) -> None:
    path = tmp_path / "run.kms"
    shutil.copy(DEMO, path)
    opened = open_recording(path)
    writer = RecordingWriter.reopen(path)
    growth = TreeGrowth(writer, drained(held_by(opened.reader, writer)))
    pipe = subprocess.PIPE
    with running(command_line("follow", path), stdout=pipe, stderr=pipe, text=True) as child:
        timeline = opened.timeline
        timeline.seek(NO_LIMIT)
        for _ in range(10):
            timeline.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))
            timeline.advance(NO_LIMIT)
            for _ in growth.grow(opened.tree, Origin(), {}):
                pass
            time.sleep(0.05)
        assert child.poll() is None
        if closes:
            writer.close()
        else:
            writer.leave()
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0
    assert len(out.splitlines()) == timeline.nr_events
    assert ("the writer has closed the file" in err) == closes
