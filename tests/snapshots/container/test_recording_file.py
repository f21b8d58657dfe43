"""The container as a whole: every cut, every flipped bit, any bytes at all; and its manual."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.container.recording_file import RecordEntry, RecordingReader, RecordingWriter
from snapshots.errors import RecordingError

MANUAL = Path(__file__).parents[3] / "docs" / "recording-format.md"
Content = list[tuple[int, str, object]]  # offset, kind and body of every record

payloads = st.lists(
    st.tuples(
        st.sampled_from(["Events", "Keyframe", "note"]),
        st.recursive(
            st.none()
            | st.integers(-(2**63), 2**64 - 1)
            | st.text(max_size=5)
            | st.binary(max_size=300),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=8,
        ),
    ),
    max_size=8,
)


def write_example(path: Path) -> None:
    with RecordingWriter.create(path, {"seed": 5}) as writer:
        for step in range(3):
            writer.append("Events", [step, "pcpu_alloc"], {"step": step})
        writer.append("Keyframe", {"page": writer.put_blob(b"page" * 60)}, {"step": 3})


def content_of(path: Path, *, use_index: bool = True) -> Content:
    """Return all that can be believed of a file, leaving out records that are reported bad."""
    content: Content = []
    with RecordingReader.open(path, use_index=use_index) as reader:
        for entry in reader.records():
            try:
                content.append((entry.offset_bytes, entry.kind, reader.read(entry)))
            except RecordingError as error:
                assert f"byte {entry.offset_bytes}: " in str(error)
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.kms"


@settings(max_examples=60, deadline=None)
@given(payloads, payloads)
def test_what_two_writers_appended_one_reader_finds(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, object]],
    second: list[tuple[str, object]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "two.kms"
    entries: list[RecordEntry] = []
    with RecordingWriter.create(path, {}, overwrite=True) as writer:
        entries += [writer.append(kind, body, {"n": n}) for n, (kind, body) in enumerate(first)]
    with RecordingWriter.reopen(path) as writer:
        entries += [writer.append(kind, body, {"n": n}) for n, (kind, body) in enumerate(second)]
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
        found = [e for e in reader.records() if e.kind not in ("index", "trailer")]
        assert found == entries
        assert [(e.kind, reader.read(e)) for e in found] == first + second
    assert content_of(path) == content_of(path, use_index=False)


def test_a_recording_cut_at_any_byte_keeps_every_complete_record_and_no_other(path: Path) -> None:
    write_example(path)
    whole = path.read_bytes()
    content = content_of(path)
    with RecordingReader.open(path) as reader:
        header_bytes = reader.header.length_bytes
        ends = [entry.offset_bytes + entry.length_bytes for entry in reader.records()]
    for length_bytes in range(header_bytes, len(whole)):
        path.write_bytes(whole[:length_bytes])
        nr_complete = sum(end <= length_bytes for end in ends)
        assert content_of(path) == content[:nr_complete]
        with RecordingReader.open(path) as reader:
            last_end = max([header_bytes, *ends[:nr_complete]])
            if length_bytes == last_end:
                assert reader.torn is None
            else:
                assert reader.torn is not None
                assert reader.torn.offset_bytes == last_end
                assert reader.torn.lost_bytes == length_bytes - last_end
    for length_bytes in range(header_bytes):
        path.write_bytes(whole[:length_bytes])
        with pytest.raises(RecordingError, match=r"run\.kms: byte 0: "):
            RecordingReader.open(path)


@pytest.mark.parametrize("use_index", [True, False])
def test_no_flipped_bit_of_a_recording_is_ever_believed(path: Path, use_index: bool) -> None:
    write_example(path)
    whole = path.read_bytes()
    content = content_of(path)
    with RecordingReader.open(path) as reader:
        header_bytes = reader.header.length_bytes
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if bit < 8 * header_bytes:
            with pytest.raises(RecordingError, match="byte "):
                RecordingReader.open(path)
            continue
        believed = content_of(path, use_index=use_index)
        assert len(believed) < len(content)
        assert all(record in content for record in believed)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_strangers_file_raises_anything_but_a_recording_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "stranger.kms"
    with RecordingWriter.create(path, {"seed": 5}, overwrite=True) as writer:
        writer.append("Events", [1, 2], {"step": 1})
        name = writer.put_blob(b"page" * 60)
    stranger = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(stranger)))
        stranger[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(stranger)
    for use_index in (True, False):
        try:
            with RecordingReader.open(path, use_index=use_index) as reader:
                for entry in reader.records():
                    reader.read(entry)
                reader.blob(name)
        except RecordingError as error:
            assert str(error).startswith(f"{path}: ")


def test_any_msgpack_library_lists_a_file_that_was_continued(path: Path) -> None:
    write_example(path)
    with RecordingWriter.reopen(path) as writer:
        writer.append("note", "more")
    with path.open("rb") as file:
        arrays = list(msgpack.Unpacker(file))
    assert {len(array) for array in arrays} == {5}
    assert [array[0] for array in arrays] == [
        *("kmemscope", "Events", "Events", "Events", "Blob", "Keyframe", "index", "trailer"),
        *("note", "index", "trailer"),
    ]


def hexdump_lines(data: bytes) -> list[str]:
    lines = []
    for offset_bytes in range(0, len(data), 16):
        row = data[offset_bytes : offset_bytes + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{offset_bytes:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|")
    return lines


def test_the_hexdump_in_the_manual_is_this_very_file(path: Path) -> None:
    with RecordingWriter.create(path, {"program": "kmemscope"}) as writer:
        writer.append("bookmark", {"name": "start"}, {"step": 7})
    (dump,) = re.findall(r"```hexdump\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert dump.splitlines() == hexdump_lines(path.read_bytes())


def test_the_file_dumped_in_the_manual_is_read(path: Path) -> None:
    (dump,) = re.findall(r"```hexdump\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    path.write_bytes(b"".join(bytes.fromhex(line[10:58]) for line in dump.splitlines()))
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
        assert reader.header.fields == {"program": "kmemscope"}
        (entry,) = reader.records("bookmark")
        assert (entry.key, reader.read(entry)) == ({"step": 7}, {"name": "start"})


def test_the_python_in_the_manual_reads_a_recording(
    path: Path,
) -> None:
    write_example(path)
    (program,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    run = [sys.executable, "-c", program]
    shown = subprocess.run(
        run, cwd=path.parent, capture_output=True, text=True, timeout=60, check=True
    )
    lines = shown.stdout.splitlines()
    assert lines[0] == "{'seed': 5}"
    assert lines[1] == "Events {'step': 0} [0, 'pcpu_alloc']"
    assert [line.split()[0] for line in lines[4:]] == ["Blob", "Keyframe", "index", "trailer"]


def test_the_manual_draws_each_part_of_the_dumped_file_at_its_place(path: Path) -> None:
    with RecordingWriter.create(path, {"program": "kmemscope"}) as writer:
        writer.append("bookmark", {"name": "start"}, {"step": 7})
    manual = MANUAL.read_text(encoding="utf-8")
    with RecordingReader.open(path) as reader:
        for entry in reader.records():
            end_bytes = entry.offset_bytes + entry.length_bytes
            assert f"| `{entry.offset_bytes:#06x}`–`{end_bytes - 1:#06x}` | {entry.kind}" in manual
