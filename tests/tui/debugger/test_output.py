from __future__ import annotations

from tui.debugger.output import Output
from tui.debugger.table import DEC, Column, Table

TABLE = Table("t", (Column("n", DEC),), ((1,),), ("note",))


def test_programs_get_the_table_if_there_is_one_else_the_lines() -> None:
    assert Output(("a", "b")).to_json() == {"lines": ["a", "b"], "ok": True}
    both = Output(("a",), TABLE, ok=False).to_json()
    assert both == {"title": "t", "rows": [{"n": 1}], "notes": ["note"], "ok": False}
    assert TABLE.to_json().keys() == both.keys() - {"ok"}
