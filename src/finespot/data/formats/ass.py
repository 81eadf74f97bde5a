"""ASS1 and ASS2, airport surface surveillance (Zhou et al., Multimedia Tools and Applications, 2023): `ass:FOLDER`.

YOLO labels under ASS1.yaml and ASS2.yaml. As downloaded, both YAML files lie at the top and the folders are crossed:
ASS1 reads yolo_dataset2 (pictures directly in images/), ASS2 reads yolo_dataset1 (images/train, images/val). Where the
YAML's folder is missing and images/ lies beside it, that is read. `set=1` or `set=2` chooses where both are there.

ASS1 ships train = val. Here a fixed fifth of it is val, chosen by a hash: whole cameras where the file names tell them
apart and some of them make about a fifth, else single pictures. `split=published` reads all pictures as
both, for comparison with published figures, and says so. Class ids differ between the two (1 is person in ASS1 and
truck in ASS2), so that weights of one need their classes matched by name for the other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.data_yaml import DataYaml, read_data_yaml, split_place
from finespot.data.formats.options import choice
from finespot.data.formats.yolo import read_yolo
from finespot.errors import FineSpotError
from finespot.registry import register

VAL_SHARE = 0.2
# Cameras stay whole where they make a share of val between these.
_SHARES = (0.1, 0.3)
_CROSSED = "in the release the folders are crossed: ASS1 is yolo_dataset2, ASS2 is yolo_dataset1"
_FRAME_NUMBER = re.compile(r"[\W_]*\d+$")


@register("format", "ass")
class Ass:
    """A data YAML whose splits may be the same pictures."""

    def __init__(self, set: str = "auto", split: str = "fixed") -> None:
        self._set = choice("set", set, ("auto", "1", "2"))
        self._published = choice("split", split, ("fixed", "published")) == "published"

    def splits(self, place: Path) -> list[str]:
        """train and val."""
        return list(_data(place, self._set).splits)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        data = _data(place, self._set)
        notes = ["class ids differ between ASS1 and ASS2 (1 is person or truck): match classes by name"]
        if split not in ("train", "val") or not _same(data):
            dataset = read_yolo(data, split, findings)
        elif self._published:
            dataset = read_yolo(data, split, findings)
            same = f"train and val are the same {len(dataset)} pictures, as published"
            notes.append(f"{same}: figures on val are those of training")
        else:
            division = _Division(split)
            dataset = read_yolo(data, split, findings, choose=division.choose, group=division.group)
            if not len(dataset):
                raise FineSpotError(
                    f"too few pictures to divide train and val: none is left for {split}", where=data.file
                )
            notes.append(f"train and val of the YAML are the same pictures; {division.note} ({len(dataset)} here)")
        dataset.notes[:0] = notes
        return dataset


class _Division:
    """Which pictures a split has: by the camera where that divides well, else by the picture."""

    def __init__(self, split: str) -> None:
        self._val_is_asked = split == "val"
        self._cameras = 0
        self._whole_cameras = False

    def choose(self, pictures: list[str]) -> list[str]:
        """The pictures of the split, which decides for `group` and `note`, too."""
        val = self._val(pictures)
        return [picture for picture in pictures if (picture in val) == self._val_is_asked]

    def _val(self, pictures: Sequence[str]) -> frozenset[str]:
        cameras = Counter(map(_camera, pictures))
        target, taken = VAL_SHARE * len(pictures), 0
        chosen = set()
        for camera in sorted(cameras, key=_hash):
            if taken + cameras[camera] / 2 <= target:
                chosen.add(camera)
                taken += cameras[camera]
        self._cameras = len(cameras)
        self._whole_cameras = _SHARES[0] <= taken / max(1, len(pictures)) <= _SHARES[1]
        if self._whole_cameras:
            return frozenset(one for one in pictures if _camera(one) in chosen)
        return frozenset(one for one in pictures if _hash(_stem(one)) < VAL_SHARE)

    def group(self, picture: str) -> str | None:
        """The camera, where cameras stay whole."""
        return _camera(picture) if self._whole_cameras else None

    @property
    def note(self) -> str:
        """How train and val were divided."""
        if self._whole_cameras:
            return f"divided by a fixed hash of the camera, of which file names tell {self._cameras}"
        return (
            "divided by a fixed hash of each picture, because file names do not tell enough cameras apart: "
            "frames of one scene stand on both sides"
        )


def _camera(picture: str) -> str:
    """A file's name without the frame number at its end."""
    return _FRAME_NUMBER.sub("", _stem(picture))


def _stem(picture: str) -> str:
    return os.path.splitext(os.path.basename(picture))[0]


def _hash(key: str) -> float:
    """A number from 0 to 1 that is the same on every machine."""
    digest = hashlib.blake2b(os.fsencode(key), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _data(place: Path, wanted: str) -> DataYaml:
    """The data YAML of one of the two sets."""
    file = _yaml_file(place, wanted)
    try:
        data = read_data_yaml(file)
    except FineSpotError:
        if not (file.parent / "images").is_dir():
            raise
        data = read_data_yaml(file, root=file.parent)
    if _same(data):
        pictures = Path(split_place(data, data.value("train")[0], []))
        if (pictures / "train").is_dir() and (pictures / "val").is_dir():
            raise FineSpotError("expected pictures directly in images/ but got images/train", where=file, hint=_CROSSED)
    return data


def _yaml_file(place: Path, wanted: str) -> Path:
    if not place.is_dir():
        return place
    numbers = ("1", "2") if wanted == "auto" else (wanted,)
    names = [f"ASS{number}.yaml" for number in numbers]
    found = [file for name in names for file in (place / name, place / name[:4] / name) if file.is_file()]
    if not found:
        raise FineSpotError(f"expected {' or '.join(names)} in the folder but there is none", where=place)
    if len({file.name for file in found}) > 1:
        raise FineSpotError("expected one set but got ASS1 and ASS2", where=place, hint=f"say ass,set=1:{place}")
    return found[0]


def _same(data: DataYaml) -> bool:
    """Whether train and val are the same folders."""
    if not {"train", "val"} <= data.splits.keys():
        return False
    places = [
        sorted(os.path.abspath(split_place(data, value, [])) for value in data.value(split))
        for split in ("train", "val")
    ]
    return places[0] == places[1]
