from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError
from snapshots.logs import text_source
from snapshots.logs.text_source import read_lines, read_text


def write(folder: Path, data: bytes, name: str = "some.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path | str, **limits: int) -> str:
    with pytest.raises(InputError) as caught:
        list(read_lines(path, **limits))
    text = str(caught.value)
    assert "\n" not in text
    assert "; expected" in text
    return text


def test_lines_keep_their_newline_and_only_the_last_may_lack_it(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, b"a\n\nb"))) == ["a\n", "\n", "b"]


def test_carriage_returns_before_newlines_vanish(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, b"a\r\nb\r\n"))) == ["a\n", "b\n"]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, b""))) == []


def test_gzip_is_known_by_content_whatever_the_name(tmp_path: Path) -> None:
    assert read_text(write(tmp_path, gzip.compress(b"a\nb\n"), "plain.txt")) == "a\nb\n"
    assert read_text(write(tmp_path, b"a\n", "not-really.gz")) == "a\n"


def test_gzip_members_are_joined_and_zero_padding_is_skipped(tmp_path: Path) -> None:
    data = gzip.compress(b"a\n") + gzip.compress(b"b\n") + b"\0" * 1000
    assert read_text(write(tmp_path, data)) == "a\nb\n"


def test_bytes_that_are_no_utf8_become_replacement_characters(tmp_path: Path) -> None:
    assert read_text(write(tmp_path, b"caf\xe9-12\n")) == "caf\ufffd-12\n"


def test_a_character_across_two_blocks_stays_whole(tmp_path: Path) -> None:
    text = "x" * (text_source.BLOCK_BYTES - 1) + "é\n"
    assert read_text(write(tmp_path, text.encode())) == text


def test_a_zero_byte_is_refused_with_its_offset(tmp_path: Path) -> None:
    assert "byte 70002 of the text is 0" in refusal(write(tmp_path, b"a" * 70002 + b"\0"))


def test_a_zero_byte_inside_gzip_is_refused_with_its_offset_in_the_text(tmp_path: Path) -> None:
    assert "byte 2 of the text is 0" in refusal(write(tmp_path, gzip.compress(b"ab\0")))


@pytest.mark.parametrize("kept_bytes", range(2, 40))
def test_gzip_cut_anywhere_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    packed = gzip.compress(bytes(range(32, 127)) * 3)
    assert len(packed) > 40
    message = refusal(write(tmp_path, packed[:kept_bytes]))
    assert f"ends too early, at byte {kept_bytes} after" in message


def test_damaged_gzip_is_refused_with_what_was_read(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"line\n" * 50_000, compresslevel=0))
    packed[-6] ^= 1  # the checksum
    assert "damaged before byte 250043, after 1" in refusal(write(tmp_path, bytes(packed)))


def test_garbage_after_gzip_is_refused(tmp_path: Path) -> None:
    assert "damaged" in refusal(write(tmp_path, gzip.compress(b"a\n") + b"rest"))


def test_a_text_beyond_the_limit_is_refused_and_the_limit_named(tmp_path: Path) -> None:
    packed = write(tmp_path, gzip.compress(b"a\n" * (1 << 20)))
    assert "more than 1 MiB of text" in refusal(packed, limit_bytes=1 << 20)
    assert len(list(read_lines(packed, limit_bytes=2 << 20))) == 1 << 20


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"ab\n" + b"x" * (text_source.LINE_BYTES_MAX + 100_000))
    assert "the line at byte 3 of the text is longer" in refusal(path)


@pytest.mark.parametrize(
    ("magic", "word"),
    [
        (b"\x17\x08\x44tracing6", "trace-cmd report"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, magic: bytes, word: str) -> None:
    assert word in refusal(write(tmp_path, magic + b"\0rest of it"))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing")


def test_a_device_is_refused() -> None:
    assert "neither file nor pipe" in refusal("/dev/zero")


def test_a_path_with_a_zero_byte_is_refused() -> None:
    assert "null" in refusal("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n")
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_a_pipe_that_nobody_writes_to_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list(read_lines(tmp_path / "pipe")) == []


@given(data=st.binary(max_size=300), packed=st.booleans())
def test_any_bytes_give_lines_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    try:
        lines = list(read_lines(path))
    except InputError:
        return
    assert all(line.endswith("\n") for line in lines[:-1])
    assert not any("\n" in line[:-1] for line in lines)
