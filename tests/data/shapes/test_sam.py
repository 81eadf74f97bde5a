"""The segmenter of transformers, with a tiny random network that is saved and loaded as a real one is."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_factory import MakeYolo

import finespot.cli
from finespot.data import open_dataset
from finespot.data.painting import whole_pixels
from finespot.data.shapes import Shapes
from finespot.data.shapes import sam as sam_module
from finespot.data.shapes.sam import Sam, model_name, parts
from finespot.errors import FineSpotError

transformers = pytest.importorskip("transformers")

BOXES = np.array([[3, 4, 20, 30], [30.5, 10.25, 52.75, 36], [0, 0, 60, 40], [55, 35, 60, 40]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose input is 64 x 64."""
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [0],
        "num_pos_feats": 8,
        "mlp_dim": 16,
        "initializer_range": 0.5,
    }
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config={**decoder, "iou_head_hidden_dim": 16}
    )
    torch.manual_seed(1)
    network = transformers.SamModel(config)
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    made = tmp_path_factory.mktemp("models") / "tiny-sam"
    network.save_pretrained(made)
    transformers.SamProcessor(processor).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def sam(folder: Path) -> Sam:
    return Sam(str(folder))


@pytest.fixture
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 10, 1), np.uint8))


def agreement(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    assert [mask.shape for mask in one] == [mask.shape for mask in other]
    return float(np.mean(np.concatenate([(a == b).ravel() for a, b in zip(one, other)])))


@pytest.mark.slow
def test_masks_are_those_of_the_library_inside_the_boxes(sam: Sam, pixels: np.ndarray) -> None:
    """But for pixels at outlines, of which random masks have many: the library interpolates twice."""
    inputs = sam._processor(images=pixels, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.inference_mode():
        found = sam._network(
            pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=False
        )
    whole = sam._processor.image_processor.post_process_masks(
        found.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][:, 0].numpy()
    windows = whole_pixels(BOXES, (40, 60))
    expected = [mask[y1:y2, x1:x2] for mask, (x1, y1, x2, y2) in zip(whole, windows)]
    assert 0.3 < np.mean(expected[2]) < 0.7
    found_here = sam(pixels, BOXES)
    same = agreement(found_here, expected)
    assert same > 0.95
    for step in (-1, 1):
        for axis in (0, 1):
            assert agreement(found_here, [np.roll(mask, step, axis) for mask in expected]) < same - 0.05


@pytest.mark.parametrize("scale", [0.25, 0.3, 1.0, 1.7])
def test_values_are_looked_up_at_the_centers_of_pixels(scale: float) -> None:
    """In a map whose value is a point's place, counted from the upper left corner."""
    y, x = np.mgrid[:64, :64].astype(np.float32) + 0.5
    for axis, ramp in ((0, y), (1, x)):
        found = sam_module._looked_up(ramp, (7, 3, 30, 20), (scale, scale))
        expected = (np.arange(3, 20) + 0.5 if axis == 0 else np.arange(7, 30) + 0.5) * scale
        np.testing.assert_allclose(found.mean(axis=1 - axis), expected, atol=1e-4)
        assert np.ptp(found, axis=1 - axis).max() < 1e-4
    corner = sam_module._looked_up(x, (0, 0, 1, 1), (0.25, 0.25))
    assert corner[0, 0] == 0.5  # before the first value's place: that value


@pytest.mark.slow
def test_prompts_in_smaller_groups_give_the_same(sam: Sam, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    together = sam(pixels, BOXES)
    asked: list[int] = []
    decoder = sam._network.mask_decoder.forward

    def counted(**inputs: Any) -> Any:
        asked.append(inputs["sparse_prompt_embeddings"].shape[1])
        return decoder(**inputs)

    monkeypatch.setattr(sam._network.mask_decoder, "forward", counted)
    monkeypatch.setattr(sam_module, "PROMPTS", 3)
    assert agreement(together, sam(pixels, BOXES)) > 0.999
    assert asked == [3, 1]


@pytest.mark.slow
def test_a_thousand_boxes(sam: Sam, pixels: np.ndarray) -> None:
    corners = np.random.default_rng(1).uniform(0, 1, (1000, 4)).astype(np.float32) * [50, 30, 9, 9]
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 0.5], axis=1).astype(np.float32)
    masks = sam(pixels, boxes)
    assert [mask.shape for mask in masks] == [(y2 - y1, x2 - x1) for x1, y1, x2, y2 in whole_pixels(boxes, (40, 60))]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), [(0, 0, 1, 1)]),
        ((1024, 1024), [(0, 0, 1024, 1024)]),
        ((1000, 1025), [(0, 0, 512, 1000), (512, 0, 1025, 1000)]),
        ((2049, 10), [(0, 0, 10, 683), (0, 683, 10, 1366), (0, 1366, 10, 2049)]),
    ],
)
def test_parts(size: tuple[int, int], expected: list[tuple[int, ...]]) -> None:
    assert parts(size) == expected


