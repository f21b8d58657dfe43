from __future__ import annotations

from tui.debugger.owner import Owner


def test_an_owner_is_listed_as_a_sentence_with_its_kind_and_facts_beneath() -> None:
    owner = Owner(0x1000, "area", "an area of 8 bytes", [("chunk", 1), ("task", None)], chunk=1)
    table = owner.to_table()
    assert table.title == "0x1000 is an area of 8 bytes"
    assert table.rows == (("kind", "area"), ("chunk", 1), ("task", None))


def test_two_owners_do_not_share_their_facts() -> None:
    one, other = Owner(0, "free", "free"), Owner(0, "free", "free")
    one.facts.append(("pfn", 1))
    assert other.facts == []
