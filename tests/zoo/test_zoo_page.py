"""The table of docs/zoo.md: parameters as they are, of networks that fold their batch norms in a way of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finespot import zoo

PAGE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lrs-detr-b", "lrs-detr-b-published"])
def test_parameters_of_80_classes_and_fused(name: str) -> None:
    with torch.device("meta"):
        network = zoo.build(zoo.architecture(name, 80))
        counts = zoo.count_parameters(network), zoo.count_parameters(network.fused())
    assert f"| `{name}` | {counts[0]:,} | {counts[1]:,} |" in PAGE
