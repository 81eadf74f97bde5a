"""State dicts of RT-DETR as the transformers library names them, to ours and back.

The same networks as in `rtdetr` in two namings: that of release 5, and the older one that files on the hub have. Query,
key and value are apart there too. Only the ResNet sizes exist in this form; the batch norm of their backbones is always
frozen, so that batch counters are missing. Files of older releases repeat the predictors of the decoder, and those of
v2 carry constants (`spare`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture, Normalization
from finespot.weights.foreign import rtdetr
from finespot.weights.foreign.layout import Entry, count, from_file, to_file

FIT = "stretch"
NORMALIZATION = Normalization()

_SPARE = re.compile(
    r"(class_embed|bbox_embed)\..*|model\.(anchors|valid_mask)|model\.decoder\.layers\.\d+\.encoder_attn\.n_points_scale"
)
_BLOCK = r"backbone\.res_layers\.(\d+)\.blocks\.(\d+)"
_STAGE = r"model.backbone.model.encoder.stages.\1.layers.\2"
# From the authors' keys to those of release 5: all that match are applied, in this order.
_RENAMED = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        *((rf"^backbone\.conv1\.conv1_{i + 1}\.", f"model.backbone.model.embedder.embedder.{i}.") for i in range(3)),
        *((rf"^{_BLOCK}\.branch2{letter}\.", rf"{_STAGE}.layer.{i}.") for i, letter in enumerate("abc")),
        (rf"^{_BLOCK}\.short\.conv\.(?=conv|norm)", rf"{_STAGE}.shortcut.1."),
        (rf"^{_BLOCK}\.short\.(?=conv|norm)", rf"{_STAGE}.shortcut."),
        (r"^(model\.backbone\..*)\.conv\.", r"\1.convolution."),
        (r"^(model\.backbone\..*)\.norm\.", r"\1.normalization."),
        (r"^encoder\.input_proj\.", "model.encoder_input_proj."),
        (r"^decoder\.input_proj\.(\d+)\.conv\.", r"model.decoder_input_proj.\1.0."),
        (r"^decoder\.input_proj\.(\d+)\.norm\.", r"model.decoder_input_proj.\1.1."),
        (r"^encoder\.encoder\.0\.layers\.0\.norm2\.", "model.encoder.aifi.0.layers.0.final_layer_norm."),
        (r"^encoder\.encoder\.", "model.encoder.aifi."),
        (r"^encoder\.", "model.encoder."),
        (r"^decoder\.decoder\.layers\.(\d+)\.norm2\.", r"model.decoder.layers.\1.encoder_attn_layer_norm."),
        (r"^decoder\.decoder\.layers\.(\d+)\.norm3\.", r"model.decoder.layers.\1.final_layer_norm."),
        (r"^decoder\.decoder\.", "model.decoder."),
        (r"^decoder\.dec_score_head\.", "model.decoder.class_embed."),
        (r"^decoder\.dec_bbox_head\.", "model.decoder.bbox_embed."),
        (r"^decoder\.query_pos_head\.", "model.decoder.query_pos_head."),
        (r"^decoder\.", "model."),
        (r"\.norm1\.", ".self_attn_layer_norm."),
        (r"\.cross_attn\.", ".encoder_attn."),
        (r"\.linear([12])\.", r".mlp.fc\1."),
        (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    )
]
# From the names of release 5 to the older ones.
_OLDER = ((".aifi.", ".encoder."), (".self_attn.o_proj.", ".self_attn.out_proj."), (".mlp.fc", ".fc"))
_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}


def from_transformers(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A file's state dict, in either naming, under our names; see `layout.from_file`."""
    older = recognize_older(state) is not None
    return from_file(state, _entries(architecture, older), architecture, spare(state))


def to_transformers(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Our state dict (unfused) under the names of release 5: the inverse of `from_transformers`."""
    return to_file(state, entries(architecture))


def spare(state: Mapping[str, Tensor]) -> list[str]:
    """Keys of a file that repeat others or hold constants."""
    return [key for key in state if _SPARE.fullmatch(key)]


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, by the names of release 5.

    Raises
    ------
    FineSpotError
        The network has parts that no such file holds.
    """
    return _entries(architecture, older=False)


def older_entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, by the older names; see `entries`."""
    return _entries(architecture, older=True)


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network whose state dict this is by the names of release 5, or None."""
    return _recognized(state) if "model.encoder.aifi.0.layers.0.mlp.fc1.weight" in state else None


def recognize_older(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network whose state dict this is by the older names, or None."""
    return _recognized(state) if "model.encoder.encoder.0.layers.0.fc1.weight" in state else None


def _recognized(state: Mapping[str, Tensor]) -> Architecture | None:
    scores = state.get("model.enc_score_head.weight")
    stages = "model.backbone.model.encoder.stages"
    blocks = count(state, rf"{re.escape(stages)}\.2\.layers\.\d+\.layer\.0\.convolution\.weight")
    size = rtdetr.resnet_size(blocks, f"{stages}.0.layers.0.layer.2.convolution.weight" in state)
    if scores is None or size is None:
        return None
    layers = count(state, r"model\.decoder\.class_embed\.\d+\.weight")
    return rtdetr.architecture_of(size, len(scores), layers, "model.denoising_class_embed.weight" in state)


def _entries(architecture: Architecture, older: bool) -> Iterator[Entry]:
    if architecture.size in ("l", "x"):
        raise FineSpotError(f"transformers has no {zoo.name_of(architecture)}; only the ResNet sizes can be converted")
    for entry in rtdetr.entries(architecture):
        for key, one in _apart(entry):
            yield Entry(_renamed(key, older), one.ours, one.rows, one.columns, one.shape)


def _apart(entry: Entry) -> Iterator[tuple[str, Entry]]:
    """The authors' key and the entry; the joined matrix of an attention as three."""
    if ".in_proj_" not in entry.key:
        yield entry.key, entry
        return
    for ours in entry.ours:
        part = _ATTENTION[ours.split(".")[-2]]
        yield entry.key.replace("in_proj_", f"{part}."), Entry(entry.key, (ours,))


def _renamed(key: str, older: bool) -> str:
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    for new, old in _OLDER if older else ():
        key = key.replace(new, old)
    return key
