"""The mails' ways of counting, on numbers that they print."""

from __future__ import annotations

from snapshots.figures.figure import MailFigure
from snapshots.figures.mail_arithmetic import (
    in_bytes,
    in_kib,
    in_words,
    plain,
    whole_kib,
    with_kib,
)


def test_a_k_is_cut_not_rounded() -> None:
    assert whole_kib(14876) == 14
    assert whole_kib(14 * 1024 + 1023) == 14
    assert whole_kib(1023) == 0


def test_the_same_figure_is_written_in_each_way() -> None:
    assert plain("8", 8) == MailFigure("8", "8", 8)
    assert with_kib("17892 (17K)", 17892) == MailFigure("17892 (17K)", "17892 (17K)", 17892)
    assert with_kib("", 29752, "or ").redone == "29752 (or 29K)"
    assert in_kib("896K", 14 * 64) == MailFigure("896K", "896K", 896 * 1024)
    assert in_bytes("36 bytes", 9 * 4) == MailFigure("36 bytes", "36 bytes", 36)


def test_numbers_in_words() -> None:
    assert in_words("One less", 2 - 1, "less") == MailFigure("One less", "One less", 1)
    assert in_words("", 0, "less").redone == "No less"
    assert in_words("", -1, "less").redone == "-1 less"
    assert in_words("", 9, "less").redone == "9 less"
