"""Free lists of buf_ctl's against an array of links, the list of all objects against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.buf_ctl import BufCtl, BufCtlFreeList, BufCtlList

NR_BUF_CTLS = 6


@given(st.lists(st.integers(0, NR_BUF_CTLS - 1), max_size=40))
def test_free_list_does_what_an_array_of_links_does(choices: list[int]) -> None:
    links = [*range(1, NR_BUF_CTLS), -1]
    head = 0
    in_use: list[int] = []
    free_list = BufCtlFreeList(NR_BUF_CTLS)
    for choice in choices:
        if choice % 2 and head >= 0:
            in_use.append(head)
            head = links[head]
            assert free_list.pop() == in_use[-1]
        elif in_use:
            index = in_use.pop(choice % len(in_use))
            links[index], head = head, index
            free_list.push(index)
        assert [free_list.next_of(index) for index in range(NR_BUF_CTLS)] == links
        assert free_list.head == head
        assert sorted([*free_list.free_indexes(), *in_use]) == [*range(NR_BUF_CTLS)]


def test_a_block_without_a_free_buf_ctl_is_a_bug() -> None:
    free_list = BufCtlFreeList(1)
    assert free_list.pop() == 0
    with pytest.raises(KernelBug, match="none left"):
        free_list.pop()


def test_a_free_list_that_goes_round_is_a_bug() -> None:
    free_list = BufCtlFreeList(2, links={1: 0})
    with pytest.raises(KernelBug, match="circle"):
        list(free_list.free_indexes())


def object_at(serial: int) -> BufCtl:
    return BufCtl(serial, 0, serial, 0x1000 + 4 * serial, 4)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_list_of_objects_has_the_newest_first_and_is_searched_from_there(
    choices: list[int],
) -> None:
    newest_first: list[BufCtl] = []
    objects = BufCtlList()
    for serial, choice in enumerate(choices):
        if choice < 6 or not newest_first:
            newest_first.insert(0, object_at(serial))
            objects.push(newest_first[0])
        else:
            at = choice % len(newest_first)
            gone = newest_first[at]
            assert objects.find(gone.addr) is gone
            assert objects.nr_searched(gone) == at + 1
            behind = newest_first[at + 1] if at + 1 < len(newest_first) else None
            assert objects.after(gone) is behind
            assert objects.remove(gone) is (newest_first[at - 1] if at else None)
            assert objects.find(gone.addr) is None
            del newest_first[at]
        assert list(objects) == newest_first
        assert objects.head is (newest_first[0] if newest_first else None)
        assert len(objects) == len(newest_first)


def test_list_is_made_anew_from_objects_in_any_order() -> None:
    made = [object_at(serial) for serial in (3, 1, 2)]
    assert [buf_ctl.serial for buf_ctl in BufCtlList.of(made)] == [3, 2, 1]
