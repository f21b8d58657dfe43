"""What a killed writer left behind its last segment: given again, or left out in words; never for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import KernelSimError
from snapshots import recording_tail
from snapshots.container.recording_file import RecordingWriter
from snapshots.recording import Origin, header_of, open_recording
from snapshots.recording_sink import RecordingSink
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import (
    BUSY,
    JUNK,
    Action,
    Pieces,
    inputs_of,
    play,
    short_segments,
    small_config,
)

CONFIG = small_config(cpus=3)
ACTS: list[Action] = [*BUSY[:22], *(("alloc", 0, 200, 8, 0xCC0), ("run", 4)) * 5]
Digests = dict[int, str]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digests, int]:
    """A run that was killed behind its last keyframe: path, digests by step, number of inputs."""
    path = tmp_path_factory.mktemp("killed") / "run.kms"
    with short_segments(6):
        writer = RecordingWriter.create(path, header_of(CONFIG))
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        told = 0
        for act in ACTS:
            play(timeline, [act])
            sink.tail(told, inputs_of(timeline)[told:], timeline.step)
            told = timeline.nr_inputs
        timeline.advance(timeline.step + 5)
        sink.tail(told, [], timeline.step)
        digests = {}
        for step in range(timeline.end_step + 1):
            timeline.seek(step)
            digests[step] = state_digest(timeline.machine)
        writer.flush()
        data = path.read_bytes()
        writer.close()
    path.write_bytes(data)
    return path, digests, timeline.nr_inputs


def shown(path: Path, digests: Digests) -> tuple[int, list[str]]:
    """How far one gets, and what was said; every state on the way is the true one."""
    opened = open_recording(path)
    try:
        timeline = opened.timeline
        for step in range(timeline.end_step, -1, -7):
            timeline.seek(step)
            assert state_digest(timeline.machine) == digests.get(step, ""), step
        return timeline.end_step, opened.warnings
    finally:
        opened.reader.close()


def test_a_killed_session_loses_nothing(killed: tuple[Path, Digests, int]) -> None:
    path, digests, nr_inputs = killed
    end_step, said = shown(path, digests)
    assert end_step == max(digests)
    assert any(f"it stands at step {end_step}" in line for line in said)
    opened = open_recording(path)
    assert opened.timeline.nr_inputs == nr_inputs
    opened.timeline.seek(NO_LIMIT)
    opened.timeline.give("purge_vmap", 0)
    opened.timeline.advance(NO_LIMIT)
    assert opened.timeline.nr_inputs == nr_inputs + 1
    opened.reader.close()


def test_without_its_last_tails_a_run_ends_earlier_and_says_so(
    tmp_path: Path, killed: tuple[Path, Digests, int]
) -> None:
    path, digests, _ = killed
    whole = Pieces.of(path)
    ends = []
    for nr_tails in range(4):
        pieces = Pieces(whole.header, list(whole.records))
        for place in reversed(pieces.places("tail")[-nr_tails or len(pieces.records) :]):
            del pieces.records[place]
        end_step, said = shown(pieces.write(tmp_path / "less.kms"), digests)
        ends.append(end_step)
        assert said
    assert ends == sorted(ends, reverse=True) and ends[-1] < ends[0]


def test_a_tail_that_is_missing_in_the_middle_is_told(
    tmp_path: Path, killed: tuple[Path, Digests, int]
) -> None:
    path, digests, _ = killed
    pieces = Pieces.of(path)
    places = pieces.places("tail")
    behind = [place for place in places if place > pieces.places("Keyframe")[-1]]
    with_inputs = [place for place in behind if pieces.records[place][2][1]]  # type: ignore[index]
    del pieces.records[with_inputs[0]]
    end_step, said = shown(pieces.write(tmp_path / "hole.kms"), digests)
    assert end_step < max(digests) and any("a tail begins at input" in line for line in said)


@pytest.mark.parametrize("junk", range(len(JUNK)))
def test_a_tail_of_anything_else_is_told_and_left_out(
    tmp_path: Path, killed: tuple[Path, Digests, int], junk: int
) -> None:
    path, digests, _ = killed
    value = JUNK[junk]
    rows = [0, "pcpu_alloc", 0, [8, 8, False, 0xCC0, ""], 0, ""]
    forged = [[*rows[:n], value, *rows[n + 1 :]] for n in range(6)]
    for body in (value, [value, []], [5, value], [5, [value]], *([5, [row]] for row in forged)):
        pieces = Pieces.of(path)
        pieces.set(pieces.places("tail")[-1], body=body)
        pieces.write(tmp_path / "hostile.kms")
        try:
            opened = open_recording(tmp_path / "hostile.kms")
        except KernelSimError as problem:
            assert len(str(problem)) < 2000
            continue
        assert opened.warnings and opened.timeline.end_step <= max(digests) + 200
        opened.timeline.seek(NO_LIMIT)
        opened.reader.close()


def test_an_input_of_a_segment_that_is_refused_is_not_tried_for_ever(
    tmp_path: Path, killed: tuple[Path, Digests, int]
) -> None:
    pieces = Pieces.of(killed[0])
    keyframe = pieces.places("Keyframe")[-1]
    pieces.records = [row for row in pieces.records[:keyframe] if row[0] != "tail"]
    place = pieces.places("Segment")[-1]
    key = pieces.records[place][1]
    inputs, events = pieces.segment_rows(place)  # type: ignore[misc]
    gap = key["l"] - key["s"] - sum(row[0] for row in inputs) + key["s"]  # type: ignore[operator]
    inputs.append([gap, "format_disk", 0, [], 0, ""])
    pieces.set_segment_rows(place, [inputs, events])
    pieces.set(place, key=key | {"ni": len(inputs)})
    nr_inputs, end_step = key["i"] + len(inputs), key["l"] + 50  # type: ignore[operator]
    pieces.records.append(("tail", {"b": 0, "i": nr_inputs}, [end_step, []]))
    opened = open_recording(pieces.write(tmp_path / "hostile.kms"))
    assert any("do not fit the machine" in line for line in opened.warnings)
    opened.reader.close()


def test_there_is_an_end_to_what_is_given_again(
    tmp_path: Path, killed: tuple[Path, Digests, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_tail, "TAIL_INPUTS_MAX", 2)
    end_step, said = shown(killed[0], killed[1])
    assert end_step < max(killed[1]) and any("more than 2 inputs" in line for line in said)


def test_a_branch_that_was_ended_takes_nothing_from_tails(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with RecordingWriter.create(path, header_of(CONFIG)) as writer:
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        play(timeline, BUSY[:5])
        timeline.advance(NO_LIMIT)
        sink.tail(0, inputs_of(timeline), timeline.step)
        sink.finish(timeline, Origin())
    opened = open_recording(path)
    assert opened.warnings == [] and opened.timeline.nr_inputs == timeline.nr_inputs
    opened.reader.close()
