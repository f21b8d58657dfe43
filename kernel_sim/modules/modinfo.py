"""What a module says of itself in .modinfo: texts of the form tag=value, each ending in a NUL.

    license=GPL\\0depends=kvm,ccp\\0name=kvm_amd\\0vermagic=6.1.0-56-amd64 SMP …\\0

A plain object file without .modinfo says nothing: its name is then the one it was loaded under.
Source: kernel/module/main.c, Linux 6.1: get_modinfo(), next_string().
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.errors import ConfigError
from kernel_sim.modules.elf_headers import X86_64
from kernel_sim.modules.elf_object import ElfObject

MODULE_NAME_BYTES = {8: 55, 4: 59}
"""Longest name by size of a long: struct module keeps 64 bytes less one long, and a NUL."""
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+"


@dataclass(frozen=True, slots=True)
class ModInfo:
    """What .modinfo says; empty where it says nothing."""

    name: str
    license: str
    vermagic: str
    depends: tuple[str, ...]


def read_modinfo(elf: ElfObject, file_name: str) -> ModInfo:
    """Return what an object says of itself; file_name is its name if it does not say it.

    Raises ConfigError for a name that cannot be a module's.
    """
    section = elf.find_section(".modinfo")
    tags = modinfo_tags(elf.data_of(section)) if section is not None else {}
    name = tags.get("name") or _name_in_struct(elf) or file_name.replace("-", "_")
    name_bytes_max = MODULE_NAME_BYTES[elf.elf_class.word_bytes]
    if not 0 < len(name) <= name_bytes_max or any(c not in _NAME_CHARACTERS for c in name):
        raise ConfigError(
            f"module name {name[:80]!r}: expected 1 to {name_bytes_max} letters, digits or _-.+"
        )
    depends = tuple(word for word in tags.get("depends", "").split(",") if word)
    return ModInfo(name, tags.get("license", ""), tags.get("vermagic", ""), depends)


def modinfo_tags(data: bytes) -> dict[str, str]:
    """Return the first value of every tag; a last text without its NUL is not counted."""
    tags: dict[str, str] = {}
    for text in data.split(b"\0")[:-1]:
        tag, equals, value = text.partition(b"=")
        if equals:
            name = tag.decode("ascii", "backslashreplace")
            tags.setdefault(name, value.decode("utf-8", "backslashreplace"))
    return tags


def _name_in_struct(elf: ElfObject) -> str:
    """Return the name in the struct module that a .ko carries: behind its state and list links."""
    section = elf.find_section(".gnu.linkonce.this_module")
    if section is None:
        return ""
    offset = 24 if elf.arch == X86_64 else 12
    data = elf.data_of(section)
    end = data.find(b"\0", offset)
    return data[offset:end].decode("ascii", "backslashreplace") if end > offset else ""
