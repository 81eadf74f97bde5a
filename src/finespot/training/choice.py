"""Which recipe a run follows: that of its arguments, or, where it goes on, the one in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from finespot import weights, zoo
from finespot.errors import FineSpotError
from finespot.training import settings
from finespot.training.curriculum import curriculum_of, refuse_overruled, settled
from finespot.training.recipe import Recipe, apply, differences, load_recipe, read_recipe, recipe_names
from finespot.training.tasks.seeker import MODEL, seeks

# In the names of networks and recipes.
_PUBLISHED = "-published"
# What may change when a run goes on: where and how it computes, not what.
_FREE = ("device", "devices", "strategy", "precision", "workers", "cache", "cache_folder", "save_every", "patience")


def choose_recipe(
    model: str | None = None,
    data: str | None = None,
    *,
    recipe: str | Path | Recipe | None = None,
    resume: str | Path | None = None,
    overrides: Mapping[str, Any],
) -> Recipe:
    """The recipe that `train` follows when it is called so; `auto` values are settled later.

    Without `recipe` it is that of the model's family (see `own_recipe`), or "default". A curriculum is written out.

    Raises
    ------
    FineSpotError
        A key or value is not as expected, a curriculum leaves it without effect, or a run that goes on would change
        what it does.
    """
    named = {"model": model, "data": data}
    given = {**{key: str(value) for key, value in named.items() if value is not None}, **overrides}
    if resume is None:
        chosen = (
            _with(recipe, given)
            if isinstance(recipe, Recipe)
            else load_recipe(recipe or own_recipe(model), values=given)
        )
        curriculum = curriculum_of(chosen)
        if curriculum is not None:
            refuse_overruled(curriculum, {settings.full_key(Recipe, key): value for key, value in given.items()})
        return settled(chosen)
    if recipe is not None:
        raise FineSpotError(f"a resumed run has its own recipe, but {recipe} was given", where="resume")
    stored = stored_recipe(Path(resume))
    chosen = settled(_with(stored, given))
    # The image size is compared when it is rounded to the network's stride.
    refuse_changes(stored, msgspec.structs.replace(chosen, imgsz=stored.imgsz), Path(resume))
    return chosen


def own_recipe(model: str | None) -> str:
    """The recipe of a model's family, where it has one of its own: its paper's settings, not those of the YOLOs.

    A network as published takes the recipe as published, where there is one: the rules of its release.
    """
    if model is None:
        return "default"
    if seeks(model):
        return MODEL
    if zoo.is_name(model):
        architecture = zoo.architecture(model)
    else:
        try:
            architecture = weights.read_card(model).architecture
        except FineSpotError:
            return "default"  # what is wrong with the name is said where the model is made
    family = next((one for one in zoo.families() if one.name == architecture.family), None)
    if family is None:
        return "default"
    published = f"{family.name}{_PUBLISHED}" if _PUBLISHED in zoo.name_of(architecture) else ""
    return next((one for one in (published, family.recipe or family.name) if one in recipe_names()), "default")


def stored_recipe(folder: Path) -> Recipe:
    """The recipe of a run folder.

    Raises
    ------
    FineSpotError
        The folder is none; where it lies in one, that is said.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        above = [one for one in folder.parents if (one / path.name).is_file()]
        hint = f"its run folder is {above[0]}" if above else None
        raise FineSpotError("no run to resume (it holds no recipe.yaml)", where=folder, hint=hint)
    return read_recipe(path)


def recipe_beside(weights: str | Path) -> Recipe | None:
    """The recipe of the run that a weight file lies in; None where it lies elsewhere, or the recipe is not readable
    any more, as that of another version may not be.
    """
    path = Path(weights)
    if not path.is_file() or path.absolute().parent.name != "weights":
        return None
    with contextlib.suppress(FineSpotError):
        return stored_recipe(path.absolute().parent.parent)
    return None


def refuse_changes(stored: Recipe, wanted: Recipe, folder: Path) -> None:
    """Refuse to go on with a recipe that differs in more than where and how a run computes."""
    fixed = [key for key in differences(stored, wanted) if key not in _FREE]
    if fixed:
        raise FineSpotError(
            f"a resumed run keeps its recipe, but {', '.join(fixed)} would change",
            where="resume",
            hint=f"start a new run with weights={folder / 'weights' / 'last.safetensors'}",
        )


def _with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    return apply(msgspec.to_builtins(recipe), values)
