"""Names of networks, their options, and what is refused."""

from __future__ import annotations

import pytest

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture


def test_all_names_differ() -> None:
    names = zoo.names()
    assert len(names) == len(set(names))
    assert {"yolov8n", "yolov8x-p2", "yolo11m", "yolo11n-p2"} <= set(names)
    assert all(map(zoo.is_name, names))
    assert not zoo.is_name("yolov5n-v5")


@pytest.mark.parametrize("name", zoo.names())
def test_a_name_goes_there_and_back(name: str) -> None:
    found = zoo.architecture(name, classes=7)
    assert found.classes == 7
    assert zoo.name_of(found) == name


def test_options_without_a_name_are_said() -> None:
    assert zoo.name_of(Architecture("yolo11", "n", 2, {"p2": True, "neck": "a:B"})) == "yolo11n-p2 (neck=a:B)"


@pytest.mark.parametrize("name", ["yolo11", "yolov11n", "n", "yolo11n-p3"])
def test_unknown_names_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(FineSpotError, match=f"unknown model '{name}'; did you mean"):
        zoo.architecture(name)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture("yolo11", "q", 2), "unknown yolo11 size"),
        (Architecture("yolo99", "n", 2), "unknown family"),
        (Architecture("yolo11", "n", 2, {"p3": True}), "unknown yolo11 option 'p3'"),
        (Architecture("yolo11", "n", 2, {"neck": "fpnn"}), "unknown neck"),
        (Architecture("yolo11", "n", 2, channels={"a": (1, 1, 1)}), "channel table"),
    ],
)
def test_what_cannot_be_built_is_refused(architecture: Architecture, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        zoo.build(architecture)


def test_a_network_needs_a_class() -> None:
    with pytest.raises(FineSpotError, match="one class or more"):
        zoo.architecture("yolo11n", classes=0)


def test_options_of_a_call_reach_the_builder() -> None:
    wanted = zoo.architecture("yolo11n-p2", 3, neck="pafpn")
    assert dict(wanted.options) == {"p2": True, "neck": "pafpn"}
    with pytest.raises(FineSpotError, match="unknown yolo11 option 'nec'"):
        zoo.build(zoo.architecture("yolo11n", 3, nec="pafpn"))
