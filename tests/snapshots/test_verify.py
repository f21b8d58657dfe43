"""A recording that lies is found out, whatever it lies about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgpack
import pytest

from snapshots.errors import RecordingError
from snapshots.recording import Origin, save_timeline
from snapshots.verify import verify_recording
from tests.snapshots.conftest import BUSY, Pieces, recorded, short_segments, small_config

Rows = list[list[object]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    with short_segments(6):
        save_timeline(path, recorded(small_config(cpus=3), BUSY), Origin())
    return path


@pytest.fixture
def pieces(saved: Path) -> Pieces:
    return Pieces.of(saved)


def change_rows(pieces: Pieces, place: int, change: Callable[[Rows, Rows], object]) -> None:
    inputs, events = pieces.segment_rows(place)
    change(cast("Rows", inputs), cast("Rows", events))
    key = pieces.records[place][1] | {
        "ni": len(cast("Rows", inputs)),
        "ne": len(cast("Rows", events)),
    }
    pieces.set(place, key=key)
    pieces.set_segment_rows(place, (inputs, events))


def test_a_true_recording_has_no_problem(saved: Path) -> None:
    assert verify_recording(saved) == []


def test_a_recording_taken_apart_and_put_together_is_true(tmp_path: Path, pieces: Pieces) -> None:
    assert verify_recording(pieces.write(tmp_path / "same.kms")) == []


@pytest.mark.parametrize("index", [0, 2, -1])
@pytest.mark.parametrize("name", ["log", "tables", "vmalloc", "chunk.0"])
def test_a_changed_part_of_any_keyframe_is_named(
    tmp_path: Path, pieces: Pieces, index: int, name: str
) -> None:
    place = pieces.places("Keyframe")[index]
    number = pieces.records[place][1]["n"]
    part = pieces.part(place, name)
    if isinstance(part, dict):
        part["lazy_max_pages"] += 1
    elif name == "chunk.0":
        cast("Rows", part)[0][9] = 1
    else:
        cast("list[object]", part).append([6, "forged"] if name == "log" else 9)
    pieces.set_part(place, name, msgpack.packb(part))
    problems = verify_recording(pieces.write(tmp_path / "forged.kms"))
    assert len(problems) == 1
    assert f"keyframe {number}: part {name} is not what was recorded" in problems[0]


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_changed_event_is_named(tmp_path: Path, pieces: Pieces, index: int) -> None:
    place = pieces.places("Segment")[index]
    number = pieces.records[place][1]["n"]

    def change(inputs: Rows, events: Rows) -> None:
        fields = cast("list[object]", events[1][3])
        fields[0] = f"{fields[0]}!" if isinstance(fields[0], str) else 5

    change_rows(pieces, place, change)
    problems = verify_recording(pieces.write(tmp_path / "forged.kms"))
    assert len(problems) == 1
    assert f"event 1 of segment {number}: recorded" in problems[0]


def test_a_missing_event_is_told(tmp_path: Path, pieces: Pieces) -> None:
    change_rows(pieces, pieces.places("Segment")[-1], lambda inputs, events: events.pop())
    problems = verify_recording(pieces.write(tmp_path / "forged.kms"))
    assert "events recorded" in problems[0]


def test_a_missing_input_is_told(tmp_path: Path, pieces: Pieces) -> None:
    change_rows(pieces, pieces.places("Segment")[-1], lambda inputs, events: inputs.pop())
    assert verify_recording(pieces.write(tmp_path / "forged.kms")) != []


def test_another_machine_is_told(tmp_path: Path, pieces: Pieces) -> None:
    config = cast("dict[str, object]", pieces.header["config"])
    pieces.header["config"] = config | {"schedule": {"policy": "random", "seed": 4}}
    problems = verify_recording(pieces.write(tmp_path / "forged.kms"))
    assert len(problems) == 1
    assert "step 0: keyframe 0: part clock" in problems[0]


def test_an_end_that_the_run_does_not_reach_is_told(tmp_path: Path, pieces: Pieces) -> None:
    place = pieces.places("Segment")[-1]
    key = pieces.records[place][1]
    pieces.set(place, key=key | {"l": cast("int", key["l"]) + 5})
    problems = verify_recording(pieces.write(tmp_path / "forged.kms"))
    assert "the run ends here" in problems[0]


def test_a_torn_file_is_not_true_to_the_end(tmp_path: Path, saved: Path) -> None:
    path = tmp_path / "torn.kms"
    path.write_bytes(saved.read_bytes()[:-600])
    assert verify_recording(path) != []


def test_what_is_no_recording_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "none.kms").write_bytes(b"nothing")
    with pytest.raises(RecordingError):
        verify_recording(tmp_path / "none.kms")
