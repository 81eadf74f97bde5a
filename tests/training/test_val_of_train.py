"""A validation split that holds pictures of the training split is no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from finespot.data import open_dataset
from finespot.training.log import Log
from finespot.training.recipe import load_recipe
from finespot.training.validator import warn_of_shared

DATA = f"hit-uav:{Path(__file__).parents[2] / 'samples' / 'hit-uav'}"


@pytest.mark.parametrize(("split", "both"), [("train", 8), ("val", 0)])
def test_shared_pictures_are_counted(split: str, both: int, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe("default", values={"data": DATA, "splits.val": split})
    warn_of_shared(recipe, open_dataset(DATA, "train"), open_dataset(DATA, split), Log())
    printed = " ".join(capsys.readouterr().out.split())
    assert printed == ("warning: 8 of 8 pictures of train are trained on: scores flatter" if both else "")
