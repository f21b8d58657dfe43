from __future__ import annotations

import pytest

from tui.debugger.addresses import PERCPU, PHYSICAL, VIRTUAL, parse_address, parse_number
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("0x12", 0x12),
        ("ffff888000000000", 0xFFFF888000000000),
        ("0000000000037000", 0x37000),
        ("3f", 0x3F),
        ("18446744073709551615", (1 << 64) - 1),
        ("18446744073709551616", None),
        ("", None),
        ("0x", None),
        ("-1", None),
        ("1_0", None),
        ("٣", None),
    ],
)
def test_a_number_is_decimal_unless_it_looks_like_a_pointer(text: str, number: int | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0xffff888000000010", (VIRTUAL, 0xFFFF888000000010)),
        ("phys:0x1000+8", (PHYSICAL, 0x1008)),
        ("percpu:0x37000", (PERCPU, 0x37000)),
    ],
)
def test_the_kind_of_an_address_is_in_front_of_it(
    session: Session, text: str, address: tuple[str, int]
) -> None:
    assert parse_address(session.machine, text) == address


def test_a_symbol_stands_for_its_address(session: Session) -> None:
    table = session.machine.symbol("__per_cpu_offset")
    assert parse_address(session.machine, "__per_cpu_offset+8") == (VIRTUAL, table + 8)


def test_a_percpu_pointer_at_a_cpu_is_that_cpus_copy(session: Session) -> None:
    kind, value = parse_address(session.machine, "percpu:0x37000@2")
    assert (kind, value) == (VIRTUAL, session.machine.cpus[2].gs_base + 0x37000)


@pytest.mark.parametrize("text", ["", "xyz", "virt:zz", "disk:1", "percpu:1@9", "0x1@0", "1+", "@"])
def test_what_is_no_address_is_refused_with_what_was_expected(session: Session, text: str) -> None:
    with pytest.raises(CommandError, match="expected"):
        parse_address(session.machine, text)


def test_a_symbol_of_a_static_variable_is_a_percpu_pointer(demo: Session) -> None:
    kind, value = parse_address(demo.machine, "runqueues+8")
    assert kind == PERCPU and value == demo.machine.symbols["runqueues"] + 8


def test_an_address_of_i386_has_32_bits_and_a_physical_one_more(boot_example) -> None:
    machine = boot_example("i386-highmem").machine
    assert parse_address(machine, "phys:0x100000000") == (PHYSICAL, 1 << 32)
    with pytest.raises(CommandError, match="0xffffffff at most"):
        parse_address(machine, "0x100000000")
    pointer = machine.symbols["__per_cpu_start"]
    kind, copy = parse_address(machine, "__per_cpu_start@1")
    assert (kind, copy) == (
        VIRTUAL,
        machine.percpu.addr_of(pointer) + machine.places.unit_offsets[1],
    )


def test_a_page_number_is_a_physical_address(session: Session) -> None:
    assert parse_address(session.machine, "pfn:0x3ec35") == ("phys", 0x3EC35000)
    assert parse_address(session.machine, "pfn:0x3ec35+8") == ("phys", 0x3EC35008)


def test_an_offset_may_stand_behind_the_cpu(session: Session) -> None:
    kind, address = parse_address(session.machine, "percpu:0x37000+8@2")
    assert parse_address(session.machine, "percpu:0x37000@2+8") == (kind, address)
