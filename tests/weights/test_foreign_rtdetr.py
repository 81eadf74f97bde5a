"""State dicts of RT-DETR files to ours and back: the authors' naming, both of transformers, recognition, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign import rtdetr, rtdetr_transformers
from finespot.weights.foreign.layout import Entry, to_file
from finespot.weights.foreign.rtdetr import from_rtdetr, to_rtdetr
from finespot.weights.foreign.rtdetr_transformers import from_transformers, to_transformers

GOLDEN = json.loads((Path(__file__).parents[1] / "zoo" / "data" / "rtdetr.json").read_text())
# Sizes whose files were written with the backbone's batch norm frozen: its batch counters are not in them.
FROZEN = ("rtdetr-r50", "rtdetr-r101", "rtdetr-l", "rtdetr-x")
LISTS = {
    "authors": rtdetr.entries,
    "transformers": rtdetr_transformers.entries,
    "older": rtdetr_transformers.older_entries,
}


def quick(names) -> list:
    return [name if name == "rtdetr-r18" else pytest.param(name, marks=pytest.mark.slow) for name in names]


def random_state(architecture: Architecture) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = zoo.build(architecture).state_dict()
    return {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes.items()}


def without_counters(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not (k.startswith(prefix) and k.endswith("num_batches_tracked"))}


@pytest.mark.parametrize("name", quick(GOLDEN["file_entries"]))
def test_number_of_entries(name: str) -> None:
    keys = [entry.key for entry in rtdetr.entries(zoo.architecture(name))]
    assert len(keys) == len(set(keys))
    frozen = [key for key in keys if key.startswith("backbone.") and key.endswith("num_batches_tracked")]
    assert len(keys) - (len(frozen) if name in FROZEN else 0) == GOLDEN["file_entries"][name]


@pytest.mark.parametrize("naming", LISTS)
@pytest.mark.parametrize("name", quick(n for n in zoo.names() if n.startswith("rtdetr-") and not n.endswith("-p2")))
def test_the_map_names_every_tensor(name: str, naming: str) -> None:
    if naming != "authors" and name in ("rtdetr-l", "rtdetr-x"):
        with pytest.raises(FineSpotError, match="only the ResNet sizes"):
            list(LISTS[naming](zoo.architecture(name)))
        return
    architecture = zoo.architecture(name, classes=2)
    with torch.device("meta"):
        ours = zoo.build(architecture).state_dict()
    listed: list[Entry] = list(LISTS[naming](architecture))
    assert {key for entry in listed for key in entry.ours} == set(ours)
    assert len({entry.key for entry in listed}) == len(listed)


def test_keys_of_the_authors() -> None:
    keys = {entry.key for name in ("rtdetr-r18", "rtdetr-l") for entry in rtdetr.entries(zoo.architecture(name))}
    assert keys >= {
        "backbone.conv1.conv1_3.norm.running_var",
        "backbone.res_layers.0.blocks.0.short.conv.weight",
        "backbone.res_layers.3.blocks.0.short.conv.norm.bias",
        "backbone.stem.stem2a.conv.1.weight",
        "backbone.stages.1.downsample.bn.weight",
        "backbone.stages.2.blocks.1.layers.5.conv2.bn.weight",
        "backbone.stages.0.blocks.0.layers.0.conv.weight",
        "backbone.stages.3.blocks.0.aggregation_excitation_conv.conv.weight",
        "encoder.input_proj.2.1.weight",
        "encoder.encoder.0.layers.0.self_attn.in_proj_bias",
        "encoder.encoder.0.layers.0.norm2.weight",
        "encoder.lateral_convs.1.conv.weight",
        "encoder.pan_blocks.1.bottlenecks.2.conv2.norm.bias",
        "encoder.fpn_blocks.0.conv3.conv.weight",
        "decoder.input_proj.0.conv.weight",
        "decoder.decoder.layers.2.cross_attn.sampling_offsets.bias",
        "decoder.decoder.layers.0.norm3.bias",
        "decoder.denoising_class_embed.weight",
        "decoder.enc_output.1.weight",
        "decoder.query_pos_head.layers.1.bias",
        "decoder.dec_bbox_head.2.layers.2.weight",
    }


@pytest.mark.slow
def test_keys_of_transformers() -> None:
    architecture = zoo.architecture("rtdetr-r50")
    newer = {entry.key for entry in rtdetr_transformers.entries(architecture)}
    older = {entry.key for entry in rtdetr_transformers.older_entries(architecture)}
    assert newer >= {
        "model.backbone.model.embedder.embedder.2.convolution.weight",
        "model.backbone.model.encoder.stages.0.layers.0.shortcut.normalization.weight",
        "model.backbone.model.encoder.stages.1.layers.0.shortcut.1.convolution.weight",
        "model.backbone.model.encoder.stages.2.layers.5.layer.2.normalization.running_mean",
        "model.encoder_input_proj.0.0.weight",
        "model.encoder.aifi.0.layers.0.self_attn.q_proj.weight",
        "model.encoder.aifi.0.layers.0.self_attn.o_proj.bias",
        "model.encoder.aifi.0.layers.0.mlp.fc2.weight",
        "model.encoder.aifi.0.layers.0.final_layer_norm.weight",
        "model.encoder.fpn_blocks.1.bottlenecks.2.conv1.norm.weight",
        "model.decoder_input_proj.1.1.running_var",
        "model.decoder.layers.5.encoder_attn.value_proj.weight",
        "model.decoder.layers.0.encoder_attn_layer_norm.weight",
        "model.decoder.layers.0.final_layer_norm.weight",
        "model.decoder.query_pos_head.layers.0.weight",
        "model.decoder.class_embed.5.bias",
        "model.decoder.bbox_embed.0.layers.2.weight",
        "model.denoising_class_embed.weight",
        "model.enc_bbox_head.layers.1.weight",
    }
    assert older - newer >= {
        "model.encoder.encoder.0.layers.0.self_attn.out_proj.weight",
        "model.encoder.encoder.0.layers.0.fc1.weight",
        "model.decoder.layers.3.fc2.bias",
        "model.decoder.layers.3.self_attn.out_proj.bias",
    }
    assert not [key for key in newer | older if key.startswith(("backbone.", "encoder.", "decoder."))]


@pytest.mark.slow
@pytest.mark.parametrize("naming", LISTS)
def test_there_and_back_is_exact(naming: str) -> None:
    architecture = zoo.architecture("rtdetr-r18", classes=3)
    ours = random_state(architecture)
    theirs = to_file(ours, LISTS[naming](architecture))
    read = from_rtdetr if naming == "authors" else from_transformers
    again = read(theirs, architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


@pytest.mark.slow
def test_attention_and_labels_are_rows_of_one_matrix() -> None:
    architecture = zoo.architecture("rtdetr-r18", classes=3)
    ours = random_state(architecture)
    theirs = to_rtdetr(ours, architecture)
    parts = [ours[f"head.layers.1.attention.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(theirs["decoder.decoder.layers.1.self_attn.in_proj_weight"], torch.cat(parts))
    table = theirs["decoder.denoising_class_embed.weight"]
    assert torch.equal(table[:3], ours["head.denoising.labels.weight"])
    assert torch.equal(table[3:], ours["head.denoising.padding"])


@pytest.mark.slow
def test_both_namings_hold_the_same() -> None:
    architecture = zoo.architecture("rtdetr-r18", classes=2)
    ours = random_state(architecture)
    authors, others = to_rtdetr(ours, architecture), to_transformers(ours, architecture)
    assert torch.equal(
        authors["decoder.decoder.layers.0.linear2.weight"], others["model.decoder.layers.0.mlp.fc2.weight"]
    )
    assert sum(value.numel() for value in authors.values()) == sum(value.numel() for value in others.values())


@pytest.mark.parametrize(
    "options",
    [{"layers": 2, "denoising": 0}, *(pytest.param(one, marks=pytest.mark.slow) for one in ({}, {"layers": 2}))],
)
@pytest.mark.parametrize("name", quick(n for n in zoo.names() if n.startswith("rtdetr-") and not n.endswith("-p2")))
def test_recognized(name: str, options: dict[str, int]) -> None:
    architecture = zoo.architecture(name, classes=5, **options)
    tests = {
        "authors": rtdetr.recognize,
        "transformers": rtdetr_transformers.recognize,
        "older": rtdetr_transformers.recognize_older,
    }
    for naming, entries in LISTS.items():
        if naming != "authors" and name in ("rtdetr-l", "rtdetr-x"):
            continue
        with torch.device("meta"):
            state = to_file(zoo.build(architecture).state_dict(), entries(architecture))
        assert {key: test(state) for key, test in tests.items()} == {
            key: architecture if key == naming else None for key in tests
        }


def test_other_files_are_not_recognized() -> None:
    for recognize in (rtdetr.recognize, rtdetr_transformers.recognize, rtdetr_transformers.recognize_older):
        assert recognize({}) is None
        assert recognize({"model.0.conv.weight": torch.zeros(1)}) is None


@pytest.mark.slow
def test_spare_keys_and_missing_counters_are_no_errors() -> None:
    architecture = zoo.architecture("rtdetr-r18", classes=3)
    ours = random_state(architecture)
    authors = without_counters(to_rtdetr(ours, architecture), "backbone")
    extra = ("decoder.anchors", "decoder.valid_mask", "decoder.decoder.layers.2.cross_attn.num_points_scale")
    again = from_rtdetr({**authors, **{key: torch.ones(2) for key in extra}}, architecture)
    assert int(again["backbone.stem.first.bn.num_batches_tracked"]) == 0
    others = without_counters(to_transformers(ours, architecture), "model.backbone")
    extra = ("class_embed.0.weight", "bbox_embed.2.layers.0.bias", "model.decoder.layers.0.encoder_attn.n_points_scale")
    assert set(from_transformers({**others, **{key: torch.ones(2) for key in extra}}, architecture)) == set(ours)


@pytest.mark.slow
def test_what_does_not_fit_is_refused() -> None:
    architecture = zoo.architecture("rtdetr-r18", classes=3)
    theirs = to_rtdetr(random_state(architecture), architecture)
    with pytest.raises(FineSpotError, match=r"expected shape .* check size and class count"):
        from_rtdetr(theirs, zoo.architecture("rtdetr-r18", classes=2))
    with pytest.raises(FineSpotError, match="missing"):
        from_rtdetr({k: v for k, v in theirs.items() if k != "decoder.enc_output.0.weight"}, architecture)
    with pytest.raises(FineSpotError, match="do not belong"):
        from_rtdetr({**theirs, "decoder.more": torch.zeros(1)}, architecture)
    with pytest.raises(FineSpotError, match="rtdetr-r18-p2 is not a released RT-DETR"):
        list(rtdetr.entries(zoo.architecture("rtdetr-r18-p2")))
