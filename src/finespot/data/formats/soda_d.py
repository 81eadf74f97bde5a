"""SODA-D (Cheng et al., Towards Large-Scale Small Object Detection, TPAMI 2023): `soda-d:FOLDER`.

The folder holds rawData (the pictures as taken) and perhaps divData (tiles of 800 px made by the official tool), or is
one of them; `form=tiles` chooses the second where both are there. The annotations are COCO with a tenth category,
`ignore`: ignore regions without a class, which plain COCO readers take for objects of a tenth class. `ignore` on a
record (a piece of an object in a tile) makes it an ignored object; the set's own evaluation honors that, COCO's does
not. The pictures of all splits of rawData lie in one folder. Tiles of one picture are one group.
"""

from __future__ import annotations

from pathlib import Path

from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco_file import Record
from finespot.data.formats.coco_records import Dialect, read_coco
from finespot.data.formats.options import choice
from finespot.data.formats.splits import find_split, ordered
from finespot.errors import FineSpotError
from finespot.registry import register

FORMS = {"raw": "rawData", "tiles": "divData"}
AUTO = "auto"
IGNORE = "ignore"
# Files that the official tool writes without the ignore regions, for its own evaluation.
WITHOUT_REGIONS = "_wo_ignore"


@register("format", "soda-d")
class SodaD:
    """Folders Annotations, with a COCO file a split, and Images."""

    def __init__(self, form: str = AUTO) -> None:
        self.form = choice("form", form, (AUTO, *FORMS))

    def splits(self, place: Path) -> list[str]:
        """Names of the files in Annotations."""
        return list(_files(self._folder(place)))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        folder = self._folder(place)
        images = folder / "Images"
        dataset = read_coco(
            find_split(_files(folder), split, place),
            [images / split.removesuffix(WITHOUT_REGIONS), images],
            name=place.resolve().name,
            split=split,
            dialect=Dialect(regions=frozenset((IGNORE,)), honored=True, group=_original),
            findings=findings,
        )
        if self.form == AUTO and all((place / name).is_dir() for name in FORMS.values()):
            dataset.notes.insert(0, f"both {' and '.join(FORMS.values())} are there; read {folder.name}")
        return dataset

    def _folder(self, place: Path) -> Path:
        """The folder that holds Annotations."""
        names = FORMS.values() if self.form == AUTO else [FORMS[self.form]]
        for folder in [*(place / name for name in names), place]:
            if (folder / "Annotations").is_dir():
                return folder
        raise FineSpotError(
            f"expected a folder {' or '.join(names)} with Annotations and Images but there is none", where=place
        )


def _files(folder: Path) -> dict[str, Path]:
    found = {file.stem: file for file in (folder / "Annotations").glob("*.json")}
    return {split: found[split] for split in ordered(found)}


def _original(image: Record) -> str | None:
    """The picture that a tile was cut from."""
    return None if image.get("ori_id") is None else f"picture {image['ori_id']}"
