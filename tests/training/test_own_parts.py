"""The page on parts of one's own: its code and its commands work, and each exchange has an effect."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from finespot import registry, weights, zoo
from finespot.boxes import suppressor
from finespot.structures import Classes, Targets
from finespot.training.recipe import Recipe, load_recipe
from finespot.training.tasks.detect import Detect

PAGE = Path(__file__).parents[2] / "docs" / "own-parts.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "python"]
COMMANDS = [line for kind, block in FENCED if kind == "" for line in block.splitlines()]
TRAINED = [shlex.split(line) for line in COMMANDS if line.startswith("finespot train")]
PARTS = ("backbone", "relay", "neck", "head")
CLASSES = Classes(("a", "b", "c"))
PAIR = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]])


def defines(block: str) -> bool:
    return re.search(r"^(class|def) ", block, re.MULTILINE) is not None


@pytest.fixture(autouse=True)
def my_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page defines is importable as `my_parts`."""
    (tmp_path / "my_parts.py").write_text("\n".join(block for block in BLOCKS if defines(block)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)


def truth() -> Targets:
    boxes = torch.tensor([[10.0, 10, 17, 16], [30, 30, 60, 50], [70, 8, 76, 15]])
    return Targets(boxes, torch.tensor([2, 0, 1]), torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.bool), 2)


def task_of(words: list[str]) -> tuple[Recipe, zoo.Detector]:
    """The network of a command `finespot train MODEL --data D key=value ...`, with its loss."""
    keys = [word for word in words[3:] if "=" in word]
    recipe = load_recipe("default", [f"model={words[2]}", *keys])
    torch.manual_seed(0)
    return recipe, Detect(recipe, CLASSES, lambda text: None).model


def step(model: zoo.Detector) -> tuple[dict[str, float], dict[str, int]]:
    torch.manual_seed(1)
    loss = model.loss(model.train()(torch.rand(2, 3, 64, 96), truth()), truth())
    loss.total.backward()
    return {k: v.item() for k, v in loss.terms.items()}, {k: int(v) for k, v in loss.counts.items()}


def test_every_block_of_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    run = [block for block in BLOCKS if not defines(block)]
    assert len(run) == 2
    exec(run[0], space)
    detector = space["detector"]
    assert isinstance(detector, zoo.Detector)
    assert [level.stride for level in detector.head.inputs] == [4, 8, 16]
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)
    exec(run[1], space)
    assert isinstance(space["detector"], zoo.Detector)
    assert type(space["detector"].neck).__module__ == "my_parts"


def test_every_kind_of_part_is_shown_on_two_families() -> None:
    shown: dict[str, set[str]] = {}
    for words in TRAINED:
        family = zoo.architecture(words[2]).family
        for word in words[3:]:
            if "=my_parts:" in word:
                shown.setdefault(word.partition("=")[0], set()).add(family)
    network = {f"options.{part}" for part in PARTS}
    assert set(shown) == network | {"loss.box_loss", "loss.assigner", "val.nms"}
    assert all(len(families) > 1 for key, families in shown.items() if key != "val.nms")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=pytest.mark.slow if "r50" in words[2] else ()) for words in TRAINED],
    ids=lambda words: " ".join(words[2:3] + words[5:]),
)
def test_commands_of_the_page_exchange_parts(words: list[str]) -> None:
    recipe, model = task_of(words)
    given = dict(word.split("=", 1) for word in words[5:])
    for part in PARTS:
        own = type(getattr(model, part)).__module__ == "my_parts"
        assert own == (f"options.{part}" in given)
        if own:
            name, options = registry.parse_call(given[f"options.{part}"])
            assert type(getattr(model, part)).__name__ == name.partition(":")[2]
            assert all(getattr(model, part).levels[0].channels == value for value in options.values())
    terms, counts = step(model)
    assert all(np.isfinite(value) for value in terms.values())
    for part in PARTS:
        if f"options.{part}" in given:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in getattr(model, part).parameters())
    if "loss.assigner" in given:
        count = registry.parse_call(given["loss.assigner"])[1].get("count", 3)
        assert counts["positives"] == 3 * count
    if "loss.box_loss" in given:
        assert terms["box"] != step(task_of(words[:5])[1])[0]["box"]
    if "val.nms" in given:
        assert recipe.val.nms == given["val.nms"]
        boxes = np.array([[0, 0, 4, 4], [3, 0, 7, 4], [9, 0, 13, 4]], np.float32)
        kept = suppressor(recipe.val.nms)(boxes, np.array([0.5, 0.9, 0.8]), np.zeros(3, int), threshold=0.5)
        assert kept.scores.tolist() == [0.9, 0.8]


