"""Starting from other weights: rows by class name, tensors by name and shape."""

from __future__ import annotations

import pytest
import torch

from finespot import weights, zoo
from finespot.errors import FineSpotError
from finespot.structures import Classes


def build(name: str, count: int):
    torch.manual_seed(2)
    return zoo.build(zoo.architecture(name, classes=count))


def test_the_same_network_takes_everything(saved, card) -> None:
    target = build("yolov8n", 3)
    report = weights.transfer(target, card.classes, saved)
    assert report.share == pytest.approx(1)
    assert report.mismatched == report.new == report.unused == ()
    state = target.state_dict()
    for name, tensor in weights.load(saved)[0].state_dict().items():
        assert torch.equal(state[name], tensor)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [("boat", "tree", "person", "car", "sheep"), ("car", "boat"), ("boat", "person", "car")]
)
def test_rows_follow_their_names(saved, detector, card, names) -> None:
    classes = Classes(names)
    target = build("yolov8n", len(names))
    start = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = weights.transfer(target, classes, saved)
    loaded = weights.load(saved)[0].state_dict()
    own = target.state_dict()
    rows = [f"head.{name}" for name in target.head.class_rows()]
    assert len(rows) == 6
    for name in rows:
        for label, one in enumerate(names):
            wanted = loaded[name][card.classes.index(one)] if one in card.classes.names else start[name][label]
            assert torch.equal(own[name][label], wanted), (name, one)
    assert set(report.classes_matched) == set(names) & set(card.classes.names)
    assert report.classes_partial == ()
    assert set(report.classes_new) == set(names) - set(card.classes.names)
    assert set(report.classes_unused) == set(card.classes.names) - set(names)
    assert 0.99 < report.share <= 1
    line = report.summary()
    assert "\n" not in line
    assert all(name in line for name in report.classes_new)


@pytest.mark.slow
def test_no_common_class(saved) -> None:
    target = build("yolov8n", 3)
    rows = [f"head.{name}" for name in target.head.class_rows()]
    state = target.state_dict()
    before = {name: state[name].clone() for name in rows}
    report = weights.transfer(target, Classes(("x", "y", "z")), saved)
    assert set(report.mismatched) == set(rows)
    after = target.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in rows)
    assert "by name: none" in report.summary()


def test_a_class_counts_only_where_all_its_rows_went_over(saved, card) -> None:
    # The wider class branches of the larger size leave only the biases, which have no width.
    target = build("yolov8s", 3)
    rows = [f"head.{name}" for name in target.head.class_rows()]
    report = weights.transfer(target, card.classes, saved)
    assert {name for name in rows if name in report.matched} == {name for name in rows if name.endswith("bias")}
    assert report.classes_matched == report.classes_new == ()
    assert report.classes_partial == card.classes.names
    assert "by name: none; classes taken over in part: person, car, boat" in report.summary()


def test_another_architecture_takes_what_fits(saved, card) -> None:
    report = weights.transfer(build("yolov8n-p2", 3), card.classes, saved)
    assert 0.1 < report.share < 0.95
    assert report.new
    assert report.mismatched or report.unused
    assert f"{100 * report.share:.1f} %" in report.summary()


def test_levels_keep_their_branches(saved, card) -> None:
    target = build("yolov8n-p2", 3)
    start = {name: tensor.clone() for name, tensor in target.head.state_dict().items()}
    report = weights.transfer(target, card.classes, saved)
    state, loaded = target.head.state_dict(), weights.load(saved)[0].head.state_dict()
    finest = {name for name in state if ".p2." in name}
    assert finest
    assert all(torch.equal(state[name], start[name]) for name in finest)
    assert {f"head.{name}" for name in finest} <= set(report.new)
    # The widths inside the class branches go with the finest level; the deeper box branches are the same.
    same = [name for name in loaded if name.startswith("box_branches.p4.")]
    assert same
    assert all(torch.equal(state[name], loaded[name]) for name in same)


def test_nothing_fits(saved, card) -> None:
    target = build("yolov8n", 3)
    strange = torch.nn.Module()
    strange.head = target.head
    strange.other = torch.nn.Linear(3, 3)
    strange.head = _Renamed()
    strange.network_state = strange.state_dict
    with pytest.raises(FineSpotError, match="nothing in it fits"):
        weights.transfer(strange, card.classes, saved)


class _Renamed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def class_rows(self) -> list[str]:
        return ["layer.weight"]


def test_the_licence_of_the_data_is_handed_on(detector, card, tmp_path) -> None:
    card.data_licence = "CC BY 4.0"
    path = weights.save(tmp_path / "w.safetensors", detector, card)
    assert weights.transfer(build("yolov8n", 3), card.classes, path).data_licence == "CC BY 4.0"


def test_summary_shortens_long_lists(saved) -> None:
    names = ("car", *(f"kind{i}" for i in range(30)))
    assert "and 22 more" in weights.transfer(build("yolov8n", 31), Classes(names), saved).summary()
