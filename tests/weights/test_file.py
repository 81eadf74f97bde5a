"""Weight files: round trip, storage types, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from finespot import inference, weights, zoo
from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.structures import Classes, Tiling
from finespot.weights import Card, MetricRecord, ObjectScale


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_round_trip_is_exact_in_float32(detector, card, tmp_path) -> None:
    path = weights.save(tmp_path / "w.safetensors", detector, card, half=False)
    again, read = weights.load(path)
    assert read == card
    assert not again.training
    state = again.state_dict()
    for name, tensor in detector.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert again.architecture == detector.architecture


def test_round_trip_in_halves(detector, saved, tmp_path, card) -> None:
    again, _ = weights.load(saved)
    full = weights.save(tmp_path / "full.safetensors", detector, card, half=False)
    assert saved.stat().st_size < 0.55 * full.stat().st_size
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again(x)["scores"], detector.eval()(x)["scores"], atol=1e-2, rtol=1e-3)
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32, torch.int64}


@pytest.mark.slow
def test_values_beyond_halves_stay_exact(detector, card, tmp_path) -> None:
    changed = zoo.build(detector.architecture)
    state = changed.state_dict()
    norm = next(name for name in state if name.endswith("running_var"))
    state[norm][:3] = torch.tensor([1e-9, 7e4, 3e7])
    kernel = next(name for name, tensor in state.items() if tensor.ndim == 4)
    state[kernel][0, 0, 0, 0] = 7e4
    path = weights.save(tmp_path / "w.safetensors", changed, card)
    stored = load_file(path)
    assert stored[norm].dtype == stored[kernel].dtype == torch.float32
    assert sum(tensor.dtype == torch.float16 for tensor in stored.values()) > 50
    again = weights.load(path)[0].state_dict()
    assert torch.equal(again[norm], state[norm])
    assert torch.equal(again[kernel], state[kernel])


def test_every_entry_of_the_card_survives(detector, tmp_path) -> None:
    card = Card(
        architecture=detector.architecture, classes=Classes(("a", "b", "c"), (5, 6, 8)), imgsz=1280,
        mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), tiling=Tiling(320, 64, True, "soft", "ios"),
        objects=ObjectScale(side=9.5, factor=2.0), conf=0.1, iou=0.6, max_det=1000,
        nms="nwd(constant=9.5)",
        metrics=[MetricRecord(protocol="coco", data="d", split="val", imgsz=640, values={"AP": 0.25, "AR": None})],
        data_licence="CC-BY-4.0", provenance={"seed": 3, "recipe": {"epochs": 5}},
    )  # fmt: skip
    path = weights.save(tmp_path / "w.safetensors", detector, card)
    assert weights.read_card(path) == card
    assert weights.load(path)[1] == card


def test_suppression_in_the_card(card) -> None:
    old = json.loads(card.to_json())
    del old["nms"]
    assert Card.from_json(json.dumps(old)).nms == "greedy"
    for text, words in (("gredy", "did you mean greedy"), ("soft(", "name"), ("unheard_of:Nms", "FineSpot's own")):
        with pytest.raises(FineSpotError, match=words):
            Card.from_json(json.dumps({**old, "nms": text}))
    assert "unheard_of" not in sys.modules


def test_merging_in_the_card(card) -> None:
    assert Card.from_json(
        card.to_json().replace('"tiling":null', '"tiling":{"size":640,"overlap":0.2}')
    ).tiling == Tiling(640)
    for tiling, words in (
        ({"merge": "nmmm"}, "did you mean nmm"),
        ({"merge": "diou", "metric": "ios"}, "merge-metric: has no effect on 'diou'"),
        ({"merge": "unheard_of:Nms"}, "FineSpot's own"),
        ({"overlap": 640}, "expected an overlap"),
    ):
        with pytest.raises(FineSpotError, match=words):
            Card.from_json(json.dumps({**json.loads(card.to_json()), "tiling": {"size": 640, **tiling}}))
    assert "unheard_of" not in sys.modules


def test_the_ground_in_the_card(card) -> None:
    assert Card.from_json(msgspec.structs.replace(card, resolution=0.05).to_json()).resolution == 0.05
    assert Card.from_json(card.to_json()).resolution is None
    for value in (0.0, -1.0, float("inf")):
        with pytest.raises(FineSpotError, match="resolution above 0"):
            msgspec.structs.replace(card, resolution=value).check()


def test_the_scale_of_objects_in_the_card(card) -> None:
    old = json.loads(card.to_json())
    del old["objects"]
    assert Card.from_json(json.dumps(old)).objects is None
    with pytest.raises(FineSpotError, match="sides and factors above 0"):
        Card.from_json(json.dumps({**old, "objects": {"side": 0.0, "factor": 1.0}}))


@pytest.mark.slow
def test_channels_last_and_shared_memory_can_be_saved(detector, card, tmp_path) -> None:
    turned = zoo.build(detector.architecture).to(memory_format=torch.channels_last)
    path = weights.save(tmp_path / "w.safetensors", turned, card, half=False)
    state = weights.load(path)[0].state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in turned.state_dict().items())


def test_saving_leaves_the_detector_alone(detector, card, tmp_path) -> None:
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    weights.save(tmp_path / "w.safetensors", detector, card)
    for name, tensor in detector.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


@pytest.mark.slow
def test_own_parts_are_imported_where_allowed(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "finespot_test_neck.py").write_text("from finespot.nn.necks import PAFPN as Neck")
    built = zoo.build(zoo.architecture("yolov8n", classes=3, neck="finespot_test_neck:Neck"))
    card = Card(architecture=built.architecture, classes=Classes(("a", "b", "c")))
    path = weights.save(tmp_path / "w.safetensors", built, card)
    assert card.own_parts() == ["finespot_test_neck:Neck"]
    for refused in (weights.load, inference.load, Session):
        with pytest.raises(FineSpotError, match="own_parts=True"):
            refused(path)
    assert weights.load(path, own_parts=True)[1] == card
    assert Session(path, own_parts=True, threads=1).card == card
    assert inference.load(path, threads=1, own_parts=True).card == card


class TestRefusedToSave:
    def test_card_of_another_detector(self, detector, card, tmp_path) -> None:
        other = msgspec.structs.replace(card, architecture=zoo.architecture("yolo11n", classes=3))
        with pytest.raises(FineSpotError, match="another architecture"):
            weights.save(tmp_path / "w.safetensors", detector, other)

    @pytest.mark.parametrize(
        "change",
        [{"classes": Classes(("a",))}, {"mean": (0.0,)}, {"std": (1.0, 0.0, 1.0)}, {"conf": 2.0}, {"imgsz": 0}],
    )
    def test_card_that_contradicts_itself(self, detector, card, tmp_path, change) -> None:
        with pytest.raises(FineSpotError):
            weights.save(tmp_path / "w.safetensors", detector, msgspec.structs.replace(card, **change))
        assert list(tmp_path.iterdir()) == []

    def test_nan(self, detector, card, tmp_path) -> None:
        broken = zoo.build(detector.architecture)
        next(broken.parameters()).data[0] = float("nan")
        with pytest.raises(FineSpotError, match="NaN"):
            weights.save(tmp_path / "w.safetensors", broken, card)

    def test_folder_that_cannot_be_made(self, detector, card, tmp_path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(FineSpotError):
            weights.save(tmp_path / "file" / "w.safetensors", detector, card)

    @pytest.mark.slow  # a fresh process
    def test_full_disk_keeps_the_last_good_file(self, saved) -> None:
        """The limit of the file size stands for the full disk."""
        good = saved.read_bytes()
        code = (
            "import resource, sys; from finespot import weights; from finespot.errors import FineSpotError\n"
            "detector, card = weights.load(sys.argv[1])\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))\n"
            "try:\n    weights.save(sys.argv[1], detector, card)\n"
            "except FineSpotError as error:\n    print('refused:', error)"
        )
        printed = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
        assert "cannot be written" in printed.stdout
        assert saved.read_bytes() == good
        assert os.listdir(saved.parent) == [saved.name]
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


class TestRefusedToLoad:
    @pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 100, b"PK\x03\x04" + bytes(50), pickle.dumps({"a": 1})])
    def test_other_files(self, tmp_path, content) -> None:
        path = tmp_path / "w.safetensors"
        path.write_bytes(content)
        with pytest.raises(FineSpotError) as error:
            weights.load(path)
        assert "not a readable safetensors file" in one_line(error)
        assert "finespot weights import" in one_line(error)
        assert str(path) in one_line(error)

    def test_safetensors_without_our_description(self, tmp_path) -> None:
        save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors", {"format": "pt"})
        with pytest.raises(FineSpotError, match=r"finespot weights import FILE"):
            weights.load(tmp_path / "w.safetensors")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": "x"}'])
    def test_broken_description(self, tmp_path, text) -> None:
        save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors", {"finespot": text})
        with pytest.raises(FineSpotError) as error:
            weights.load(tmp_path / "w.safetensors")
        assert "cannot be read" in one_line(error)

    def test_newer_version(self, tmp_path) -> None:
        save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors", {"finespot": '{"format_version": 99, "new": 1}'})
        with pytest.raises(FineSpotError, match=r"got 99; .*newer FineSpot"):
            weights.load(tmp_path / "w.safetensors")

    def test_unknown_family(self, saved, card) -> None:
        text = card.to_json().replace("yolov8", "yolov88")
        save_file(load_file(saved), saved, {"finespot": text})
        with pytest.raises(FineSpotError) as error:
            weights.load(saved)
        assert one_line(error).startswith(f"{saved}: unknown family 'yolov88'; did you mean yolov8")

    def test_channel_table_that_this_version_cannot_build(self, saved, card) -> None:
        pruned = replace(card.architecture, channels={"backbone.stem": (3, 8, 1)})
        text = msgspec.structs.replace(card, architecture=pruned).to_json()
        save_file(load_file(saved), saved, {"finespot": text})
        with pytest.raises(FineSpotError) as error:
            weights.load(saved)
        assert one_line(error).startswith(f"{saved}: yolov8: this version cannot build networks from a channel table")

    @pytest.mark.parametrize(
        "change",
        [{"options": {"neck": "unheard_of:Neck"}}, {"options": {"deep": [{"x": "unheard_of:Neck"}]}},
         {"family": "unheard_of:Neck"}],
        ids=["option", "nested", "family"],
    )  # fmt: skip
    def test_code_outside_is_not_imported(self, saved, card, tmp_path, monkeypatch, change) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "unheard_of.py").write_text("raise RuntimeError('imported')")
        named = msgspec.structs.replace(card, architecture=replace(card.architecture, **change))
        save_file(load_file(saved), saved, {"finespot": named.to_json()})
        with pytest.raises(FineSpotError) as error:
            weights.load(saved)
        assert "unheard_of:Neck" in one_line(error)
        assert "--own-parts (in Python own_parts=True)" in one_line(error)
        assert "unheard_of" not in sys.modules
        assert weights.read_card(saved).own_parts() == ["unheard_of:Neck"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda t, n: t.pop(n), "absent"),
            (lambda t, n: t.update(extra=torch.zeros(1)), "no place"),
            (lambda t, n: t.update({n: t[n][:-1].clone()}), "expected shape"),
            (lambda t, n: t.update({n: t[n].to(torch.int32)}), "expected torch.float32"),
            (lambda t, n: t.update({n: t[n] * float("nan")}), "NaN"),
            (lambda t, n: t.update({n + "x": t.pop(n)}), "instead"),
        ],
        ids=["absent", "extra", "shape", "kind", "nan", "renamed"],
    )
    def test_tensors_that_do_not_fit(self, saved, card, change, words) -> None:
        tensors = load_file(saved)
        change(tensors, next(name for name in sorted(tensors) if tensors[name].ndim == 4))
        save_file(tensors, saved, {"finespot": card.to_json()})
        with pytest.raises(FineSpotError) as error:
            weights.load(saved)
        assert words in one_line(error)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_cut_off_anywhere(self, saved, data) -> None:
        content = saved.read_bytes()
        length = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 40))
        cut = saved.with_name("cut.safetensors")
        cut.write_bytes(content[:length])
        with pytest.raises(FineSpotError) as error:
            weights.load(cut)
        one_line(error)

    @pytest.mark.slow
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 40_000), st.binary(min_size=1, max_size=8))
    def test_damaged_header_never_ends_in_anything_but_our_error(self, saved, place, noise) -> None:
        content = bytearray(saved.read_bytes())
        content[place : place + len(noise)] = noise
        path = saved.with_name("damaged.safetensors")
        path.write_bytes(content)
        try:
            weights.read_card(path)
        except FineSpotError as error:
            assert "\n" not in str(error)  # noqa: PT017
