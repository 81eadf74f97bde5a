"""The studies that come with the package."""

from __future__ import annotations

import pytest

from finespot.studies import load_study, study_names
from finespot.studies.costs import count


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_every_row_is_a_recipe_of_its_own(name: str) -> None:
    study = load_study(name)
    assert len(study.rows) >= 2
    assert len(study.seeds) >= 3
    assert study.title != study.name
    for row in study.rows:
        assert row.recipe.patience == 0
        assert row.recipe.epochs == study.rows[0].recipe.epochs
        assert row.recipe.val.protocol == study.protocol
        if row.claim is not None:
            assert row.claim.source
            assert row.claim.values.keys() <= {*study.labels, "parameters", "gflops"}


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_every_row_can_be_built_and_counted(name: str) -> None:
    rows = load_study(name).rows
    costs = count(rows, None)
    assert all(costs[row.name].gflops > 0 for row in rows)


def test_claims_are_those_of_the_papers() -> None:
    both = load_study("sarl-yolox").row("both").claim
    assert both is not None
    assert both.values == {
        "AP": 26.6,
        "AP50": 59.1,
        "AP75": 20.8,
        "AP_vt": 10.0,
        "AP_t": 26.0,
        "AP_s": 33.7,
        "AP_m": 39.9,
    }
    lrs = load_study("lrs-detr").row("lrs-detr-b-published").claim
    assert lrs is not None
    assert (lrs.values["AP"], lrs.values["AP50"], lrs.values["gflops"]) == (22.7, 39.2, 66.6)
