"""Training: the recipe, the loop, and what a run leaves behind. Everything is fetched when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finespot.training.loop import Loop
    from finespot.training.recipe import Recipe, load_recipe, recipe_names
    from finespot.training.run import RunResult, train
    from finespot.training.task import Task

_WHERE = {
    "Loop": "loop",
    "Recipe": "recipe",
    "RunResult": "run",
    "Task": "task",
    "load_recipe": "recipe",
    "recipe_names": "recipe",
    "train": "run",
}

__all__ = ["Loop", "Recipe", "RunResult", "Task", "load_recipe", "recipe_names", "train"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finespot.training' has no attribute '{name}'")
    return getattr(import_module(f"finespot.training.{_WHERE[name]}"), name)
