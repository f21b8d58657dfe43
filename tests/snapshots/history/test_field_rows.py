from __future__ import annotations

from snapshots.history.field_rows import (
    BYTES,
    FLAG,
    NUMBER,
    TEXT,
    Component,
    Parameter,
    flag,
    number,
    text_row,
)


def test_a_component_tells_how_it_is_typed() -> None:
    def find(sight: object) -> None:
        return None

    assert Component("percpu", "", find).usage == "percpu"
    assert Component("chunk", "", find, (Parameter("N"),)).usage == "chunk[N]"
    inner = Component("node.zone", "", find, (Parameter("NODE"), Parameter("ZONE")))
    assert inner.usage == "node[NODE].zone[ZONE]"


def test_rows_know_their_kind() -> None:
    assert number(BYTES, "so many", len)[:3] == (NUMBER, BYTES, "so many")
    assert flag("so", bool)[:2] == (FLAG, "") and flag("so", bool).get([1]) is True
    assert text_row("so", str)[0] == TEXT
