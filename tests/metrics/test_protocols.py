"""Protocols as data: labels, limits, and what is refused."""

from __future__ import annotations

import pytest

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, AreaRange, Protocol, Row, protocol
from finespot.registry import names


def own() -> Protocol:
    """A protocol of a user's own."""
    return Protocol("own", (0.3,), (AreaRange("all", 0, 1e10),), (50,), (Row("AP30", "AP", iou=0.3),))


def test_names_and_lookup() -> None:
    assert set(PROTOCOLS) <= set(names("protocol"))
    assert protocol("coco") is PROTOCOLS["coco"]
    with pytest.raises(FineSpotError, match="did you mean coco"):
        protocol("cocco")


def test_own_protocol_by_dotted_path(monkeypatch, tmp_path) -> None:
    (tmp_path / "my_rules.py").write_text(
        "from finespot.metrics import PROTOCOLS\ndef strict():\n    return PROTOCOLS['coco'].class_agnostic()\n"
        "def wrong():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert protocol("my_rules:strict").pooled
    with pytest.raises(FineSpotError, match="got int"):
        protocol("my_rules:wrong")


def test_labels() -> None:
    coco = PROTOCOLS["coco"]
    assert [coco.label(row) for row in coco.rows] == [
        *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
        *("AR@1", "AR@10", "AR@100", "AR_small", "AR_medium", "AR_large"),
    ]
    changed = coco.with_max_dets((500, 10, 100))
    assert changed.max_dets == (10, 100, 500)
    assert [changed.label(row) for row in changed.rows][6:9] == ["AR@10", "AR@100", "AR@500"]


def test_variants_are_named() -> None:
    coco = PROTOCOLS["coco"]
    assert coco.with_max_dets((1, 10, 100)) is coco
    assert coco.with_max_dets((10, 100, 500)).name == "coco maxDets 10/100/500"
    assert coco.class_agnostic().name == "coco class-agnostic"
    assert coco.class_agnostic().class_agnostic().name == "coco class-agnostic"


def test_literal_limit_of_coco() -> None:
    coco = PROTOCOLS["coco"]
    row = coco.rows[0]
    assert coco.limit(row) == 100
    assert coco.covers(row)
    assert not coco.with_max_dets((1, 10, 500)).covers(row)


def test_thresholds_come_from_linspace() -> None:
    assert PROTOCOLS["coco"].thresholds[8] == 0.8999999999999999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"areas": (), "rows": ()}, "a size range or more"),
        ({"max_dets": (0,)}, "limits of 1 or more"),
        ({"thresholds": (0.0,)}, "above 0"),
        ({"rows": (Row("AP", "AP", area="huge"),)}, "huge"),
        ({"rows": (Row("AR", "AR", place=3),)}, "expected . limits"),
    ],
)
def test_refuses(change, message) -> None:
    whole = {name: getattr(own(), name) for name in ("name", "thresholds", "areas", "max_dets", "rows")}
    with pytest.raises(FineSpotError, match=message):
        Protocol(**{**whole, **change})
