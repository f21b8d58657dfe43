"""The writing of a branch: what stands in the file after each thing that happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.boot import boot
from snapshots.container.recording_file import RecordingWriter
from snapshots.recording import Origin, header_of, open_recording, save_timeline
from snapshots.recording_sink import RecordingSink, writing_run
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.snapshots.conftest import BUSY, Pieces, play, recorded, short_segments, small_config

CONFIG = small_config(cpus=3)


def kinds(path: Path) -> list[str]:
    return [row[0] for row in Pieces.of(path).records]


def test_a_run_stands_in_the_file_as_keyframes_and_segments_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(5):
        timeline = recorded(CONFIG, BUSY)
        save_timeline(path, timeline, Origin())
    pieces = Pieces.of(path)
    order = [row for row in pieces.records if row[0] in ("Keyframe", "Segment", "Branch")]
    nr = len(timeline.heads)
    assert nr > 4
    assert [kind for kind, _, _ in order] == ["Keyframe", "Segment"] * nr + ["Branch"]
    assert [key["n"] for _, key, _ in order[:-1]] == [n for n in range(nr) for _ in "ks"]
    for (_, keyframe, _), (_, segment, _) in zip(order[:-1:2], order[1::2], strict=True):
        assert keyframe["s"] == segment["s"] and keyframe["b"] == segment["b"] == 0
    assert (
        sum(int(str(key["ni"])) for kind, key, _ in order if kind == "Segment")
        == timeline.nr_inputs
    )
    assert [key["f"] for kind, key, _ in order if kind == "Keyframe"][:2] == [True, False]


def test_every_blob_and_patch_is_written_before_the_keyframe_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        save_timeline(path, recorded(CONFIG, BUSY * 2), Origin())
    written: dict[object, None] = {}
    for kind, key, body in Pieces.of(path).records:
        if kind == "Blob":
            written[key["hash"]] = None
        elif kind == "Patch":
            assert key["o"] in written and key["h"] not in written
            written[key["h"]] = None
        elif kind == "Keyframe":
            changed, gone = body  # type: ignore[misc]
            assert all(blob in written for blob in changed.values())
            assert not set(gone) & set(changed)
    assert "Patch" in kinds(path)


def test_two_runs_in_one_file_write_no_part_twice(tmp_path: Path) -> None:
    with short_segments(3):
        timeline = recorded(CONFIG, BUSY)
        known: dict[object, int] = {}
        with RecordingWriter.create(tmp_path / "two.kms", header_of(CONFIG)) as writer:
            for branch in range(2):
                about = {"name": f"n{branch}", "parent": -1, "fork": 0, "shared": 0, "note": ""}
                for _ in writing_run(writer, timeline, Origin(), branch, about, known):  # type: ignore[arg-type]
                    pass
    names = [
        key.get("hash", key.get("h"))
        for kind, key, _ in Pieces.of(tmp_path / "two.kms").records
        if kind in ("Blob", "Patch")
    ]
    assert len(names) == len(set(map(bytes, names)))  # type: ignore[arg-type]
    assert verify_recording(tmp_path / "two.kms") == []


def test_of_several_ends_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with RecordingWriter.create(path, header_of(CONFIG)) as writer:
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        sink.finish(timeline, Origin(notes=["first"]))
        play(timeline, BUSY[:9])
        timeline.advance(NO_LIMIT)
        sink.finish(timeline, Origin(notes=["second"]))
    opened = open_recording(path)
    assert opened.origin.notes == ["second"] and opened.timeline.end_step == timeline.end_step
    assert opened.warnings == []
    opened.reader.close()


@pytest.mark.parametrize("nr_acts", [1, 3, 12, 40])
def test_a_tail_brings_back_what_no_segment_holds(tmp_path: Path, nr_acts: int) -> None:
    path = tmp_path / "live.kms"
    with short_segments(6):
        writer = RecordingWriter.create(path, header_of(CONFIG))
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        told = 0
        for act in BUSY[:nr_acts]:
            play(timeline, [act])
            inputs = [timeline.input_at(n) for n in range(told, timeline.nr_inputs)]
            sink.tail(told, inputs, timeline.step)
            told = timeline.nr_inputs
        timeline.advance(timeline.step + 7)
        sink.tail(told, [], timeline.step)
        opened = open_recording(path)  # as if the writer had been killed here
        again = opened.timeline
        assert (again.nr_inputs, again.end_step) == (timeline.nr_inputs, timeline.end_step)
        for step in range(again.end_step, -1, -3):
            again.seek(step)
            timeline.seek(step)
            assert state_digest(again.machine) == state_digest(timeline.machine)
        assert any("its writer was killed" in line for line in opened.warnings)
        opened.reader.close()
        writer.close()
