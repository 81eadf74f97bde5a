"""The studies that come with the package."""

from __future__ import annotations

import pytest

from finespot import registry, zoo
from finespot.errors import FineSpotError
from finespot.studies import Row, Study, load_study, study_names
from finespot.studies.costs import count
from finespot.studies.study import FOLDER
from finespot.training import Recipe, settings

# Keys of recipes, and relays, that come with other parts of the package.
AWAITED = ("curriculum", "loss.l1_epochs")


def shipped(name: str) -> Study:
    """A study of the package; skipped only where its keys are still to come."""
    text = (FOLDER / f"{name}.yaml").read_text()
    lacking = [key for key in AWAITED if key not in settings.keys(Recipe) and key.rpartition(".")[2] in text]
    if lacking:
        with pytest.raises(FineSpotError, match="unknown recipe key"):
            load_study(name)
        pytest.skip(f"recipes have no {lacking[0]} yet")
    return load_study(name)


def buildable(row: Row) -> bool:
    """Whether this version has the network of a row."""
    relay = row.recipe.options.get("relay")
    known = relay is None or registry.parse_call(relay)[0] in registry.names("relay")
    return row.recipe.model in zoo.names() and known


@pytest.mark.parametrize("name", study_names())
def test_every_row_is_a_recipe_of_its_own(name: str) -> None:
    study = shipped(name)
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


def test_some_studies_can_be_trained_by_this_version() -> None:
    rows = [row for name in ("p2", "box-losses") for row in load_study(name).rows]
    assert all(buildable(row) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_rows_whose_network_is_here_are_built(name: str) -> None:
    rows = [row for row in shipped(name).rows if buildable(row)]
    if not rows:
        pytest.skip("no network of this study is here yet")
    costs = count(rows, None)
    assert all(costs[row.name].gflops > 0 for row in rows)


def test_claims_are_those_of_the_papers() -> None:
    both = shipped("sarl-yolox").row("both").claim
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