def test_objects_on_a_seam_are_asked_for_in_both_parts(sam: Sam) -> None:
    coarse = np.random.default_rng(2).integers(0, 256, (2, 30, 3), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((40, 40, 1), np.uint8))  # 80 x 1200: seam at 600
    boxes = np.array([[580.5, 10, 640.25, 60], [10, 10, 50, 50], [600, 20, 620, 40]], np.float32)
    masks = sam(pixels, boxes)
    left = sam(pixels[:, :600], np.array([[580.5, 10, 600, 60], [10, 10, 50, 50]], np.float32))
    right = sam(pixels[:, 600:], np.array([[0, 10, 40.25, 60], [0, 20, 20, 40]], np.float32))
    expected = [np.concatenate([left[0], right[0]], axis=1), left[1], right[1]]
    assert agreement(masks, expected) == 1
    assert masks[0].shape == (50, 61)


def test_the_whole_way_from_the_command_line(
    folder: Path, make_yolo: MakeYolo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.2 0.3\n1 0.2 0.2 0.1 0.1", "b": "", "c": "0 0.7 0.5 0.3 0.3"})
    out = tmp_path / "shapes"
    words = ["data", "shapes", str(file), "--out", str(out), "--model", str(folder), "--device", "cpu"]
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            finespot.cli.main(words)
        assert not stop.value.code
    printed = capsys.readouterr().out
    assert printed.count("device: cpu (asked for)") == 1  # the second run loads no model
    assert "hub" not in printed
    shapes = Shapes(open_dataset(file, "train"), out)
    assert (shapes.objects, shapes.models) == (3, ["tiny-sam"])
    assert shapes[0].any()
    assert not shapes[1].any()


def refused(model: str | Path, said: str) -> None:
    with pytest.raises(FineSpotError, match=said) as caught:
        Sam(str(model))
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_such_model(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "absent", "absent: expected a folder with a model's files but there is none")
    refused("./absent", "expected a folder")
    refused(__file__, "expected a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty: expected a model of the kind 'sam' but got no config\.json")
    shutil.copy(folder / "config.json", tmp_path / "empty")
    refused(tmp_path / "empty", r"empty: the model cannot be loaded .*; expected a folder with config\.json")
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "model_type": "sam2"}))
    refused(tmp_path / "other", "expected a model of the kind 'sam' but got 'sam2'")
    (tmp_path / "other" / "config.json").write_text("{")
    refused(tmp_path / "other", "other: the model cannot be loaded")
    shutil.copytree(folder, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(tmp_path / "cut", "cut: the model cannot be loaded")


def test_weights_that_lack_tensors_are_not_filled_with_random_ones(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "lacking")
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.startswith("mask_decoder.iou")]:
        del tensors[name]
    save_file(tensors, tmp_path / "lacking" / "model.safetensors", {"format": "pt"})
    refused(tmp_path / "lacking", r"lacking: the model's file lacks \d+ of its tensors")


def test_names_on_the_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused("nobody/no-such-model", "nobody/no-such-model: the model cannot be loaded")
    assert model_name("nobody/no-such-model") == "nobody/no-such-model"
    assert model_name(f"{folder}/") == "tiny-sam"


@pytest.mark.slow
def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(folder, r"this needs the package 'transformers' .*; pip install 'finespot\[sam\]'")