def test_a_head_of_ones_own_selects_and_takes_classes_over(tmp_path: Path) -> None:
    _, model = task_of(["finespot", "train", "yolo11n", "options.head=my_parts:Head"])
    with torch.no_grad():
        found = model.eval().head.select(model(torch.rand(1, 3, 64, 64)), 0.1)
    assert len(found[0][1])
    card = weights.Card(architecture=model.architecture, classes=CLASSES)
    path = weights.save(tmp_path / "w.safetensors", model, card, half=False)
    words = ["model=yolo11n", "options.head=my_parts:Head", f"weights={path}"]
    said: list[str] = []
    other = Detect(load_recipe("default", words), Classes(("c", "d")), said.append).model
    assert "classes taken over by name: c" in said[0]
    assert torch.equal(other.head.scores["p3"].weight[0], model.head.scores["p3"].weight[2])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cost"), [("squared_iou", 0.75), ("ScaledIoU", 0.5)])
def test_box_losses_of_the_page(name: str, cost: float, tmp_path: Path) -> None:
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
    state = again.state_dict()
    assert state.keys() == task.model.network_state().keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in task.model.network_state().items())
    assert ("head.criterion.box_loss.mean" in task.model.state_dict()) == (name == "ScaledIoU")


@pytest.mark.slow
def test_weights_go_over_to_a_network_with_a_loss_that_has_buffers(tmp_path: Path) -> None:
    plain = Detect(load_recipe(), CLASSES, print).model
    card = weights.Card(architecture=plain.architecture, classes=CLASSES)
    path = weights.save(tmp_path / "w.safetensors", plain, card)
    said: list[str] = []
    words = ["box_loss=my_parts:ScaledIoU", f"weights={path}"]
    Detect(load_recipe("default", words), CLASSES, said.append)
    assert said[0].startswith("100.0 % of the parameters")
    assert "not in the file" not in said[0]


def _offers(row: str) -> list[set[str]]:
    return [set(re.findall(r"`(\w+)`", cell)) for cell in row.split("|")[2:5]]


@pytest.mark.slow
def test_offers_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    table = TEXT[TEXT.index("| family | backbone") :].split("\n\n")[0].splitlines()[2:]
    said = {name.strip(): _offers(row) for row in table for name in row.split("|")[1].split(",")}
    general = {"backbone": {"strides"}, "neck": {"inputs"}, "head": {"levels", "classes"}, "relay": {"levels"}}
    made: dict[str, set[str]] = {}

    def noted(kind: str, text: str, **offered: object) -> object:
        made[kind] = set(offered)
        return registry.make(kind, text, **offered)

    monkeypatch.setattr("finespot.zoo.family.make", noted)
    assert set(said) == {family.name for family in zoo.families()}
    for family in zoo.families():
        options = {"backbone": "my_parts:Backbone", "relay": "my_parts:Relay"}
        if "windows" in family.options:  # which want a backbone that can be cut, and a seeker
            options["windows"] = "none"
        with torch.device("meta"):
            zoo.build(zoo.architecture(family.names()[0], 2, **options))
        assert made["relay"] == general["relay"]
        for kind, offered in zip(("backbone", "neck", "head"), said[family.name]):
            assert made[kind] == general[kind] | offered, (family.name, kind)
