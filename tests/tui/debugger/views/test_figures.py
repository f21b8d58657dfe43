"""How rows are shown: with a reason where a mail's figure is another one, and in JSON with all there is."""

from __future__ import annotations

import json
from dataclasses import replace

from snapshots.figures.figure import Beside, Figure, MailFigure
from snapshots.figures.inputs import AS_MAILED, read_inputs
from tui.debugger.render import output_json, output_text
from tui.debugger.views.figures import figures_output, figures_view, inputs_output

ROOM = Figure(
    what="room", system="legacy-static", unit="bytes", formula="32768 - 17892", exact=14876,
    ours=14876, command="kmemscope show m.toml account", shows=("14876",), number="3",
    mail=MailFigure("14K", "14K", 14336), because="it cuts", note="a note",
    beside=(Beside("lost", (28, 28), (28, 28)),),
)  # fmt: skip
MOVED = read_inputs(["static_bytes=20000"])


def words(line: str) -> str:
    return " ".join(line.split())


def test_a_listing_has_reasons_and_commands() -> None:
    output = figures_output(
        [ROOM, replace(ROOM, number="4", mail=None)], AS_MAILED, in_detail=False
    )
    assert output.ok
    title, heading, *lines = output_text(output).splitlines()
    assert title == "Figures of the mails"
    assert words(heading) == "number system mail exact ours unit verdict figure"
    assert words(lines[0]) == "3 legacy-static 14K 14876 14876 bytes differs room"
    assert lines[1:3] == ["      it cuts", "      see: kmemscope show m.toml account"]
    assert words(lines[3]) == "4 legacy-static 14876 14876 bytes agree room"
    assert lines[4:] == [
        "      see: kmemscope show m.toml account", "2 figures: 1 differs, 1 agree",
    ]  # fmt: skip


def test_in_detail_all_is_said() -> None:
    text = output_text(figures_output([ROOM], AS_MAILED, in_detail=True))
    for said in (
        "exact: 32768 - 17892 = 14876 bytes", "the mail's way: 14K", "lost: 28, 28", "a note",
    ):  # fmt: skip
        assert f"      {said}\n" in text


def test_json_has_every_column() -> None:
    data = json.loads(output_json(figures_output([ROOM], AS_MAILED, in_detail=False)))
    assert data["ok"] is True
    assert data["rows"] == [
        {
            "number": "3", "system": "legacy-static", "figure": "room", "mail": "14K",
            "exact": 14876, "ours": 14876, "unit": "bytes", "verdict": "differs",
            "because": "it cuts", "formula": "32768 - 17892", "redone": "14K", "note": "a note",
            "beside": "lost 28, 28", "command": "kmemscope show m.toml account",
        }
    ]  # fmt: skip


def test_what_is_off_is_named_and_not_good() -> None:
    wrong = replace(ROOM, ours=14877)
    output = figures_output([wrong], AS_MAILED, in_detail=False)
    assert not output.ok
    text = output_text(output)
    assert "room: the machine shows 14877, the inputs come to 14876" in text
    assert text.endswith("1 figure: 1 off\noff: 3")


def test_moved_inputs_are_told_and_no_mail_is_compared() -> None:
    table = figures_view([replace(ROOM, mail=MailFigure("14K", "12K", 12288))], MOVED)
    assert table.rows[0][table.columns.index(next(c for c in table.columns if c.name == "verdict"))]
    assert "agree" in table.rows[0]
    assert table.notes[-1] == (
        "with static_bytes=20000: the mails had other inputs, so none is compared with a mail"
    )


def test_values_for_several_inputs_stand_in_one_cell() -> None:
    table = figures_view([replace(ROOM, exact=(1, 2), ours=(1, 2))], AS_MAILED)
    assert "1, 2" in table.rows[0]


def test_inputs_are_listed() -> None:
    text = output_text(inputs_output(MOVED))
    assert "static_bytes " in text and " 20000 " in text
    assert " 2x32,3x32,4x36," in text


def test_what_is_too_long_for_a_column_is_told_beneath() -> None:
    values = tuple(range(1000, 1010))
    printed = "percpu: can't handle more than one groups"
    figure = replace(ROOM, exact=values, ours=values, mail=MailFigure(printed, printed, 1))
    text = output_text(figures_output([figure], AS_MAILED, in_detail=False))
    _, _, row, *beneath = text.splitlines()
    assert "1000, 1001, 1002, 1003, …" in row and "percpu: can't handle mor…" in row
    assert beneath[0].strip() == printed
    assert beneath[1].strip() == ", ".join(map(str, values))


def test_several_that_differ_differ() -> None:
    both = [ROOM, replace(ROOM, number="4")]
    assert "2 figures: 2 differ" in figures_output(both, AS_MAILED, in_detail=False).lines
