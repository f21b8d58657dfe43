from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.modinfo import ModInfo, modinfo_tags, read_modinfo


def test_a_kernel_object_says_what_it_is(make_image: Any) -> None:
    for arch in ("x86-64", "i386"):
        assert read_modinfo(parse_elf(make_image("exporter", arch)), "other") == ModInfo(
            "exporter", "GPL", "6.1.0-56-amd64 SMP preempt mod_unload modversions ", ()
        )


def test_a_plain_object_has_the_name_of_its_file(make_image: Any) -> None:
    elf = parse_elf(make_image("plain"))
    assert read_modinfo(elf, "my-module") == ModInfo("my_module", "", "", ())


def test_without_modinfo_the_name_is_in_the_struct(make_image: Any) -> None:
    for arch in ("x86-64", "i386"):
        image = make_image("exporter", arch).replace(b"\0name=exporter", b"\0eman=exporter")
        assert read_modinfo(parse_elf(image), "other").name == "exporter"


@pytest.mark.parametrize("name", ["", "a" * 56, "with space", "new\nline", "ä"])
def test_a_name_that_cannot_be_is_refused(make_image: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="module name"):
        read_modinfo(parse_elf(make_image("plain")), name)


def test_the_longest_names(make_image: Any) -> None:
    assert read_modinfo(parse_elf(make_image("plain")), "a" * 55).name == "a" * 55
    assert read_modinfo(parse_elf(make_image("plain", "i386")), "a" * 59).name == "a" * 59


def test_tags_are_the_first_of_each_name() -> None:
    data = b"a=1\0\0\0b=x=y\0a=2\0nothing\0=\0depends=kvm,ccp\0cut=off"
    assert modinfo_tags(data) == {"a": "1", "b": "x=y", "": "", "depends": "kvm,ccp"}
    assert modinfo_tags(b"") == {}


def test_depends_are_names(make_image: Any) -> None:
    said = b"depends=\0license=GPL\0"
    image = make_image("exporter").replace(said, b"depends=a,b\0license=\0")
    assert read_modinfo(parse_elf(image), "x").depends == ("a", "b")
