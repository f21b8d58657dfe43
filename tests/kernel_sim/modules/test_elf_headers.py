from __future__ import annotations

import struct
from typing import Any

import pytest

from kernel_sim.modules import elf_headers
from kernel_sim.modules.elf_headers import Section, read_headers, string_reader
from kernel_sim.modules.errors import ModuleFormatError


def patched(image: bytes, offset: int, data: bytes) -> bytes:
    return image[:offset] + data + image[offset + len(data) :]


def table_of(image: bytes) -> int:
    return int.from_bytes(image[40:48], "little")


def header_of(image: bytes, index: int, field: int) -> int:
    """Return the file offset of a field in the section header with this index (x86-64)."""
    return table_of(image) + 64 * index + field


def refusal(image: bytes) -> str:
    with pytest.raises(ModuleFormatError) as caught:
        read_headers(image)
    return str(caught.value)


def test_both_kinds_of_objects_are_read(make_image: Any) -> None:
    for arch in ("x86-64", "i386"):
        elf_class, sections = read_headers(make_image("counter", arch))
        assert elf_class.arch == arch
        names = [section.name for section in sections]
        assert names[0] == "" and ".text" in names and ".data..percpu" in names
        percpu = sections[names.index(".data..percpu")]
        assert (percpu.size_bytes, percpu.align) == ({"x86-64": 20, "i386": 12}[arch], 32)
        assert percpu.is_alloc and percpu.where.endswith(".data..percpu")


@pytest.mark.parametrize(
    ("offset", "data", "text"),
    [
        (0, b"MZ", "file offset 0x0: no ELF magic"),
        (4, b"\x03", "file offset 0x4: class 3"),
        (5, b"\x02", "byte order 2, version 1"),
        (16, b"\x02", "file offset 0x10: type 2: expected 1"),
        (18, b"\x28", "file offset 0x12: machine 40: expected 62"),
        (40, b"\xff" * 8, "headers reach beyond the file"),
        (58, b"\x20", "section headers of 32 bytes: expected 64"),
        (60, b"\xff\xff", "headers reach beyond the file"),
        (60, b"\0\0", "section name index"),
        (62, b"\0\0", "section name index 0"),
        (62, b"\xff\xff", "section name index 65535"),
    ],
)
def test_a_bad_header_is_refused(make_image: Any, offset: int, data: bytes, text: str) -> None:
    assert text in refusal(patched(make_image("plain"), offset, data))


@pytest.mark.parametrize(
    ("index", "field", "data", "text"),
    [
        (0, 4, b"\1", "section 0 is not empty"),
        (1, 8, struct.pack("<Q", 0x802), "compressed sections"),
        (1, 48, b"\3", "alignment 0x3: expected a power of two"),
        (1, 48, struct.pack("<Q", 1 << 40), "alignment 0x10000000000"),
        (1, 24, struct.pack("<Q", 1 << 63), "reach beyond the file"),
        (1, 32, struct.pack("<Q", (1 << 64) - 1), "reach beyond the file"),
        (1, 40, b"\xff\xff\0\0", "sh_link 65535: expected a section below"),
        (1, 0, b"\xff\xff\xff\xff", "is outside of"),
    ],
)
def test_a_bad_section_header_is_refused(
    make_image: Any, index: int, field: int, data: bytes, text: str
) -> None:
    image = make_image("plain")
    message = refusal(patched(image, header_of(image, index, field), data))
    assert text in message
    assert "section [" in message and "file offset 0x" in message


def test_gigabytes_of_nothing_are_refused(make_image: Any) -> None:
    image = make_image("counter")
    _, sections = read_headers(image)
    bss = next(section for section in sections if section.name == ".bss")
    image = patched(image, header_of(image, bss.index, 32), struct.pack("<Q", 4 << 30))
    assert "bytes without contents" in refusal(image)
    assert f"section [{bss.index}] .bss" in refusal(image)


def test_sections_that_share_bytes_are_refused(make_image: Any) -> None:
    image = make_image("wide")
    for index in (1, 2, 3):
        image = patched(image, header_of(image, index, 24), struct.pack("<QQ", 0, len(image) // 2))
        image = patched(image, header_of(image, index, 4), struct.pack("<I", 1))
    assert "sections overlap" in refusal(image)


def test_a_name_table_without_an_end_is_refused(make_image: Any) -> None:
    image = make_image("plain")
    _, sections = read_headers(image)
    names = sections[struct.unpack_from("<H", image, 62)[0]]
    end = names.offset_bytes + names.size_bytes - 1
    assert "isn't null terminated" in refusal(patched(image, end, b"x"))


def test_a_file_larger_than_the_limit_is_refused(
    make_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf_headers, "IMAGE_BYTES_MAX", 100)
    assert "more than 100" in refusal(make_image("plain"))


def test_names_are_bounded_by_table_and_limit() -> None:
    image = b"..\0short\0" + b"x" * 600 + b"\0"
    name_at = string_reader(image, Section(1, "names", 3, 0, len(image) - 2, 1, 2))
    assert name_at(0) == "" and name_at(1) == "short" and name_at(3) == "ort"
    assert name_at(1) == "short"
    with pytest.raises(ModuleFormatError, match="no end within 511 bytes"):
        name_at(7)
    with pytest.raises(ModuleFormatError, match="is outside of"):
        name_at(len(image))
    strange = string_reader(b"\xff\x01\0", Section(1, "names", 3, 0, 3, 1, 0))
    assert strange(0) == "\\xff\x01"
