"""GFP flags against what real kernels print, and text against numbers both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import (
    FLAG_OF_NAME,
    GFP_ATOMIC,
    GFP_KERNEL,
    GFP_NOFS,
    GFP_NOWAIT,
    GFP_NOWARN,
    GFP_TRANSHUGE,
    GFP_USER,
    GFP_ZERO,
    gfp_from_text,
    gfp_to_text,
    may_sleep,
)

SEEN_IN_TRACES_OF_6_1 = (
    "GFP_ATOMIC",
    "GFP_ATOMIC|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_RECLAIMABLE",
    "GFP_KERNEL",
    "GFP_KERNEL_ACCOUNT|__GFP_ZERO",
    "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_ZERO",
    "GFP_NOFS",
    "GFP_NOWAIT|__GFP_NOWARN|__GFP_ACCOUNT",
    "GFP_USER|__GFP_ZERO|__GFP_ACCOUNT",
    "__GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC|__GFP_RECLAIMABLE",
    "__GFP_IO|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC",
)


@pytest.mark.parametrize("text", SEEN_IN_TRACES_OF_6_1)
def test_a_text_of_a_real_trace_comes_back_letter_by_letter(text: str) -> None:
    assert gfp_to_text(gfp_from_text(text)) == text


def test_composite_flags_have_the_values_of_linux_6_1() -> None:
    assert (GFP_KERNEL, GFP_ATOMIC, GFP_NOFS, GFP_USER) == (0xCC0, 0xA20, 0xC40, 0x100CC0)
    assert GFP_TRANSHUGE == 0x1C24CA


@given(st.integers(0, 2**32 - 1))
def test_any_flags_survive_the_way_through_text(flags: int) -> None:
    assert gfp_from_text(gfp_to_text(flags)) == flags


def test_nameless_bits_are_printed_in_hex_after_the_names() -> None:
    assert gfp_to_text(GFP_KERNEL | 0x2000000) == "GFP_KERNEL|0x2000000"
    assert gfp_to_text(0x1000000) == "0x1000000"
    assert gfp_to_text(0) == "none"


def test_every_name_is_understood_and_zone_names_have_a_long_form() -> None:
    for name, value in FLAG_OF_NAME.items():
        assert gfp_from_text(name) == value
    assert gfp_from_text("__GFP_DMA32") == gfp_from_text("GFP_DMA32") == 4


@pytest.mark.parametrize("word", ["__GFP_WAIT", "", "0x", "0xzz", "12", "gfp_kernel", "0x1_0"])
def test_an_unknown_word_is_named(word: str) -> None:
    with pytest.raises(ConfigError, match="unknown GFP flag") as caught:
        gfp_from_text(f"GFP_KERNEL|{word}")
    assert repr(word) in str(caught.value)


def test_only_a_full_gfp_kernel_may_sleep() -> None:
    assert may_sleep(GFP_KERNEL | GFP_ZERO)
    assert may_sleep(GFP_USER)
    for flags in (GFP_NOWAIT | GFP_NOWARN, GFP_ATOMIC, GFP_NOFS, 0):
        assert not may_sleep(flags)
