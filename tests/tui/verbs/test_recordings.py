"""info, verify and digest from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.container.recording_file import RecordingReader
from snapshots.recording import Origin, save_timeline
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config
from tui.cli import app
from tui.verbs.recordings import count

V1 = Path(__file__).parents[2] / "recordings" / "v1-small.kms"


def kmemscope(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    with short_segments(6):
        save_timeline(tmp_path / "run.kms", recorded(small_config(cpus=3), BUSY), Origin())
    return tmp_path / "run.kms"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_verify_tells_what_it_did(recording: Path) -> None:
    result = kmemscope("verify", recording)
    first, second, third = result.stdout.splitlines()
    assert result.exit_code == 0
    assert first == f"{recording}: true to the end"
    assert "1 branch, " in second and second.endswith("steps run again")
    assert third == "  the same digests under hash seeds 1 and 2"
    assert "hash seeds" not in kmemscope("verify", recording, "--no-hash-seeds").stdout


def test_verify_in_json(recording: Path) -> None:
    body = json.loads(kmemscope("verify", recording, "--json", "--no-hash-seeds").stdout)
    assert (body["file"], body["ok"], body["hash_seeds"]) == (str(recording), True, [])
    assert body["keyframes"] > 4 and body["events"] > 20


def test_verify_of_a_flipped_byte_is_1_with_the_byte(recording: Path) -> None:
    with RecordingReader.open(recording) as reader:
        entry = list(reader.records("Segment"))[2]
    flip(recording, entry.offset_bytes + 60)
    result = kmemscope("verify", recording)
    assert result.exit_code == 1
    assert f"byte {entry.offset_bytes}: the checksum" in result.stdout
    body = json.loads(kmemscope("verify", recording, "--json").stdout)
    assert not body["ok"] and body["problems"]


def test_verify_of_no_recording_is_2(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "none.kms").write_bytes(b"nothing")
    assert kmemscope("verify", tmp_path / "none.kms").exit_code == 2
    flip(recording, 30)
    assert kmemscope("verify", recording).exit_code == 2


def test_info_of_a_recording_and_of_other_files(recording: Path) -> None:
    rows = json.loads(kmemscope("info", recording, "--json").stdout)["rows"]
    facts = {row["fact"]: row["value"] for row in rows}
    assert (facts["file"], facts["machine"], facts["first step"]) == ("recording", "small", 0)
    text = kmemscope("info", V1).stdout
    assert "last step" in text and "394" in text


def test_info_of_a_cut_recording_tells_the_byte(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-700])
    result = kmemscope("info", recording)
    assert result.exit_code == 0 and "bytes from byte " in result.stdout
    notes = json.loads(kmemscope("info", recording, "--json").stdout)["notes"]
    assert any("are lost" in note for note in notes)


def test_digest_of_positions(recording: Path) -> None:
    result = kmemscope("digest", recording, "0", "end")
    assert result.stdout.startswith("0 ") and result.stdout.count("\n") == 2
    row = json.loads(kmemscope("digest", recording, "--at", "3", "--json").stdout)
    assert row["step"] == 3 and len(row["digest"]) == 32


def test_one_and_many() -> None:
    assert [count(1, "branch", "branches"), count(2, "branch", "branches")] == [
        "1 branch", "2 branches",
    ]  # fmt: skip
    assert count(0, "step") == "0 steps"
