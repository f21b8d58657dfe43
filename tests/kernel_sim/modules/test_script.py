from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_ZERO
from kernel_sim.modules import script as script_file
from kernel_sim.modules.script import AllocCall, FreeCall, ModuleScript, Return, parse_script


def test_a_script_is_its_calls_in_order() -> None:
    text = """
    # what it is
    init: a = pcpu_alloc 64 8       # one
    init:\tb = pcpu_alloc 128 64 GFP_ATOMIC|__GFP_ZERO
    exit: free_percpu b
    init: free_percpu a
    """
    assert parse_script(text) == ModuleScript(
        (
            AllocCall("a", 64, 8, GFP_KERNEL),
            AllocCall("b", 128, 64, GFP_ATOMIC | GFP_ZERO),
            FreeCall("a"),
        ),
        (FreeCall("b"),),
    )
    assert parse_script("") == ModuleScript()
    assert parse_script("init: return -19").init == (Return(-19),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: x", "line 1, column 1: 'start:': expected 'init:' or 'exit:'"),
        ("\n  init:", "line 2, column 3: expected a call behind it"),
        ("init: kmalloc 5", "line 1, column 7: 'kmalloc': expected NAME = pcpu_alloc"),
        ("init: a = pcpu_alloc 64", "too few words: expected NAME = pcpu_alloc SIZE ALIGN"),
        ("init: a = pcpu_alloc 64 8 GFP_KERNEL x", "line 1, column 38: too many words"),
        ("init: a = pcpu_alloc 0 8", "line 1, column 22: '0': expected a number from 1 to 1048576"),
        ("init: a = pcpu_alloc -4 8", "'-4': expected a number"),
        ("init: a = pcpu_alloc 1048577 8", "'1048577': expected a number"),
        ("init: a = pcpu_alloc ٣ 8", "expected a number"),
        ("init: a = pcpu_alloc 64 12", "line 1, column 25: align 12: expected a power of two"),
        ("init: a = pcpu_alloc 64 8 GFP_NONSENSE", "line 1, column 27: unknown GFP flag"),
        ("init: 1a = pcpu_alloc 64 8", "'1a': expected a name"),
        ("init: free_percpu a", "line 1, column 19: 'a' is not allocated at that time"),
        ("exit: free_percpu a", "'a' is not allocated at that time"),
        ("exit: a = pcpu_alloc 8 8", "line 1, column 7: exit can only free_percpu"),
        (
            "init: a = pcpu_alloc 8 8\ninit: a = pcpu_alloc 8 8",
            "line 2, column 7: 'a' holds an area",
        ),
        ("init: return 0\ninit: return 0", "line 2, column 1: nothing runs after 'return'"),
        ("init: return 5", "'5': expected 0 or a negative error number"),
        ("init: return -4096", "line 1, column 15: '4096': expected a number from 1 to 4095"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_script(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("script line ")


def test_an_area_is_freed_once() -> None:
    text = "init: a = pcpu_alloc 8 8\nexit: free_percpu a\nexit: free_percpu a"
    with pytest.raises(ConfigError, match="line 3, column 19: 'a' is not allocated"):
        parse_script(text)


def test_length_is_bounded() -> None:
    with pytest.raises(ConfigError, match="expected at most"):
        parse_script("\n" * script_file.LINES_MAX)
    with pytest.raises(ConfigError, match="expected at most"):
        parse_script("#" * (script_file.TEXT_MAX + 1))


@given(st.text(alphabet="initex: =a0-9_pcpu_alloc free_percpu return\n\t#|", max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        script = parse_script(text)
    except ConfigError as problem:
        assert "script line" in str(problem)
    else:
        assert all(not isinstance(call, AllocCall) for call in script.exit)
