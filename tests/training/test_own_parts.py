"""The page on parts of one's own: its code runs as it stands, and a run with such parts leaves weights that load."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.training.recipe import load_recipe
from finespot.training.tasks.detect import Detect

PAGE = Path(__file__).parents[2] / "docs" / "own-parts.md"
CLASSES = Classes(("a", "b"))
PAIR = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]])


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Python of the page; what defines parts is importable as `my_parts`."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    parts = [one for one in found if re.search(r"^(class|def) ", one, re.MULTILINE)]
    (tmp_path / "my_parts.py").write_text("\n".join(parts))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    return found


def test_the_neck_of_the_page_is_built(blocks: list[str]) -> None:
    space: dict[str, object] = {}
    exec(blocks[-1], space)
    detector = space["detector"]
    assert isinstance(detector, zoo.Detector)
    assert type(detector.neck).__module__ == "my_parts"


@pytest.mark.parametrize(("name", "cost"), [("squared_iou", 0.75), ("ScaledIoU", 0.5)])
def test_box_losses_of_the_page(blocks: list[str], name: str, cost: float, tmp_path: Path) -> None:
    task = Detect(load_recipe("default", [f"box_loss=my_parts:{name}"]), CLASSES, print)
    pred, target = PAIR[0].clone().requires_grad_(), PAIR[1]
    loss = task.model.head.criterion.box_loss(pred, target, stride=torch.tensor([8.0]), image_size=(64, 64))
    assert loss.tolist() == pytest.approx([cost], rel=0.01)
    loss.sum().backward()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert pred.grad.any()
    # The loss is no part of the network: its buffers stay in the checkpoint, and the file loads without it.
    card = weights.Card(architecture=task.model.architecture, classes=CLASSES)
    path = weights.save(tmp_path / "w.safetensors", task.model, card, half=False)
    again, _ = weights.load(path)
    assert again.state_dict().keys() == task.model.network_state().keys()
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in task.model.network_state().items())
    assert ("head.criterion.box_loss.mean" in task.model.state_dict()) == (name == "ScaledIoU")


def test_weights_go_over_to_a_network_with_a_loss_that_has_buffers(blocks: list[str], tmp_path: Path) -> None:
    plain = Detect(load_recipe(), CLASSES, print).model
    card = weights.Card(architecture=plain.architecture, classes=CLASSES)
    path = weights.save(tmp_path / "w.safetensors", plain, card)
    said: list[str] = []
    words = ["box_loss=my_parts:ScaledIoU", f"weights={path}"]
    Detect(load_recipe("default", words), CLASSES, said.append)
    assert said[0].startswith("100.0 % of the parameters")
    assert "not in the file" not in said[0]
