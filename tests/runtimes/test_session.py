"""Sessions: same output as the network, options with effects, automatic choices with reasons."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from finespot import registry, weights, zoo
from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.runtimes import settings as runtime_settings
from finespot.runtimes.settings import allowed_cores, choose_device, choose_precision
from finespot.runtimes.torch_eager import take_threads
from finespot.structures import Classes
from finespot.weights import Card


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return zoo.build(zoo.architecture("yolov8n", classes=2))


@pytest.fixture(scope="module")
def card(detector):
    return Card(architecture=detector.architecture, classes=Classes(("a", "b")), imgsz=96)


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plain(detector, images):
    with torch.no_grad():
        return detector.eval()(images / 255)


def test_output_is_the_networks(detector, card, images) -> None:
    raw = Session(detector, card=card)(images)
    expected = plain(detector, images)
    assert raw.keys() == expected.keys()
    for name, value in expected.items():
        assert raw[name].shape == value.shape
        assert raw[name].dtype == torch.float32
        torch.testing.assert_close(raw[name], value, atol=1e-3, rtol=1e-3)


def test_memory_layout_changes_nothing(detector, card, images) -> None:
    session = Session(detector, card=card)
    turned = session(images.contiguous(memory_format=torch.channels_last))
    for name, value in session(images).items():
        assert torch.equal(turned[name], value)


def test_a_live_detector_is_left_alone(detector, card, images) -> None:
    detector.train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    grads = [p.requires_grad for p in detector.parameters()]
    session = Session(detector, card=card, precision="bf16")
    session(images)
    assert detector.training
    assert [p.requires_grad for p in detector.parameters()] == grads
    after = detector.state_dict()
    assert after.keys() == before.keys()
    assert all(
        torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )
    mine = {p.data_ptr() for p in detector.parameters()}
    assert not mine & {p.data_ptr() for p in session._runner.network.parameters()}


def test_outputs_can_be_used_outside_inference_mode(detector, card, images) -> None:
    raw = Session(detector, card=card)(images)
    assert not raw["scores"].requires_grad
    session = Session(detector, card=card)
    assert len(session.head.select(raw, 0.0)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_has_an_effect(detector, card, images, precision) -> None:
    full = Session(detector, card=card, precision="fp32")(images)
    session = Session(detector, card=card, precision=precision)
    less = session(images)
    assert session.precision == precision
    assert less["scores"].dtype == torch.float32
    assert torch.equal(less["anchors"], full["anchors"])
    assert not torch.equal(less["scores"], full["scores"])
    torch.testing.assert_close(less["scores"], full["scores"], atol=0.5, rtol=0.1)


@pytest.mark.slow
def test_threads_are_used_and_put_back(detector, card, images) -> None:
    before = torch.get_num_threads()
    seen = []
    for threads in (1, 2, 3):
        session = Session(detector, card=card, threads=threads)
        network = session._runner.network
        hook = network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        session(images)
        hook.remove()
        assert torch.get_num_threads() == before
    assert seen == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_threads_follow_the_affinity(detector, card, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    mask = os.sched_getaffinity(0)
    assert Session(detector, card=card).threads == len(mask) == allowed_cores()
    try:
        os.sched_setaffinity(0, {min(mask)})
        assert Session(detector, card=card).threads == 1
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "threads", "why"),
    [
        ("2", 2, "OMP_NUM_THREADS"),
        ("3,1", 3, "OMP_NUM_THREADS"),
        ("8", 4, "cores of this process"),
        ("0", 4, "cores of this process"),
        ("many", 4, "cores of this process"),
        (None, 4, "cores of this process"),
    ],
)
def test_the_environment_limits_threads(detector, card, monkeypatch, text, threads, why) -> None:
    monkeypatch.setattr(runtime_settings, "allowed_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if text is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
    session = Session(detector, card=card)
    assert session.threads == threads
    assert session.reason.endswith(f"{threads} threads ({why})")
    assert Session(detector, card=card, threads=1).threads == 1


def test_a_thread_may_have_its_own_number(detector, card, images) -> None:
    session, seen = Session(detector, card=card, threads=2), []
    session._runner.network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=take_threads, initargs=(1,)) as pool:
        apart = pool.submit(session, images).result()
    torch.set_num_threads(before)
    together = session(images)
    assert seen == [1, 2]
    assert all(torch.equal(apart[name], value) for name, value in together.items())


def test_mean_and_std_have_effects(detector, card, images) -> None:
    scaled = msgspec.structs.replace(card, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.75))
    raw = Session(detector, card=scaled)(images)["scores"]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (scaled.mean, scaled.std))
    with torch.no_grad():
        expected = detector.eval()((images / 255 - mean) / std)["scores"]
    torch.testing.assert_close(raw, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_from_a_file(detector, card, images, tmp_path) -> None:
    path = weights.save(tmp_path / "w.safetensors", detector, card, half=False)
    session = Session(path)
    assert session.card == card
    assert session.classes.names == ("a", "b")
    assert session.stride == 32
    assert session.head.suppress is True
    torch.testing.assert_close(session(images)["scores"], Session(detector, card=card)(images)["scores"])


@pytest.mark.slow
def test_the_choice_is_said(detector, card) -> None:
    session = Session(detector, card=card)
    assert session.reason.startswith("runtime torch (the only runtime installed), device cpu (the network lies there)")
    assert "fp32 (on cpu)" in session.reason
    asked = Session(detector, card=card, runtime="torch", threads=1, precision="bf16", device="cpu").reason
    assert asked == "runtime torch (asked for), device cpu (asked for), bf16 (asked for), 1 threads (asked for)"


def test_automatic_choices_on_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto").value == "cuda:0"
    assert choose_device("1").value == "cuda:1"
    assert choose_device("auto", torch.device("cpu")).value == "cpu"
    assert choose_precision("auto", torch.device("cuda")).value == "fp16"
    with pytest.raises(FineSpotError, match="there is no 'cuda:2'"):
        choose_device("2")


def test_warm_up_runs_the_shape(detector, card) -> None:
    session = Session(detector, card=card)
    seen = []
    session._runner.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    session.warm_up((2, 64, 96), rounds=3)
    assert seen == [(2, 3, 64, 96)] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "onnxx"}, "unknown runtime 'onnxx'"),
        ({"precision": "fp61"}, "did you mean fp16"),
        ({"threads": 0}, "threads"),
        ({"threads": 100_000}, "4 for each core"),
        ({"device": "cpu:7"}, "only GPUs are numbered"),
        ({"device": "qpu"}, "unknown device"),
        ({"device": "cuda:63"}, "there is no"),
    ],
)
def test_bad_options(detector, card, options, words) -> None:
    with pytest.raises(FineSpotError, match=words):
        Session(detector, card=card, **options)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 64, 64),
        torch.zeros(3, 64, 64, dtype=torch.uint8),
        torch.zeros(1, 3, 60, 64, dtype=torch.uint8),
    ],
)
def test_bad_input_is_a_bug_of_the_caller(detector, card, images) -> None:
    with pytest.raises(ValueError, match="expected"):
        Session(detector, card=card)(images)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_does_not_suffice_is_one_line(detector, card, images, error, monkeypatch) -> None:
    session = Session(detector, card=card)

    def fail(_):
        raise error

    monkeypatch.setattr(session, "_runner", fail)
    said = r"^the memory does not suffice for \d inputs of \d+x\d+ px on cpu; lower batch or imgsz$"
    with pytest.raises(FineSpotError, match=said):
        session(images)
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="multiplied"):
        session(images)


def test_a_registered_runtime_can_be_chosen(detector, card, images) -> None:
    assert "torch" in registry.names("runtime")
    session = Session(detector, card=card, runtime="finespot.runtimes.torch_eager:TorchRuntime")
    assert session(images)["scores"].shape[0] == 2


@pytest.mark.slow  # two fresh processes
def test_openmp_threads_sleep_while_they_wait() -> None:
    code = "import finespot; finespot.load; import os; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        printed = subprocess.run([sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True)
        assert printed.stdout.strip() == expected


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "rtmdet-tiny", "yolov5n", "yolo11n-p2", "esod-yolov8n"])
@pytest.mark.slow
def test_boxes_that_come_later_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    session = Session(zoo.build(zoo.architecture(name, classes=2)), threads=1)
    if name.startswith("esod"):
        session.network.windows = replace(session.network.windows, select="all")
    images = torch.randint(0, 256, (2, 3, 192, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole, late = session(images), session.look(images)
    best = torch.sigmoid(whole["scores"].flatten()).sort(descending=True).values
    conf = float(best[40]) if "objectness" not in whole else 1e-6
    found = session.select(whole, conf)
    assert sum(len(one[0]) for one in found) > 0
    for one, other in zip(found, session.select(late, conf), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-3)
    assert ("boxes" in late) == (name == "yolov5n")


@pytest.mark.slow
def test_boxes_come_later_in_half_precision_too() -> None:
    session = Session("hit-uav-n", threads=1, precision="bf16")
    images = torch.randint(0, 256, (1, 3, 192, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole, late = session(images), session.look(images)
    for conf in (1e-4, 0.0):  # some points, and whole maps
        ((boxes, *_),), ((other, *_),) = session.select(whole, conf), session.select(late, conf)
        assert 0 < len(boxes) == len(other)
        np.testing.assert_allclose(other, boxes, rtol=0.02, atol=2)
