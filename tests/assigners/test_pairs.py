"""Ranks within groups, ties, and contested rows, against sorting by hand."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.assigners.pairs import distinct, lowest, lowest_with_ties, settled

# Few values, so that groups and costs meet often; -0.0 equals 0.0.
pairs = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([-7.5, -1.0, -0.0, 0.0, 1e-40, 0.25, 3.0, float("inf")])), max_size=14
)


def columns(made: list[tuple[int, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([g for g, _ in made], dtype=torch.int64), torch.tensor(
        [c for _, c in made], dtype=torch.float32
    )


@settings(deadline=None, max_examples=80)
@given(made=pairs, count=st.integers(1, 4))
def test_lowest_of_each_group(made: list[tuple[int, float]], count: int) -> None:
    group, cost = columns(made)
    ranked = sorted(range(len(made)), key=lambda i: (made[i][0], made[i][1], i))
    want, seen = [], dict.fromkeys(range(4), 0)
    for i in ranked:
        seen[made[i][0]] += 1
        if seen[made[i][0]] <= count:
            want.append(i)
    assert lowest(group, cost, count).tolist() == want
    assert lowest(group, cost, torch.full((4,), count)).tolist() == want
    bound = {g: max(made[i][1] for i in want if made[i][0] == g) for g in {g for g, _ in made}}
    ties = [i for i, (g, c) in enumerate(made) if c <= bound[g]]
    assert lowest_with_ties(group, cost.double(), count).tolist() == ties


def test_each_group_may_have_its_own_count() -> None:
    group, cost = torch.tensor([0, 0, 0, 2, 2, 2]), torch.tensor([3.0, 1, 2, 3, 1, 2])
    assert lowest(group, cost, torch.tensor([2, 0, 1])).tolist() == [1, 2, 4]


def test_a_contested_row_goes_to_the_cheapest_wanted_or_not() -> None:
    rows = torch.tensor([5, 5, 5, 2, 2, 9])
    cost = torch.tensor([3.0, 2, 1, 5, 4, 0])
    # Row 5 is wanted by two and goes to a third; row 2 by one, which is not the cheapest; row 9 by none.
    assert settled(rows, torch.tensor([0, 1, 3]), cost).tolist() == [3, 2]


def test_distinct_rows_and_where_they_stand() -> None:
    rows, place = distinct(torch.tensor([7, 2, 7, 9]))
    assert rows.tolist() == [2, 7, 9]
    assert place.tolist() == [1, 0, 1, 2]
    assert [len(one) for one in distinct(torch.zeros(0, dtype=torch.int64))] == [0, 0]
