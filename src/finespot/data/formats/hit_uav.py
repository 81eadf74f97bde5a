"""HIT-UAV (Suo et al., Scientific Data 10, 227, 2023) in COCO layout: `hit-uav:FOLDER`.

Its DontCare regions belong to no class. COCO cannot say that, so the files hold each region once per class, marked
`dontcare: 1` and joined by `region_id`; here the rows of a region are folded back into one without a class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finespot.data.builder import shown
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco import Coco, flag
from finespot.errors import FineSpotError
from finespot.registry import register

Record = dict[str, Any]


@register("format", "hit-uav")
class HitUav(Coco):
    """COCO layout with class-free regions."""

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        return self._open(place, split, _fold, findings)


def _fold(records: list[Record], file: str) -> list[Record]:
    """Join the rows of each (image_id, region_id) into the first of them."""
    folded: list[Record] = []
    regions: dict[tuple[Any, Any], Record] = {}
    for record in records:
        where = f"{file}: annotation {record['id']}"
        if not flag(record, "dontcare", where):
            folded.append(record)
            continue
        if not isinstance(record.get("region_id"), (int, str)):
            got = shown(record["region_id"]) if "region_id" in record else "none"
            raise FineSpotError(
                f"expected a number or text as region_id on a dontcare record but got {got}", where=where
            )
        key = (record["image_id"], record["region_id"])
        if key not in regions:
            regions[key] = {**record, "ignore": 1, "category_id": None}
            folded.append(regions[key])
        elif regions[key].get("bbox") != record.get("bbox"):
            raise FineSpotError(f"expected one box for all rows of region {key[1]} but got two", where=where)
    return folded
