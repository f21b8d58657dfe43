"""What a branch in a file is: its own segments, those of its parents, and parts by hash."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from snapshots.branches import BranchTree
from snapshots.container.blobs import BlobHash
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording import Origin, open_recording, save_tree
from snapshots.recording_source import FileParts, FileSource
from snapshots.state_codec import digest_of, state_digest
from snapshots.timeline import NO_LIMIT
from tests.snapshots.conftest import BUSY, Pieces, recorded, short_segments, small_config


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three branches, each off from the one before."""
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    with short_segments(4):
        tree = BranchTree.of(recorded(small_config(), BUSY))
        for _ in range(2):
            timeline = tree.current.timeline
            timeline.seek(timeline.end_step * 9 // 10)
            tree.fork()
            for _ in range(25):
                tree.current.timeline.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, ""))
                tree.current.timeline.advance(NO_LIMIT)
        save_tree(path, tree, Origin())
    return path


def test_the_hashes_of_a_keyframe_are_the_digest_there(saved: Path) -> None:
    opened = open_recording(saved)
    for number, branch in opened.tree.branches.items():
        timeline = branch.timeline
        source = opened.sources[number]
        for place in reversed(range(len(timeline.heads))):
            timeline.seek(timeline.heads[place].first_step)
            assert digest_of(source.hashes(place)) == state_digest(timeline.machine)
            assert source.parts(place).keys() == source.hashes(place).keys()
    opened.reader.close()


def test_what_lies_before_a_branch_is_read_from_its_parents(saved: Path) -> None:
    opened = open_recording(saved, branch=2)
    source = opened.source
    assert source.parent is opened.sources[1] and 0 < source.parent.nr_shared < source.nr_shared
    for number in range(source.nr_shared):
        keeper = opened.sources[0 if number < source.parent.nr_shared else 1]
        assert source.packed(number) == keeper.packed(number)
        assert source.body(number) == keeper.body(number)
        assert source.hashes(number) == keeper.hashes(number)
    opened.reader.close()


def test_equal_parts_of_two_branches_are_one_object(saved: Path) -> None:
    opened = open_recording(saved, branch=2)
    mine, main = opened.source.parts(0), opened.sources[0].parts(0)
    assert all(mine[name] is main[name] for name in mine)
    opened.reader.close()


def keyframe_source(path: Path) -> tuple[RecordingReader, FileSource]:
    reader = RecordingReader.open(path)
    keyframes = [entry for entry in reader.records("Keyframe") if entry.key["b"] == 0]
    segments = [entry for entry in reader.records("Segment") if entry.key["b"] == 0]
    return reader, FileSource(FileParts(reader), keyframes, segments)


BODIES: list[object] = [
    7, [], [1], [{}, 5], [5, []], [{}, [1]], [{7: b"x" * 16}, []], [{"clock": 5}, []],
    [{"clock": b"short"}, []], [{"clock": b"x" * 16}, []], "map",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_keyframe_that_is_none_is_refused_with_the_file_and_its_number(
    tmp_path: Path, saved: Path, body: object
) -> None:
    pieces = Pieces.of(saved)
    pieces.set(pieces.places("Keyframe")[1], body=body)
    reader, source = keyframe_source(pieces.write(tmp_path / "hostile.kms"))
    with pytest.raises(RecordingError, match=r"hostile\.kms: (byte \d+: )?keyframe 1"):
        source.parts(1)
    reader.close()


def test_segments_that_are_not_as_promised_are_refused(tmp_path: Path, saved: Path) -> None:
    pieces = Pieces.of(saved)
    place = pieces.places("Segment")[1]
    good = pieces.records[place]
    for body, key in (
        (7, good[1]), (b"few", good[1]), (good[2], good[1] | {"ni": 99}), (good[2], good[1] | {"ne": 0}),
    ):  # fmt: skip
        pieces.records[place] = ("Segment", cast("dict[str, object]", key), body)
        reader, source = keyframe_source(pieces.write(tmp_path / "hostile.kms"))
        with pytest.raises(RecordingError):
            source.body(1)
        reader.close()


def test_what_is_beyond_the_file_is_refused(saved: Path) -> None:
    reader, source = keyframe_source(saved)
    with pytest.raises(RecordingError, match="no keyframe 99"):
        source.hashes(99)
    parts = FileParts(reader)
    assert parts.find_blob(BlobHash(b"x" * 16)) is None
    assert parts.find_patch(BlobHash(b"x" * 16)) is None
    reader.close()


@pytest.mark.parametrize(
    ("key", "body"), [({"o": 5}, b"x"), ({}, b"x"), ({"o": b"x" * 16}, 7), ({"o": b""}, None)]
)
def test_a_patch_that_is_none_is_refused_with_its_byte(
    tmp_path: Path, saved: Path, key: dict[str, object], body: object
) -> None:
    pieces = Pieces.of(saved)
    place = pieces.places("Patch")[-1]
    name = pieces.records[place][1]["h"]
    pieces.records[place] = ("Patch", {"h": name, **key}, body)
    reader = RecordingReader.open(pieces.write(tmp_path / "hostile.kms"))
    with pytest.raises(RecordingError, match=r"hostile\.kms: byte \d+: a patch"):
        FileParts(reader).find_patch(cast("BlobHash", name))
    reader.close()


def test_patches_on_one_another_are_refused(tmp_path: Path, saved: Path) -> None:
    pieces = Pieces.of(saved)
    place = pieces.places("Patch")[0]
    name = pieces.records[place][1]["h"]
    pieces.set(place, key={"h": name, "o": name})
    reader = RecordingReader.open(pieces.write(tmp_path / "hostile.kms"))
    with pytest.raises(RecordingError, match="no part"):
        FileParts(reader).loader.part(cast("BlobHash", name))
    reader.close()
