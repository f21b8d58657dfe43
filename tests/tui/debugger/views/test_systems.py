from __future__ import annotations

from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.options import Option
from tests.tui.system_sessions import session_of
from tui.debugger.views.systems import may_be, systems_view


def test_every_system_and_every_switch_is_listed_with_its_value_here() -> None:
    entry = next(each for each in ENTRIES if any(isinstance(o.default, int) for o in each.options))
    option = next(each for each in entry.options if type(each.default) is int)
    session = session_of(entry.name, options={option.key: option.lowest})
    rows = systems_view(session).rows
    assert list(dict.fromkeys(row[0] for row in rows)) == [each.name for each in ENTRIES]
    assert [row[0] for row in rows if row[1]] == [entry.name]
    values = {(row[0], row[5]): row[6] for row in rows}
    assert values[entry.name, option.key] == option.lowest != option.default
    for each in ENTRIES:
        for switch in each.options:
            if (each.name, switch.key) != (entry.name, option.key):
                assert values[each.name, switch.key] == switch.default


def test_what_a_switch_may_be() -> None:
    assert may_be(Option("a", False, "")) == "true false"
    assert may_be(Option("a", "x", "", ("x", "y"))) == "x y"
    assert may_be(Option("a", 5, "", lowest=1, highest=9)) == "1 to 9"
