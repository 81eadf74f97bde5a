"""Small sets in the layouts that are published as COCO JSON, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_factory import save_picture

Record = dict[str, Any]

AI_TOD = ("airplane", "bridge", "storage-tank", "ship", "swimming-pool", "vehicle", "person", "wind-mill")
SODA_D = (
    *("people", "rider", "bicycle", "motor", "vehicle", "traffic-sign", "traffic-light", "traffic-camera"),
    *("warning-cone", "ignore"),
)


def save_json(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1))
    return file


def save_coco(
    file: Path, images: list[Record], annotations: list[Record], names: tuple[str, ...], first: int = 1
) -> Path:
    """A COCO file whose category ids count from `first`; annotations get ids from 0 where they have none."""
    records = [{"id": number, **record} for number, record in enumerate(annotations)]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, first)]
    return save_json(file, {"images": images, "categories": categories, "annotations": records})


def image(number: int | str, name: str, width: int = 200, height: int = 100, **more: Any) -> Record:
    return {"id": number, "file_name": name, "width": width, "height": height, **more}


def box(image_id: int | str, category: int, *bbox: float, **more: Any) -> Record:
    return {"image_id": image_id, "category_id": category, "bbox": list(bbox), **more}


def person(image_id: int, category: int, *bbox: float, **flags: bool) -> Record:
    """An annotation of TinyPerson."""
    usual = {"iscrowd": 0, "ignore": False, "uncertain": False, "logo": False, "in_dense_image": False}
    return {**box(image_id, category, *bbox), "area": bbox[2] * bbox[3], **usual, **flags}


def make_tinyperson(root: Path) -> Path:
    """Three pictures and a corner file of four windows."""
    for name in ("labeled_images/bb_V0032_I0001640", "labeled_images/x", "labeled_dense_images/baidu_P000_24"):
        save_picture(root / "train" / f"{name}.jpg", (100, 200))
    save_picture(root / "erase_with_uncertain_dataset/train/labeled_images/bb_V0032_I0001640.jpg", (100, 200))
    images = [image(7, "labeled_images/bb_V0032_I0001640.jpg"), image(8, "labeled_images/x.jpg")]
    dense = [image(9, "labeled_dense_images/baidu_P000_24.jpg"), image(10, "no_label_images/y.jpg")]
    records = [
        person(7, 1, 10.25, 20, 5.5, 8),
        person(7, 2, 50, 20, 5, 8, ignore=True),
        person(7, 2, 60, 20, 5, 8, uncertain=True),
        person(7, 1, 70, 20, 5, 8, logo=True),
    ]
    both = ("sea_person", "earth_person")
    save_coco(root / "annotations/tiny_set_train.json", images, records, both)
    crowd = [*records, person(9, 1, 5, 5, 4, 4, in_dense_image=True)]
    save_coco(root / "annotations/tiny_set_train_with_dense.json", [*images, *dense], crowd, both)
    save_coco(root / "annotations/task/tiny_set_train_all.json", [*images, *dense], crowd, both)
    corners = [(0, 0, 120, 60), (80, 0, 200, 60), (0, 40, 120, 100), (80, 40, 200, 100)]
    pieces = [
        image(number, images[0]["file_name"], 120, 60, corner=list(corner))
        for number, corner in enumerate(corners, 100)
    ]
    for place in ("annotations", "erase_with_uncertain_dataset/annotations"):
        save_coco(
            root / place / "corner/task/tiny_set_train_sw120_sh60_all.json",
            pieces,
            [person(100, 1, 10, 20, 5, 8), person(103, 1, 110, 50, 20, 20)],
            ("person",),
        )
    save_coco(root / "mini_annotations/tiny_set_train_all_erase.json", images[:1], records[:1], ("person",))
    return root


def make_ai_tod(root: Path, file: str = "annotations/aitodv2_train.json", folder: str = "images/train") -> Path:
    """Two windows of one scene and a picture of another source."""
    names = ("2053__2298_1200.png", "2053__0_600.png", "P7.png")
    for name in names:
        save_picture(root / folder / name, (80, 80))
    images = [image(number, name, 80, 80) for number, name in enumerate(names, 1)]
    records = [box(1, 8, 70, 10, 20, 12, area=240), box(1, 1, 4.5, 6, 3, 3), box(2, 7, 0, 0, 6, 8)]
    save_coco(root / file, images, records, AI_TOD)
    return root


def make_soda_d(root: Path) -> Path:
    """The pictures as taken, and two tiles of the first."""
    for name in ("00001", "00002"):
        save_picture(root / f"rawData/Images/{name}.jpg", (100, 200))
    records = [
        box(1, 9, 10, 10, 8, 8, ignore=False, iscrowd=0),
        box(1, 10, 50, 50, 40, 30, ignore=False, iscrowd=0),
        box(1, 1, 30, 10, 8, 8, ignore=True, iscrowd=0),
    ]
    for split, names in (("train", ("00001",)), ("val", ("00002",))):
        images = [image(number, f"{name}.jpg") for number, name in enumerate(names, 1)]
        save_coco(root / f"rawData/Annotations/{split}.json", images, records, SODA_D)
    save_coco(root / "rawData/Annotations/val_wo_ignore.json", [image(1, "00002.jpg")], records[:1], SODA_D)
    tiles = [image(number, f"00001_{number}.jpg", 80, 80, ori_id=41, start_coord=[0, 60 * number]) for number in (0, 1)]
    for tile in tiles:
        save_picture(root / "divData/Images/train" / tile["file_name"], (80, 80))
    save_coco(root / "divData/Annotations/train.json", tiles, [box(0, 9, 0, 0, 8, 8, ignore=True)], SODA_D)
    return root


def make_uavvaste(root: Path) -> Path:
    """Three pictures in two splits; one more is in the annotations only."""
    names = ("batch_04_img_20.jpg", "batch_04_img_40.jpg", "GOPR0029.JPG")
    for name in names:
        save_picture(root / "images" / name, (600, 2500) if name == names[0] else (100, 200))
    images = [image(number, name, flickr_url="https://example.org/x.jpg") for number, name in enumerate(names)]
    images[0].update(width=2500, height=600)
    polygon = [[2288, 388, 2420, 388, 2420, 525, 2300, 520]]
    records = [
        box(0, 0, 2288, 388, 131, 136, area=8840.5, segmentation=polygon, iscrowd=0),
        box(2, 0, 10, 10, 8, 8, area=64, segmentation=[[10, 10, 18, 10, 18, 18]], iscrowd=0),
    ]
    save_coco(root / "annotations/annotations.json", [*images, image(3, "lost.jpg")], records, ("rubbish",), first=0)
    splits = {"train": [names[0]], "test": [names[2]], "val": [names[1]]}
    save_json(root / "annotations/train_val_test_distribution_file.json", splits)
    return root
