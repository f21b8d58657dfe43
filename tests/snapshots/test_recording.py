"""Recordings of whole runs: torn, damaged, forged, and the one that must stay readable for ever."""

from __future__ import annotations

import copy
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgpack
import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError, KernelSimError
from snapshots.container.recording_file import RecordingWriter
from snapshots.errors import RecordingError
from snapshots.journal import Journal
from snapshots.recording import (
    Origin,
    RecordingSink,
    header_of,
    open_recording,
    save_timeline,
    saving_tree,
)
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.snapshots.acted_tree import Worker
from tests.snapshots.conftest import (
    BUSY,
    Pieces,
    events_of,
    inputs_of,
    mutated,
    play,
    recorded,
    short_segments,
    small_config,
)

FIXTURES = Path(__file__).parents[1] / "recordings"
CONFIG = small_config(cpus=3, nodes=2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    with short_segments(6):
        save_timeline(path, recorded(CONFIG, BUSY), Origin(notes=["a note"]))
    return path


@pytest.fixture(scope="module")
def digests(saved: Path) -> dict[int, str]:
    return shown(saved)


@pytest.fixture
def pieces(saved: Path) -> Pieces:
    return Pieces.of(saved)


def shown(path: Path, every: int = 9) -> dict[int, str]:
    """What somebody sees who goes through a recording backwards."""
    opened = open_recording(path)
    try:
        timeline = opened.timeline
        found: dict[int, str] = {}
        for step in range(timeline.end_step, -1, -every):
            timeline.seek(step)
            found[timeline.step] = state_digest(timeline.machine)
        list(timeline.marks())
        events_of(timeline)
        inputs_of(timeline)
        timeline.events_before(timeline.end_step // 2)
        timeline.inputs_before(timeline.end_step // 2)
        return found
    finally:
        opened.reader.close()


# -- written while it goes on ---------------------------------------------------------------------------


def test_a_run_that_is_written_while_it_goes_on_is_the_run_that_is_saved(tmp_path: Path) -> None:
    path, saved_path = tmp_path / "live.kms", tmp_path / "saved.kms"
    with short_segments(5), RecordingWriter.create(path, header_of(CONFIG)) as writer:
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        play(timeline, BUSY)
        timeline.advance(NO_LIMIT)
        sink.finish(timeline, Origin())
        save_timeline(saved_path, timeline, Origin())
    assert path.read_bytes() == saved_path.read_bytes()
    assert verify_recording(path) == []


def test_a_killed_writer_leaves_all_closed_segments(tmp_path: Path) -> None:
    path = tmp_path / "live.kms"
    with short_segments(5):
        writer = RecordingWriter.create(path, header_of(CONFIG))
        timeline = Timeline(boot(CONFIG), RecordingSink(writer))
        play(timeline, BUSY)
        timeline.advance(NO_LIMIT)
        writer.flush()
        opened = open_recording(path)
        assert len(opened.timeline.heads) == len(timeline.heads)  # the last one is only begun
        assert opened.timeline.end_step == timeline.heads[-1].first_step
        assert "has no end" in opened.warnings[-1]
        kept = [mark for mark in timeline.marks() if mark.step <= opened.timeline.end_step]
        assert list(opened.timeline.marks()) == kept
        for step in range(opened.timeline.end_step, -1, -11):
            opened.timeline.seek(step)
            timeline.seek(step)
            assert state_digest(opened.timeline.machine) == state_digest(timeline.machine)
        opened.reader.close()
        writer.close()


def test_who_asks_for_a_branch_with_a_tail_stays_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker, journal = Worker(CONFIG, 3), Journal.begin(path)
    for _ in range(9):
        worker.give(64, 0xCC0)
    worker.timeline.seek(5)
    for _ in range(2):
        worker.give(128, 0xCC0)  # on a branch; the second time it stands in a tail
        worker.advance(NO_LIMIT)
        journal.note(worker.tree, Origin(), {}, worker.place())
    opened = open_recording(path)
    opened.timeline.seek(7)
    digest = state_digest(opened.timeline.machine)
    assert opened.tree.branches[1].timeline.end_step == worker.timeline.end_step
    assert not opened.timeline.is_stale and opened.timeline.step == 7
    assert state_digest(opened.timeline.machine) == digest
    opened.reader.close()
    journal.remove()


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, saved: Path) -> None:
    with short_segments(6):
        save_timeline(tmp_path / "again.kms", recorded(CONFIG, BUSY), Origin(notes=["a note"]))
    assert (tmp_path / "again.kms").read_bytes() == saved.read_bytes()


def test_what_was_opened_can_be_saved_as_it_was(tmp_path: Path, saved: Path) -> None:
    opened = open_recording(saved)
    save_timeline(tmp_path / "copy.kms", opened.timeline, opened.origin)
    opened.reader.close()
    assert (tmp_path / "copy.kms").read_bytes() == saved.read_bytes()


def test_a_save_that_is_given_up_half_way_leaves_nothing(tmp_path: Path, saved: Path) -> None:
    opened = open_recording(saved)
    saving = saving_tree(tmp_path / "new.kms", opened.tree, opened.origin)
    for _ in range(5):
        next(saving)
    saving.close()
    assert list(tmp_path.iterdir()) == []
    opened.reader.close()


def test_a_file_is_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    path.write_text("mine")
    with pytest.raises(RecordingError, match="exists already"):
        save_timeline(path, recorded(CONFIG, []), Origin(), overwrite=False)
    assert path.read_text() == "mine"


def test_the_origin_comes_back(tmp_path: Path) -> None:
    origin = Origin(
        kind="trace", source="trace.txt", mode="observed", notes=["lost"],
        inferred=[[3, "ties", 2, "why"]], divergences=[[4, 2, "place", "a", "b", ""]],
        counts={"lines": 9},
    )  # fmt: skip
    save_timeline(tmp_path / "run.kms", recorded(CONFIG, []), origin)
    opened = open_recording(tmp_path / "run.kms")
    assert opened.origin == origin
    assert opened.config == CONFIG
    opened.reader.close()


@pytest.mark.parametrize("body", [None, 7, {"notes": 5}, {"kind": None}, {"counts": []}])
def test_an_origin_of_other_types_is_refused(body: object) -> None:
    with pytest.raises(RecordingError, match="origin"):
        Origin.from_body(body)


def test_an_origin_with_names_of_a_newer_version_is_read() -> None:
    assert Origin.from_body({"kind": "trace", "mood": "good"}) == Origin(kind="trace")


# -- torn and flipped -----------------------------------------------------------------------------------


def test_a_torn_file_shows_what_is_whole_and_says_so(
    tmp_path: Path, saved: Path, digests: dict[int, str]
) -> None:
    data = saved.read_bytes()
    path = tmp_path / "torn.kms"
    nr_opened = 0
    for nr_bytes in range(0, len(data), max(len(data) // 90, 1)):
        path.write_bytes(data[:nr_bytes])
        try:
            opened = open_recording(path)
        except RecordingError as error:
            assert str(path) in str(error)
            continue
        nr_opened += 1
        timeline = opened.timeline
        assert opened.warnings, f"{nr_bytes} of {len(data)} bytes and no warning"
        for step in [step for step in digests if step <= timeline.end_step][::4]:
            timeline.seek(step)
            assert state_digest(timeline.machine) == digests[step]
        opened.reader.close()
        assert verify_recording(path) != []
    assert nr_opened > 10


def test_a_flipped_byte_never_shows_a_wrong_state_in_silence(
    tmp_path: Path, saved: Path, digests: dict[int, str]
) -> None:
    data = saved.read_bytes()
    path = tmp_path / "flipped.kms"
    chance = random.Random(1)
    nr_told = 0
    for _ in range(90):
        at = chance.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        try:
            found = shown(path, 27)
            wrong = [step for step in found if digests.get(step, found[step]) != found[step]]
            problems = verify_recording(path)
        except RecordingError:
            nr_told += 1
            continue
        assert problems or not wrong, f"byte {at}"
        nr_told += bool(problems)
    assert nr_told > 60


# -- hostile --------------------------------------------------------------------------------------------


def last(pieces: Pieces, kind: str) -> int:
    return pieces.places(kind)[-1]


def with_input(row: tuple[object, ...]) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        place = last(pieces, "Segment")
        inputs, events = pieces.segment_rows(place)
        cast("list[object]", inputs)[-1] = row
        pieces.set_segment_rows(place, (inputs, events))

    return change


def with_key(kind: str, **values: object) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        place = last(pieces, kind)
        key = pieces.records[place][1] | values
        pieces.set(place, key={name: value for name, value in key.items() if value is not None})

    return change


def without(kind: str, index: int) -> Callable[[Pieces], None]:
    return lambda pieces: pieces.records.pop(pieces.places(kind)[index]) and None


def without_part(name: str) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        place = last(pieces, "Keyframe")
        changed, gone = cast("list[dict[str, bytes]]", pieces.records[place][2])
        left = {key: blob for key, blob in changed.items() if key != name}
        pieces.set(place, body=[left, [*cast("list[str]", gone), name]])

    return change


def with_part(name: str, part: object) -> Callable[[Pieces], None]:
    return lambda pieces: pieces.set_part(last(pieces, "Keyframe"), name, msgpack.packb(part))


def with_body(kind: str, body: object) -> Callable[[Pieces], None]:
    return lambda pieces: pieces.set(last(pieces, kind), body=body)


def with_config(**changed: object) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        pieces.header["config"] = cast("dict[str, object]", pieces.header["config"]) | changed

    return change


def with_vast_chunk(pieces: Pieces) -> None:
    place = last(pieces, "Keyframe")
    chunk = cast("list[list[int]]", pieces.part(place, "chunk.0"))
    chunk[0][2] = 1 << 40  # nr_pages
    pieces.set_part(place, "chunk.0", msgpack.packb(chunk))


HOSTILE: dict[str, Callable[[Pieces], None]] = {
    "no config": lambda pieces: pieces.header.clear(),
    "config is no map": lambda pieces: pieces.header.update(config=[1]),
    "config of no machine": with_config(cpus={"possible": "0-99999999"}),
    "config with an unknown key": with_config(turbo=True),
    "config without memory": with_config(node=[]),
    "no segment": lambda pieces: pieces.records.clear(),
    "first segment gone": without("Segment", 0),
    "a segment in the middle gone": without("Segment", 2),
    "first keyframe gone": without("Keyframe", 0),
    "last keyframe gone": without("Keyframe", -1),
    "a blob gone": without("Blob", 3),
    "keyframe is no map": with_body("Keyframe", [1]),
    "keyframe of nothing": with_body("Keyframe", {}),
    "keyframe of numbers": with_body("Keyframe", {"clock": 5}),
    "keyframe of a list": with_body("Keyframe", {"clock": [1]}),
    "keyframe with a blob nobody has": with_body("Keyframe", {"clock": b"x" * 16}),
    "segment is no bytes": with_body("Segment", 7),
    "branch is no map": with_body("Branch", 7),
    "marks are no list": with_body("Branch", {"marks": 5}),
    "marks are no pairs": with_body("Branch", {"marks": [5]}),
    "marks of three": with_body("Branch", {"marks": [[1, "c", 2]]}),
    "a mark at a text": with_body("Branch", {"marks": [["1", "c"]], "origin": {}}),
    "no origin": with_body("Branch", {"marks": []}),
    "segment without numbers": with_key("Segment", i=None),
    "segment at a negative step": with_key("Segment", s=-1),
    "segment at a text": with_key("Segment", s="7"),
    "segment that ends before it begins": with_key("Segment", l=0),
    "segment with more inputs than it has": with_key("Segment", ni=999),
    "segment with fewer events than it has": with_key("Segment", ne=0),
    "segment that begins at a far input": with_key("Segment", i=1 << 40),
    "segment that begins at a far event": with_key("Segment", e=1 << 40),
    "segment of a far number": with_key("Segment", n=77),
    "keyframe of another step": with_key("Keyframe", s=3),
    "keyframe without a step": with_key("Keyframe", s=None),
    "all of another branch": lambda pieces: (
        [
            pieces.set(place, key=key | {"b": 9})
            for place, (_, key, _) in enumerate(pieces.records)
            if "b" in key
        ]
        and None
    ),
    "unknown call": with_input((0, "format_disk", 0, [], 0, "")),
    "call on no CPU": with_input((0, "purge_vmap", 77, [], 0, "")),
    "call with too few arguments": with_input((0, "pcpu_alloc", 0, [8], 0, "")),
    "call with too many arguments": with_input((0, "purge_vmap", 0, [1, 2, 3], 0, "")),
    "call with a list for a number": with_input((0, "free_percpu", 0, [[1]], 0, "")),
    "call with a text for a number": with_input(
        (0, "pcpu_alloc", 0, ["8", 8, False, 0xCC0, ""], 0, "")
    ),
    "call with nothing for a number": with_input((0, "this_cpu_read", 0, [None, 8], 0, "")),
    "knob with a text": with_input((0, "adopt_alloc", 0, ["a", 0, 4, 4, 0, ""], 0, "")),
    "adopted in no chunk": with_input((0, "adopt_alloc", 0, [99, 0, 4, 4, 0, ""], 0, "")),
    "adopted at a negative offset": with_input((0, "adopt_alloc", 0, [0, -4, 4, 4, 0, ""], 0, "")),
    "adopted of vast size": with_input((0, "adopt_alloc", 0, [0, 0, 1 << 62, 4, 0, ""], 0, "")),
    "destroyed first chunk": with_input((0, "adopt_destroy", 0, [0], 0, "")),
    "freed where nothing is": with_input((0, "adopt_free", 0, [0, 1 << 40], 0, "")),
    "part clock gone": without_part("clock"),
    "part calls gone": without_part("calls"),
    "part chunk.0 gone": without_part("chunk.0"),
    "part of calls under way": with_part("calls", [[0, [], []]]),
    "clock of another step": with_part("clock", [5, [-1, 0, [], [1, 1]], -1, 0, []]),
    "clock of texts": with_part("clock", ["a", "b", "c", "d", "e"]),
    "chunk without bits": with_part("chunk.0", []),
    "frames are numbers": with_part("frame.0", 5),
    "frame of vast size": with_part("frame.0", 1 << 40),
    "frame of a few bytes": with_part("frame.0", b"few"),
    "chunk of vast size": with_vast_chunk,
    "frame of no number": with_part("frame.x", b"\0" * 4096),
    "chunk of no number": with_part("chunk.x", []),
    "pages are a list": with_part("pages", [1, 2]),
    "vmalloc without areas": with_part("vmalloc", {}),
    "log of numbers": with_part("log", [1, 2, 3]),
    "tables of lists": with_part("tables", [[1], {}]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recording_is_refused_in_words(tmp_path: Path, pieces: Pieces, name: str) -> None:
    HOSTILE[name](pieces)
    path = pieces.write(tmp_path / "hostile.kms")
    told: list[str] = []
    for look in (shown, verify_recording):
        try:
            told += look(path) if look is verify_recording else []
        except KernelSimError as error:
            told.append(str(error))
            assert len(str(error)) < 2000
    assert told, "nobody complained"


@pytest.mark.parametrize("steps", [[-5, -5], [1 << 62, 1 << 62], [3, -9]])
def test_inputs_at_impossible_steps_do_no_harm(
    tmp_path: Path, pieces: Pieces, steps: list[int]
) -> None:
    place = last(pieces, "Segment")
    inputs, events = pieces.segment_rows(place)
    rows = cast("list[list[object]]", inputs)
    for row, gap in zip(rows, steps, strict=False):
        row[0] = gap
    pieces.set_segment_rows(place, (rows, events))
    path = pieces.write(tmp_path / "hostile.kms")
    told = False
    for look in (shown, verify_recording):
        try:
            told = bool(look(path)) or told
        except KernelSimError:
            told = True
    assert told


def mutate(pieces: Pieces, chance: random.Random) -> None:
    """Change one thing of a recording where its meaning is: checksums stay right."""
    what = chance.choice(
        ["header", "key", "body", "rows", "columns", "columns", "part", "part", "gone", "swap"]
    )
    own = [place for place, row in enumerate(pieces.records) if row[0] != "Blob"]
    place = chance.choice(own)
    if what == "header":
        changed = mutated(pieces.header, chance)
        pieces.header = changed if isinstance(changed, dict) else {}
    elif what == "key":
        changed = mutated(pieces.records[place][1], chance)
        pieces.set(place, key=changed if isinstance(changed, dict) else {})
    elif what == "body":
        pieces.set(place, body=mutated(pieces.records[place][2], chance))
    elif what == "rows":
        place = chance.choice(pieces.places("Segment"))
        pieces.set_segment_rows(place, mutated(pieces.segment_rows(place), chance))
    elif what == "columns":
        place = chance.choice(pieces.places("Segment"))
        columns = mutated(pieces.segment_columns(place), chance)
        pieces.set(place, body=zlib.compress(msgpack.packb(columns)))
    elif what == "part":
        place = chance.choice(pieces.places("Keyframe"))
        names = pieces.changed_parts(place)
        name = chance.choice([name for name in names if not name.startswith("frame.")])
        pieces.set_part(place, name, msgpack.packb(mutated(pieces.part(place, name), chance)))
    elif what == "gone":
        del pieces.records[chance.randrange(len(pieces.records))]
    else:
        other = chance.randrange(len(pieces.records))
        rows = pieces.records
        rows[place], rows[other] = rows[other], rows[place]


def survive_mutations(saved: Path, path: Path, seed: int, nr_mutations: int) -> int:
    whole = Pieces.of(saved)
    chance = random.Random(seed)
    nr_refused = 0
    for number in range(nr_mutations):
        pieces = copy.deepcopy(whole)
        try:
            mutate(pieces, chance)
            pieces.write(path)
        except (RecordingError, OverflowError):
            continue  # the mutation cannot be written
        for look in (lambda path: shown(path, 40), verify_recording):
            try:
                look(path)
            except KernelSimError:
                nr_refused += 1
            except Exception as error:
                pytest.fail(f"mutation {number} of seed {seed}: {error!r} is no error of ours")
    return nr_refused


@pytest.mark.parametrize("seed", [1, 2])
def test_no_mutation_ends_in_a_traceback(tmp_path: Path, saved: Path, seed: int) -> None:
    assert survive_mutations(saved, tmp_path / "hostile.kms", seed, 60) > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
def test_no_mutation_of_a_long_campaign_ends_in_a_traceback(
    tmp_path: Path, saved: Path, seed: int
) -> None:
    assert survive_mutations(saved, tmp_path / "hostile.kms", seed, 700) > 200


def test_an_unknown_critical_kind_is_refused_and_another_is_passed_over(
    tmp_path: Path, pieces: Pieces, digests: dict[int, str]
) -> None:
    pieces.records.append(("remark", {}, "hello"))
    assert shown(pieces.write(tmp_path / "remark.kms")) == digests
    pieces.records.append(("Remark", {}, "hello"))
    with pytest.raises(RecordingError, match="Remark"):
        open_recording(pieces.write(tmp_path / "critical.kms"))


def test_a_config_of_a_newer_kernel_is_refused_as_a_recording(
    tmp_path: Path, pieces: Pieces
) -> None:
    with_config(kernel={"version": "99.1"})(pieces)
    with pytest.raises(RecordingError, match=r"99\.1"):
        open_recording(pieces.write(tmp_path / "newer.kms"))


def test_an_input_that_no_machine_takes_is_named_with_its_step(
    tmp_path: Path, pieces: Pieces
) -> None:
    with_input((0, "format_disk", 0, [], 0, ""))(pieces)
    opened = open_recording(pieces.write(tmp_path / "hostile.kms"))
    with pytest.raises(ConfigError, match=r"format_disk.*neither a call nor a knob"):
        opened.timeline.seek(NO_LIMIT)
    opened.reader.close()


def test_a_missing_file_and_a_foreign_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        open_recording(tmp_path / "none.kms")
    (tmp_path / "text.kms").write_text("hello, world, this is a text")
    with pytest.raises(RecordingError, match="not a kmemscope recording"):
        open_recording(tmp_path / "text.kms")


# -- for ever -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("v[12]-*.kms")), ids=lambda path: path.stem)
def test_a_recording_of_format_1_stays_readable_for_ever(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    opened = open_recording(path)
    timeline = opened.timeline
    assert opened.warnings == []
    counts = {
        "end_step": timeline.end_step,
        "inputs": timeline.nr_inputs,
        "events": timeline.nr_events,
        "segments": len(timeline.heads),
        "marks": [list(mark) for mark in timeline.marks()],
    }
    assert counts == expected["counts"]
    for step, digest in expected["digests"].items():
        timeline.seek(int(step))
        assert state_digest(timeline.machine) == digest, step
    opened.reader.close()
    assert verify_recording(path) == []


def test_there_is_a_recording_of_format_1() -> None:
    assert [path.name for path in sorted(FIXTURES.glob("v[12]-*.kms"))] == [
        "v1-small.kms", "v2-small.kms",
    ]  # fmt: skip


def test_an_end_that_the_inputs_do_not_reach_is_refused_when_one_goes_there(
    tmp_path: Path, pieces: Pieces
) -> None:
    place = pieces.places("Segment")[-1]
    key = dict(cast("dict[str, object]", pieces.records[place][1]))
    real_end = cast("int", key["l"])
    pieces.set(place, key=key | {"l": real_end + 1000})
    opened = open_recording(pieces.write(tmp_path / "longer.kms"))
    opened.timeline.seek(real_end)
    with pytest.raises(RecordingError, match=f"promises steps up to {real_end + 1000}"):
        opened.timeline.seek(real_end + 1)
    assert opened.timeline.step == real_end
    opened.reader.close()
