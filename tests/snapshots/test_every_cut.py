"""Every cut: whatever is done to a recording's bytes or records, no false state is believed.

A file that was cut, flipped or forged either opens, and then each state it shows is the true one of that
step or verify tells; or it is refused in words. Nothing crashes, hangs, or fills the memory.
"""

from __future__ import annotations

import copy
import random
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.errors import KernelSimError
from snapshots.branches import BRANCHES_MAX
from snapshots.container.blobs import blob_hash, blob_key
from snapshots.errors import RecordingError
from snapshots.recording import OpenRecording, open_recording, save_tree
from snapshots.state_codec import encode_part, state_digest
from snapshots.verify import verify_recording
from tests.recordings.make_v3 import ORIGIN, three_branches, write_killed
from tests.snapshots.conftest import JUNK, Pieces, mutated, short_segments

RECORDINGS = Path(__file__).parents[1] / "recordings"
OLD = ("v1-small", "v2-small")
NEW = ("tree", "killed")
SECONDS_MAX = 20  # for one file; the slowest here takes half a second on an idle computer
MEMORY_BYTES_MAX = 1 << 30  # more than before
EVERY = 29  # steps between two that are looked at


@contextmanager
def bounded(seconds: int = SECONDS_MAX, more_bytes: int = MEMORY_BYTES_MAX) -> Iterator[None]:
    """Fail what takes longer, or takes more memory than there is now and that."""

    def out_of_time(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    mapped_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (mapped_bytes + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Shown:
    """What somebody saw of a file: digests by branch and step, ends of branches, what was said."""

    digests: dict[int, dict[int, str]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    bookmarks: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def look(path: Path, every: int = EVERY) -> Shown:
    """Go through all branches backwards. What is refused in words is among what was said."""
    shown = Shown()
    try:
        opened = open_recording(path)
    except KernelSimError as problem:
        assert len(str(problem)) < 2000
        shown.said.append(str(problem))
        return shown
    try:
        _look_at(opened, shown, every)
    finally:
        opened.reader.close()
    return shown


def _look_at(opened: OpenRecording, shown: Shown, every: int) -> None:
    shown.bookmarks = sorted(opened.bookmarks)
    for _, branch in opened.tree.walk():
        found = shown.digests.setdefault(branch.number, {})
        try:
            timeline = branch.timeline
            shown.ends[branch.number] = timeline.end_step
            list(timeline.marks())
            for step in range(timeline.end_step, -1, -every):
                step -= step % every  # the same steps, however long the run is
                timeline.seek(step)
                found[timeline.step] = state_digest(timeline.machine)
        except KernelSimError as problem:
            assert len(str(problem)) < 2000
            shown.said.append(str(problem))
    shown.said += opened.warnings


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    with short_segments(6):
        tree, bookmarks = three_branches()
        save_tree(folder / "tree.kms", tree, ORIGIN, bookmarks)
        write_killed(folder / "killed.kms")
    return {
        **{name: RECORDINGS / f"{name}.kms" for name in OLD},
        **{name: folder / f"{name}.kms" for name in NEW},
    }


@pytest.fixture(scope="module")
def truths(paths: dict[str, Path]) -> dict[str, Shown]:
    return {name: look(path) for name, path in paths.items()}


def check_true(shown: Shown, truth: Shown, what: str) -> None:
    """No state of a damaged file is another than it was, and what is lost is told."""
    for branch, digests in shown.digests.items():
        for step, digest in digests.items():
            assert truth.digests[branch].get(step) == digest, f"{what}: branch {branch} step {step}"
    # a cut between two records takes whole branches and bookmarks, and leaves nothing that could tell
    if any(truth.ends.get(branch) != end for branch, end in shown.ends.items()):
        assert shown.said, f"{what}: something is lost and nobody says so"


def survive(data: bytes, path: Path, truth: Shown, what: str, every: int = EVERY) -> bool:
    """Look at these bytes; returns whether they could be opened."""
    path.write_bytes(data)
    with bounded():
        shown = look(path, every)
    check_true(shown, truth, what)
    return bool(shown.digests)


# -- cut and flipped -------------------------------------------------------------------------------------


def cut(
    paths: dict[str, Path], truths: dict[str, Shown], name: str, path: Path, places: range
) -> None:
    data = paths[name].read_bytes()
    nr_opened = sum(
        survive(data[:at], path, truths[name], f"{name} cut at byte {at}", 4 * EVERY)
        for at in places[: len(data)]
    )
    assert nr_opened > len(places[: len(data)]) // 3


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_a_file_cut_anywhere_shows_what_is_whole(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str
) -> None:
    nr_bytes = paths[name].stat().st_size
    cut(paths, truths, name, tmp_path / "cut.kms", range(7, nr_bytes, 7 * (nr_bytes // 700)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_a_file_cut_at_every_byte_shows_what_is_whole(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str
) -> None:
    cut(paths, truths, name, tmp_path / "cut.kms", range(paths[name].stat().st_size))


FLIPS: dict[str, Callable[[int], int]] = {
    "one bit": lambda byte: byte ^ 1, "high bit": lambda byte: byte ^ 0x80,
    "all bits": lambda byte: byte ^ 0xFF,
    "zero": lambda byte: 0 if byte else 1, "one more": lambda byte: (byte + 1) & 0xFF,
}  # fmt: skip


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_a_flipped_byte_is_never_believed(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str
) -> None:
    data = paths[name].read_bytes()
    chance = random.Random(name)
    for _ in range(60):
        at, how = chance.randrange(len(data)), chance.choice(sorted(FLIPS))
        flipped = data[:at] + bytes([FLIPS[how](data[at])]) + data[at + 1 :]
        survive(flipped, tmp_path / "flip.kms", truths[name], f"{name} byte {at}: {how}", 4 * EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("how", FLIPS)
@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_no_flipped_byte_is_believed(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str, how: str
) -> None:
    data = paths[name].read_bytes()
    for at in range(len(data)):
        flipped = data[:at] + bytes([FLIPS[how](data[at])]) + data[at + 1 :]
        survive(flipped, tmp_path / "flip.kms", truths[name], f"{name} byte {at}: {how}", 8 * EVERY)


@pytest.mark.parametrize("name", NEW)
def test_pieces_of_a_file_in_another_order_are_never_believed(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str
) -> None:
    data = paths[name].read_bytes()
    chance = random.Random(name)
    for number in range(20):
        low, high = sorted(chance.randrange(len(data)) for _ in "ab")
        for what in (data[:low] + data[high:], data[:high] + data[low:], data + data[low:high],
                     data[:low] + bytes(high - low) + data[high:]):  # fmt: skip
            survive(
                what,
                tmp_path / "cut.kms",
                truths[name],
                f"{name} {number}: {low} {high}",
                4 * EVERY,
            )


# -- forged: checksums are right, the meaning is not -------------------------------------------------------


def forge(pieces: Pieces, chance: random.Random) -> None:
    """Change one thing where its meaning is."""
    what = chance.choice(
        ["header", "key", "key", "body", "body", "inside", "inside", "gone", "twice", "swap"]
    )
    rows = pieces.records
    place = chance.randrange(len(rows))
    kind, key, body = rows[place]
    if what == "header":
        changed = mutated(pieces.header, chance)
        pieces.header = changed if isinstance(changed, dict) else {}
    elif what == "key":
        changed = mutated(key, chance)
        pieces.set(place, key=changed if isinstance(changed, dict) else {})
    elif what == "body":
        rows[place] = (kind, key, mutated(body, chance))
    elif what == "inside":
        _forge_inside(pieces, place, chance)
    elif what == "gone":
        del rows[place]
    elif what == "twice":
        rows.insert(chance.randrange(len(rows)), copy.deepcopy(rows[place]))
    else:
        other = chance.randrange(len(rows))
        rows[place], rows[other] = rows[other], rows[place]


def _forge_inside(pieces: Pieces, place: int, chance: random.Random) -> None:
    """Change one thing in what is packed inside a body: columns, a part, a patch."""
    kind, key, body = pieces.records[place]
    if not isinstance(body, bytes):
        return
    if kind == "Segment":
        columns = mutated(pieces.segment_columns(place), chance)
        pieces.set(place, body=zlib.compress(msgpack.packb(columns)))
        return
    packed = encode_part(mutated(msgpack.unpackb(body, strict_map_key=False), chance))
    if kind == "Blob":  # under its right name, which all keyframes use
        name = bytes(blob_hash(packed))
        old, key = key["hash"], dict(blob_key(blob_hash(packed)))
        for at, row in enumerate(pieces.records):
            if row[0] == "Keyframe" and isinstance(row[2], list):
                changed, gone = row[2]
                pieces.set(
                    at, body=[{n: name if b == old else b for n, b in changed.items()}, gone]
                )
    pieces.records[place] = (kind, key, packed)


def survive_forgery(whole: Pieces, path: Path, truth: Shown, seed: int) -> None:
    chance = random.Random(seed)
    pieces = copy.deepcopy(whole)
    try:
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            forge(pieces, chance)
        pieces.write(path)
    except (RecordingError, OverflowError, ValueError, TypeError, LookupError):
        return  # it cannot be written, or what should be changed was changed before
    with bounded():
        shown = look(path)
    try:
        check_true(shown, truth, f"forgery {seed}")
    except (AssertionError, LookupError):
        try:
            assert shown.said or verify_recording(path), f"forgery {seed} is believed"
        except RecordingError:
            return


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(NEW), seed=st.integers(0, 1 << 40))
def test_a_forged_recording_is_refused_or_told(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str, seed: int
) -> None:
    survive_forgery(Pieces.of(paths[name]), tmp_path / "forged.kms", truths[name], seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 8000, 1000))
@pytest.mark.parametrize("name", NEW)
def test_no_forged_recording_is_believed(
    tmp_path: Path, paths: dict[str, Path], truths: dict[str, Shown], name: str, first: int
) -> None:
    whole = Pieces.of(paths[name])
    for seed in range(first, first + 1000):
        survive_forgery(whole, tmp_path / "forged.kms", truths[name], seed)


# -- bombs -------------------------------------------------------------------------------------------------


def last_of_main(pieces: Pieces, kind: str) -> int:
    return [at for at in pieces.places(kind) if pieces.records[at][1]["b"] == 0][-1]


def with_segment(packed: bytes) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        pieces.set(last_of_main(pieces, "Segment"), body=zlib.compress(packed))

    return change


def with_branches(pieces: Pieces) -> None:
    body = cast("dict[str, object]", pieces.records[pieces.places("Branch")[1]][2])
    for number in range(5, BRANCHES_MAX + 6):
        pieces.records.append(("Branch", {"b": number}, body | {"name": f"x{number}"}))


def with_bookmarks(pieces: Pieces) -> None:
    for number in range(3000):
        pieces.records.append(("bookmark", {}, {"name": f"x{number}", "step": 1}))


def with_chain(
    link: Callable[[bytes], object], packed: bytes, length: int
) -> Callable[[Pieces], None]:
    """A part of the last keyframe as a chain of patches, each as large as it likes."""

    def change(pieces: Pieces) -> None:
        name = bytes(blob_hash(packed))
        rows: list[tuple[str, dict[str, object], object]] = [
            ("Blob", blob_key(blob_hash(packed)), packed)
        ]
        for number in range(length):
            base, name = name, number.to_bytes(16, "big")
            rows.append(("Patch", {"h": name, "o": base}, link(packed)))
        place = last_of_main(pieces, "Keyframe")
        changed, gone = cast("tuple[dict[str, bytes], list[str]]", pieces.records[place][2])
        pieces.set(place, body=[{**changed, "clock": name}, gone])
        pieces.records[:0] = rows

    return change


def with_tail(inputs: object) -> Callable[[Pieces], None]:
    def change(pieces: Pieces) -> None:
        pieces.records = [row for row in pieces.records if row[0] != "Branch" or row[1]["b"]]
        key = pieces.records[last_of_main(pieces, "Segment")][1]
        first = cast("int", key["i"]) + cast("int", key["ni"])
        pieces.records.append(("tail", {"b": 0, "i": first}, [1 << 60, inputs]))

    return change


MANY = 1 << 20
BOMBS: dict[str, Callable[[Pieces], None]] = {
    "a segment of 80 MiB": with_segment(bytes(80 << 20)),
    "a segment of arrays": with_segment(b"\xdd" + MANY.to_bytes(4, "big") + b"\x90" * (1 << 20)),
    "a segment that claims arrays": with_segment(b"\xdd\xff\xff\xff\xff\x90"),
    "a segment without a bottom": with_segment(b"\x91" * MANY + b"\0"),
    "a segment of countless rows": with_segment(
        msgpack.packb((3, 1 << 40, 0, [["=", 0]] * 4 + [["=", ""], [["a", 1 << 40, []]]], []))
    ),
    "a segment of fewer than no rows": with_segment(
        msgpack.packb(
            (3, -(1 << 60), 1 << 40, [["=", 0]] * 4 + [["=", ""], []], [["=", 0]] * 3 + [[]])
        )
    ),
    "a segment whose groups are all rows each": with_segment(
        msgpack.packb(
            (3, 800_000, 0, [["=", 0]] * 4 + [["=", ""], [["a", 800_000, []]] * 3000], [])
        )
    ),
    "branches without end": with_branches,
    "bookmarks without end": with_bookmarks,
    "a chain of large patches": with_chain(
        lambda _: encode_part((3, bytes(20 << 20))), encode_part(bytes(20 << 20)), 15
    ),
    "a chain of many patches": with_chain(lambda _: encode_part((0, 1)), encode_part(0), 5000),
    "a patch without a bottom": with_chain(
        lambda _: b"\x93\x01\x91\0\x91" * 900 + b"\x92\0\0", encode_part(0), 1
    ),
    "a part without a bottom": with_chain(
        lambda _: b"\x92\0" + b"\x91" * 900 + b"\0", encode_part(0), 1
    ),
    "a part of countless rows": with_chain(lambda _: b"", encode_part([0] * (1 << 22)), 0),
    "a tail to the end of time": with_tail([]),
    "a tail of countless inputs": with_tail([[0, "purge_vmap", 0, [], 0, ""]] * 70_000),
    "a tail far away": with_tail([[1 << 60, "purge_vmap", 0, [], 0, ""]]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounds(tmp_path: Path, paths: dict[str, Path], name: str) -> None:
    pieces = Pieces.of(paths["tree"])
    BOMBS[name](pieces)
    path = pieces.write(tmp_path / "bomb.kms")
    assert path.stat().st_size < 4 << 20
    del pieces
    with bounded(60, 400 << 20):
        shown = look(path, 300)
    assert shown.said


# -- guided by what the code does with it ------------------------------------------------------------------

FUZZ = """
import sys, atheris
with atheris.instrument_imports(include=["snapshots"]):
    from tests.snapshots.test_every_cut import fuzz_one
from pathlib import Path
whole, path = Path(sys.argv[1]), Path(sys.argv[2])
del sys.argv[1:3]
atheris.Setup(sys.argv, lambda data: fuzz_one(whole, path, data))
atheris.Fuzz()
"""
_FUZZED: dict[Path, Pieces] = {}


def fuzz_one(whole: Path, path: Path, data: bytes) -> None:
    """Put bytes in the place of one record's body, as it would be packed, and look at the file."""
    if whole not in _FUZZED:
        _FUZZED[whole] = Pieces.of(whole)
    pieces = Pieces(_FUZZED[whole].header, list(_FUZZED[whole].records))
    place = int.from_bytes(data[:2], "big") % len(pieces.records)
    kind, key, body = pieces.records[place]
    try:
        if kind == "Segment":
            body = zlib.compress(data[2:])
        elif isinstance(body, bytes):
            body = data[2:]
        else:
            body = msgpack.unpackb(data[2:], strict_map_key=False)
        pieces.records[place] = (kind, key, body)
        pieces.write(path)
    except (KernelSimError, ValueError, TypeError, OverflowError):
        return
    look(path, 300)


@pytest.mark.slow
def test_a_fuzzer_that_sees_the_code_finds_nothing(tmp_path: Path, paths: dict[str, Path]) -> None:
    pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for place, (kind, _, body) in enumerate(Pieces.of(paths["tree"]).records):
        packed = cast("bytes", body) if isinstance(body, bytes) else msgpack.packb(body)
        packed = zlib.decompress(packed) if kind == "Segment" else packed
        (corpus / str(place)).write_bytes(place.to_bytes(2, "big") + packed)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, paths["tree"], tmp_path / "fuzzed.kms", "-runs=20000",
         "-max_total_time=120", "-timeout=20", "-rss_limit_mb=1024",
         f"-artifact_prefix={tmp_path}/", corpus],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]


def test_what_the_fuzzer_does_is_harmless_to_a_true_file(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    chance = random.Random(5)
    for _ in range(25):
        data = chance.randbytes(2) + msgpack.packb(chance.choice(JUNK))
        with bounded():
            fuzz_one(paths["tree"], tmp_path / "fuzzed.kms", data)
