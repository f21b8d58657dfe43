"""What a per-CPU variable of April 2006 declares, and what compiler and linker say of it.

    DEFINE_PER_CPU(int, x)          int per_cpu__x                        in .data.percpu
                                    unsigned long *per_cpu_offset__x      in .data.percpu_offset
    static DEFINE_PER_CPU(int, x)   static int per_cpu__x; unsigned long *per_cpu_offset__x
                                    └─ binds here only      └─ known to every file, one name for two of them
    DEFINE_STATIC_PER_CPU(int, x)   static on both

So a second macro was needed, and a file that kept the old words has a global it did not mean. One such
file links; two of them that chose the same name do not. `per_cpu(x.field, c)` breaks too, because the
names are made by pasting: it has to be `per_cpu(x, c).field`.
Source: "[PATCH 00/05] robust per_cpu allocation for modules", 14 April 2006, its drawbacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

DATA_SECTION: Final = ".data.percpu"
OFFSET_SECTION: Final = ".data.percpu_offset"
ERROR: Final = "error"
WARNING: Final = "warning"

_DEFINITION = re.compile(
    r"(?P<static>\bstatic\s+)?\b(?P<macro>DEFINE_PER_CPU|DEFINE_STATIC_PER_CPU)"
    r"\s*\(\s*(?P<type>[^()]*(?:\([^()]*\))?[^(),]*),\s*(?P<name>\w+)\s*\)"
)
_FIELD_USE = re.compile(r"\bper_cpu\s*\(\s*(?P<var>\w+)\s*(?P<field>(?:\.|->)\s*[\w.]+)\s*,")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


class PercpuObject(NamedTuple):
    """One object that a macro makes; is_static: known to its own file only."""

    name: str
    section: str
    file: str
    line: int
    is_static: bool

    @property
    def where(self) -> str:
        """File and line, as a compiler writes them."""
        return f"{self.file}:{self.line}"


class Finding(NamedTuple):
    """Something that compiler or linker would refuse (error), or that was not meant (warning)."""

    severity: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.severity}: {self.text}"


def declared_objects(
    sources: Iterable[tuple[str, str]], *, has_offsets: bool = True
) -> list[PercpuObject]:
    """Return every object that C sources, given as (file name, text), define for per-CPU variables.

    has_offsets: the build has both SMP and MODULES; otherwise a variable is one object, as before.
    """
    objects: list[PercpuObject] = []
    for file, text in sources:
        for found, line in _found(_DEFINITION, text):
            name, says_static = found["name"], found["static"] is not None
            both_static = found["macro"] == "DEFINE_STATIC_PER_CPU"
            first_static = says_static or both_static
            objects.append(PercpuObject(f"per_cpu__{name}", DATA_SECTION, file, line, first_static))
            if has_offsets:
                offset = f"per_cpu_offset__{name}"
                objects.append(PercpuObject(offset, OFFSET_SECTION, file, line, both_static))
    return objects


def check_declarations(
    sources: Iterable[tuple[str, str]], *, has_offsets: bool = True
) -> list[Finding]:
    """Return what is wrong with the per-CPU variables of C sources, given as (file name, text).

    First what each file does by itself, in order, then what they cannot do together.
    """
    files = tuple(sources)
    findings = [finding for file, text in files for finding in _in_file(file, text, has_offsets)]
    return findings + _clashes(declared_objects(files, has_offsets=has_offsets))


def _in_file(file: str, text: str, has_offsets: bool) -> Iterator[Finding]:
    if not has_offsets:
        return
    for found, line in _found(_DEFINITION, text):
        name, where = found["name"], f"{file}:{line}"
        if found["static"] is None:
            continue
        if found["macro"] == "DEFINE_STATIC_PER_CPU":
            yield Finding(ERROR, where, f"duplicate 'static' for per_cpu__{name}")
        else:
            yield Finding(
                WARNING,
                where,
                f"'static' binds to per_cpu__{name} only: per_cpu_offset__{name} is known to all files;"
                f" expected DEFINE_STATIC_PER_CPU({found['type'].strip()}, {name})",
            )
    for found, line in _found(_FIELD_USE, text):
        var, field = found["var"], "".join(found["field"].split())
        yield Finding(
            ERROR,
            f"{file}:{line}",
            f"per_cpu_offset__{var}{field} is no variable: names are pasted;"
            f" expected per_cpu({var}, …){field}",
        )


def _clashes(objects: list[PercpuObject]) -> list[Finding]:
    """Return the linker's complaints: a name that two files define for everybody."""
    first: dict[str, PercpuObject] = {}
    findings: list[Finding] = []
    for each in objects:
        if each.is_static:
            continue
        earlier = first.setdefault(each.name, each)
        if earlier is not each:
            findings.append(
                Finding(
                    ERROR,
                    each.where,
                    f"multiple definition of '{each.name}'; first defined at {earlier.where}",
                )
            )
    return findings


def _found(pattern: re.Pattern[str], text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield every match outside comments, with its line number."""
    bare = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
    for match in pattern.finditer(bare):
        yield match, bare.count("\n", 0, match.start()) + 1
