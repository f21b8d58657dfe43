from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.config_table import ConfigTable, close_match, parse_address, shown
from kernel_sim.errors import ConfigError

KEYS = ("static_bytes", "flag", "list", "text")


def table(**values: object) -> ConfigTable:
    return ConfigTable("m.toml", "[t]", values, KEYS)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: table(static_byte=1), "m.toml: [t] static_byte: unknown key (did you mean "
         "'static_bytes'?); expected one of static_bytes, flag, list, text"),
        (lambda: ConfigTable("m.toml", "[t]", [1], KEYS), "m.toml: [t]: [1]; expected a table"),
        (lambda: ConfigTable("m.toml", "", {3: 1}, KEYS),
         "m.toml: 3: unknown key; expected one of static_bytes, flag, list, text"),
        (lambda: ConfigTable("m.toml", "", {"\x1b[2J": 1}, KEYS),
         "m.toml: '\\x1b[2J': unknown key; expected one of static_bytes, flag, list, text"),
        (lambda: table().text("text"), "m.toml: [t] text: missing; expected a value"),
        (lambda: table(text=5).text("text"), "m.toml: [t] text: 5; expected a text"),
        (lambda: table(text="a" * 65537).text("text"), "m.toml: [t] text: 65537 characters; "
         "expected at most 65536"),
        (lambda: table(text="pag").choice("text", ("page", "km")),
         "m.toml: [t] text: 'pag' (did you mean 'page'?); expected one of 'page', 'km'"),
        (lambda: table(static_bytes=9).integer("static_bytes", lowest=0, highest=8),
         "m.toml: [t] static_bytes: 9; expected a whole number from 0 to 8"),
        (lambda: table(static_bytes=True).integer("static_bytes", lowest=0, highest=8),
         "m.toml: [t] static_bytes: True; expected a whole number from 0 to 8"),
        (lambda: table(flag=1).boolean("flag"), "m.toml: [t] flag: 1; expected true or false"),
        (lambda: table(list="ab").sequence("list", entries_max=2),
         "m.toml: [t] list: 'ab'; expected a list"),
        (lambda: table(list=[1, 2, 3]).sequence("list", entries_max=2),
         "m.toml: [t] list: 3 entries; expected at most 2"),
        (lambda: table(text="x0").address("text", 0),
         "m.toml: [t] text: 'x0'; expected an address such as \"0x3ec00000\""),
        (lambda: table(text="0-9").cpu_list("text", nr_cpus_max=4),
         "m.toml: [t] text: '0-9': CPU 9; expected CPUs below 4"),
    ],
)  # fmt: skip
def test_a_complaint_names_file_table_key_and_what_was_expected(
    read: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read()
    assert str(caught.value) == message


def test_absent_keys_take_their_defaults() -> None:
    empty = table()
    assert empty.text("text", "a") == "a"
    assert empty.integer("static_bytes", 3, lowest=0, highest=8) == 3
    assert empty.boolean("flag", True) is True
    assert empty.address("text", 16) == 16
    assert empty.cpu_list("text", "1-2") == (1, 2)
    assert not empty.has("text")


def test_an_absent_inner_table_is_empty_and_a_present_one_is_checked() -> None:
    assert table().table("list", ("a",)).values == {}
    with pytest.raises(ConfigError, match=r"\[list\] b: unknown key"):
        table(list={"b": 1}).table("list", ("a",))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (5, 5),
        ("0x10", 16),
        ("10", 10),
        (2**64 - 1, 2**64 - 1),
        (2**64, None),
        (-1, None),
        (True, None),
        (None, None),
        (1.0, None),
        ("", None),
        ("0x", None),
        ("0x_1", None),
        ("1f", None),
        ("-0x1", None),
        ("9" * 21, None),
    ],
)
def test_an_address_is_a_number_or_its_text(value: object, address: int | None) -> None:
    assert parse_address(value) == address


def test_a_long_value_is_cut_in_messages() -> None:
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
    assert len(shown("x" * 100)) == 60


def test_only_a_similar_word_is_suggested() -> None:
    assert close_match("polcy", ("policy", "seed")) == " (did you mean 'policy'?)"
    assert close_match("zzz", ("policy", "seed")) == ""
    assert close_match("policy" * 11, ("policy" * 11,)) == ""
