"""A kernel's symbols from System.map or kallsyms."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.config import SYMBOLS_MAX, MachineConfig
from snapshots.errors import InputError
from snapshots.logs.kernel_symbols import parse_kernel_symbols, read_kernel_symbols

GOLDEN = Path(__file__).parents[2] / "golden"
SYSTEM_MAP = """0000000000000000 D __per_cpu_start
0000000000000000 D fixed_percpu_data
00000000000001e3 A kexec_control_code_size
0000000000034080 D steal_time
0000000000035000 D __per_cpu_end
ffffffff81000000 T _text
ffffffff84430000 B _end
"""
KALLSYMS = """0000000000000000 A fixed_percpu_data
0000000000000000 A __per_cpu_start
0000000000034080 A steal_time
0000000000035000 A __per_cpu_end
ffffffff90c00000 T _text
ffffffff90c00040 t twice
ffffffff90c00080 t twice
ffffffff94030000 B _end
ffffffffff600000 A vsyscall_page
ffffffffc0424000 t init	[virtio]
"""


def test_the_real_per_cpu_symbols_are_all_read() -> None:
    found = read_kernel_symbols(GOLDEN / "kernel-6.1/smp4-2node/kallsyms-percpu.gz")
    assert len(found.percpu) == 383
    assert found.static_bytes == found.percpu["__per_cpu_end"] == 217088
    assert found.percpu["steal_time"] == 0x34080
    assert found.kernel == {}


def test_a_system_map_tells_constants_from_variables() -> None:
    found = parse_kernel_symbols(SYSTEM_MAP, "f")
    assert list(found.percpu) == [
        "__per_cpu_start",
        "fixed_percpu_data",
        "steal_time",
        "__per_cpu_end",
    ]
    assert found.kernel["_text"] == 0xFFFFFFFF81000000


def test_a_moved_kernel_is_put_back_and_modules_are_left_out() -> None:
    found = parse_kernel_symbols(KALLSYMS, "f")
    assert found.kernel == {
        "_text": 0xFFFFFFFF81000000,
        "twice": 0xFFFFFFFF81000040,
        "_end": 0xFFFFFFFF84430000,
    }


def test_per_cpu_symbols_come_first_where_there_are_too_many() -> None:
    found = parse_kernel_symbols(KALLSYMS, "f")
    assert list(found.for_config(5)) == [*found.percpu, "_text"]
    many = "".join(f"{0xFFFFFFFF81000000 + i:x} t s{i}\n" for i in range(SYMBOLS_MAX))
    chosen = parse_kernel_symbols(many + SYSTEM_MAP, "f").for_config()
    assert len(chosen) == SYMBOLS_MAX
    assert "steal_time" in chosen


def test_a_machine_takes_them() -> None:
    found = parse_kernel_symbols(SYSTEM_MAP, "f")
    mapping = {
        "name": "m",
        "cpus": {"possible": "0"},
        "node": [{"memory_mib": 128}],
        "percpu": {"static_bytes": found.static_bytes},
        "symbols": found.for_config(),
    }
    config = MachineConfig.from_mapping(mapping, where="m")
    assert dict(config.symbols) == found.for_config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: no symbols; expected lines such as"),
        ("0000000000000000 T _text\n0000000000000000 A __per_cpu_start\n", "f: all 2 addresses"),
        ("ffffffff81000000 T _text\n", "f: no symbol __per_cpu_start; expected the whole"),
        ("5 D __per_cpu_start\n5 D __per_cpu_end\n", "f: __per_cpu_end at 0x5; expected it above"),
        ("zz T _text\n", "f: line 1, column 1: 'zz T _text'; expected an address"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_kernel_symbols(text, "f")
    assert str(caught.value).startswith(message)
