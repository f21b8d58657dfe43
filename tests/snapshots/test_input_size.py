from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from snapshots.input_size import bytes_of

ANY = st.one_of(
    st.integers(-(1 << 66), 1 << 66), st.booleans(), st.binary(max_size=9),
    st.text(st.characters(exclude_categories=()), max_size=9),
)  # fmt: skip


def test_texts_and_files_count_and_numbers_do_not() -> None:
    assert bytes_of((8, True, "site", b"\x7fELF")) == 8


@given(st.lists(ANY, max_size=4))
def test_what_is_let_in_can_be_packed(args: list[object]) -> None:
    try:
        bytes_of(args)
    except ConfigError:
        with pytest.raises((OverflowError, UnicodeEncodeError)):
            msgpack.packb(args)
        return
    msgpack.packb(args)
