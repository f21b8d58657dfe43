from __future__ import annotations

import pytest

from snapshots.errors import TraceError
from snapshots.logs.trace_fields import FIELDS_OF, KIND_OF, malformed_at, read_event
from snapshots.logs.trace_line import NO_FRONT

REQUEST = "reserved=0 is_atomic=1 size=12 align=8"
PLACE = "base_addr=0xabc000 off=16 ptr=0x10"
FIELDS = {
    "percpu_alloc_percpu": f"call_site=f+0x1/0x2 {REQUEST} {PLACE} bytes_alloc=48 gfp_flags=none",
    "percpu_free_percpu": PLACE,
    "percpu_alloc_percpu_fail": REQUEST,
    "percpu_create_chunk": "base_addr=abc000",
    "percpu_destroy_chunk": "base_addr=abc000",
}


@pytest.mark.parametrize("name", list(FIELDS))
def test_each_event_is_read_as_its_kind(name: str) -> None:
    event = read_event("x", 7, FIELDS[name] + "\n", name, NO_FRONT, 0)
    assert event is not None
    assert (event.kind, event.line_no) == (KIND_OF[name], 7)


@pytest.mark.parametrize("name", list(FIELDS_OF))
def test_each_missing_field_is_pointed_at(name: str) -> None:
    text = FIELDS[name]
    for field_name, _ in FIELDS_OF[name]:
        at = text.index(field_name)
        end = text.find(" ", at + 1)
        damaged = text[:at] + (text[end:] if end >= 0 else "")
        if field_name == "reserved=" and name == "percpu_alloc_percpu":
            continue  # then the call site has no end, and is pointed at itself
        column, expected = malformed_at(damaged, name, 0)
        assert column <= at + 1
        assert field_name.strip() in expected


@pytest.mark.parametrize("name", list(FIELDS_OF))
def test_a_field_too_many_is_pointed_at(name: str) -> None:
    text = FIELDS[name] + " more=1"
    assert read_event("x", 1, text, name, NO_FRONT, 0) is None
    assert malformed_at(text, name, 0) == (len(FIELDS[name]), "the end of the line")


@pytest.mark.parametrize(
    "name", ["percpu_alloc_percpu", "percpu_free_percpu", "percpu_create_chunk"]
)
def test_hidden_pointers_are_refused(name: str) -> None:
    text = FIELDS[name].replace("0xabc000", "abc000").replace("abc000", "(____ptrval____)")
    with pytest.raises(TraceError, match=r"line 3.*no_hash_pointers"):
        read_event("x", 3, text, name, NO_FRONT, 0)
