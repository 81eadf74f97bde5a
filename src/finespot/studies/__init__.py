"""Studies: several trainings of one question, at equal budgets. Everything is fetched when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finespot.studies.ablation import Ablation, Plan, ablate, plan
    from finespot.studies.results import Results
    from finespot.studies.study import Row, Study, load_study, study_names

_WHERE = {
    "Ablation": "ablation",
    "Plan": "ablation",
    "Results": "results",
    "Row": "study",
    "Study": "study",
    "ablate": "ablation",
    "load_study": "study",
    "plan": "ablation",
    "study_names": "study",
}

__all__ = ["Ablation", "Plan", "Results", "Row", "Study", "ablate", "load_study", "plan", "study_names"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finespot.studies' has no attribute '{name}'")
    return getattr(import_module(f"finespot.studies.{_WHERE[name]}"), name)
