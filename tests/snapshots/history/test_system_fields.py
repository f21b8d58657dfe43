from __future__ import annotations

import pytest

from kernel_sim.percpu.account import account_of
from snapshots.history.compiled import compile_text
from snapshots.history.expression_words import ExpressionError
from snapshots.history.sight import Sight
from snapshots.history.system_fields import SYSTEM_COMPONENTS
from tests.tui.system_sessions import EVERY, OTHERS, SIZES, busy_session_of, ptrs_of, tell
from tui.debugger.session import Session


def worth(session: Session, text: str) -> object:
    return compile_text(text, session.machine).get(Sight(session.machine))


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_areas_and_accounts_of_every_system(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    account = account_of(session.machine)
    assert worth(session, "system.name") == system
    assert worth(session, "system.nr_areas") == len(SIZES)
    assert worth(session, "system.live_bytes >= 1264 and system.live_bytes < 1300")
    assert worth(session, "system.nr_pages") == session.machine.system.nr_pages()
    for name in ("total_bytes", "data_bytes", "padding_bytes", "free_bytes", "page_table_pages"):
        assert worth(session, f"account.{name}") == getattr(account, name)
    assert worth(session, "cpu_bytes[2].dynamic") == account.per_cpu[2]["dynamic"]
    assert worth(session, "cpu_bytes[2].tlb_entries") == account.tlb_entries(2)
    assert worth(session, "node_bytes[1]") == account.per_node.get(1, 0)
    for name, value in session.machine.system.facts():
        if isinstance(value, int) and name.isidentifier():
            assert worth(session, f"fact[{name}]") == value


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_copies_and_areas_by_ptr(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    ptr = ptrs_of(session)[1]
    tell(session, f"write 2 percpu:{ptr:#x} 77 4")
    assert worth(session, f"percpu[{ptr:#x}, 2, 4]") == 77
    assert worth(session, f"percpu[{ptr:#x}]") == (0, 0, 77, 0)
    assert worth(session, f"area[{ptr:#x}].live") and worth(session, f"area[{ptr:#x}].size_bytes")
    tell(session, f"free 0 percpu:{ptr:#x}")
    assert not worth(session, f"area[{ptr:#x}].live")


@pytest.mark.parametrize("system", OTHERS)
def test_what_only_the_bitmap_allocator_has_is_refused_with_what_there_is(system: str) -> None:
    session = busy_session_of(system)
    for text in ("chunk[1].free_bytes", "percpu.nr_alloc", "chunk[0].block[1].first_free"):
        with pytest.raises(ExpressionError, match=f"has {system}; expected system, account"):
            compile_text(text, session.machine)
    with pytest.raises(ExpressionError, match="no such fact"):
        compile_text("fact[nosuch]", session.machine)
    with pytest.raises(ExpressionError, match="there are: 0, 1"):
        compile_text("node_bytes[7]", session.machine)


def test_each_row_has_a_help() -> None:
    for component in SYSTEM_COMPONENTS:
        assert component.help and all(row.help for row in component.rows.values())
