"""Two processes on the CPU, started by torchrun or by the run itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.training import devices
from finespot.training.loop import Loop
from finespot.training.metrics_csv import read_metrics
from finespot.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
PROGRAM = str(Path(__file__).parent / "ddp_program.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(launcher: list[str], *words: str) -> str:
    """Run the program; returns what it printed."""
    done = run(launcher, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run(launcher: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    outside = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    return subprocess.run(
        [sys.executable, *launcher, PROGRAM, *words],
        env={**outside, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def said(folder: Path, rank: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"rank{rank}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_step_like_one(
    tmp_path: Path, make_loop: Callable[..., Loop], weights_of: Callable[[Loop], Tensor]
) -> None:
    """Without BatchNorm, the same global batches give the same weights, accumulation included."""
    start([], "toy", str(tmp_path))
    alone = make_loop(nominal_batch=4)
    alone.fit()
    for rank in (0, 1):
        (facts,) = said(tmp_path, rank)
        assert facts["steps"] == alone.progress.steps == 6
        assert torch.allclose(torch.tensor(facts["weights"]), weights_of(alone), atol=1e-6)


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([], marks=pytest.mark.slow, id="devices=2"),
        pytest.param(TORCHRUN, marks=pytest.mark.full, id="torchrun"),
    ],
)
def test_a_detector_on_two_processes(tmp_path: Path, launcher: list[str]) -> None:
    printed = start(launcher, "run", str(tmp_path), DATA)
    assert printed.count("epoch 1/2") == 1
    ranks = [said(tmp_path, rank) for rank in (0, 1)]
    for epoch in (0, 1):
        shares = [[f["indices"] for f in facts if "indices" in f][2 * epoch : 2 * epoch + 2] for facts in ranks]
        flat = [[index for indices in share for index in indices] for share in shares]
        assert [len(share) for share in flat] == [4, 4]
        assert sorted(flat[0] + flat[1]) == list(range(8))
    assert {f["size"] for facts in ranks for f in facts if "size" in f} == {2}
    digests = [[f["digest"] for f in facts if "digest" in f] for facts in ranks]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 2
    assert [sum("validated" in f for f in facts) for facts in ranks] == [2, 0]
    results = said(tmp_path, 9)
    assert len(results) == 2
    assert results[0] == results[1]
    folder = Path(results[0]["made"])
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [folder.name]
    rows = read_metrics(folder / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    made = json.loads((folder / "environment.json").read_text())
    assert made["processes"] == 2


@pytest.mark.full
def test_stages_on_two_processes(tmp_path: Path) -> None:
    """Both do the same, also where parts and levels get no gradient."""
    printed = start([], "stages", str(tmp_path), DATA)
    assert printed.count("epoch 2: stage 2 of 3 begins") == 1
    first, second = (said(tmp_path, rank) for rank in (0, 1))
    assert first == second
    assert [facts["kind"] for facts in first] == ["SGD", "AdamW", "SGD"]
    assert [facts["off"] for facts in first] == [["p2"], [], []]
    assert len({facts["all"] for facts in first}) == 3
    assert first[0]["backbone"] == first[1]["backbone"] != first[2]["backbone"]
    assert len({facts["p2"] for facts in first}) == 3


@pytest.mark.full
def test_processes_by_spawn_return_the_result(tmp_path: Path) -> None:
    start([], "spawn", str(tmp_path), DATA)
    (facts,) = said(tmp_path, 9)
    assert (Path(facts["made"]) / "weights" / "best.safetensors").is_file()
    assert facts["AP"] is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [pytest.param("no_split", "nope", marks=pytest.mark.full), ("full_disk", "No space left on device")],
)
def test_what_fails_is_said_once_and_ends_all(tmp_path: Path, kind: str, message: str) -> None:
    done = run([], kind, str(tmp_path), DATA)
    assert done.returncode != 0
    assert message in done.stdout
    assert done.stdout.count("FineSpotError: ") == 1
    assert "Traceback" not in done.stderr


def test_batch_must_be_shared_evenly() -> None:
    with pytest.raises(FineSpotError, match="batch: expected a batch that 2 processes can share but got 3"):
        devices.make_fabric(Recipe(batch=3, device="cpu", devices=2, precision="fp32"), lambda text: None)


def test_strategy_chooses_how_processes_start() -> None:
    def kind(**keys: Any) -> Any:
        fabric = devices.make_fabric(Recipe(device="cpu", precision="fp32", **keys), lambda text: None)
        return type(fabric.strategy).__name__, getattr(fabric.strategy, "_start_method", None)

    assert kind() == ("SingleDeviceStrategy", None)
    assert kind(devices=2) == ("DDPStrategy", "popen")
    assert kind(devices=2, strategy="ddp_spawn") == ("DDPStrategy", "spawn")
    assert kind(strategy="ddp") == ("DDPStrategy", "popen")


def test_a_launcher_decides_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}.items():
        monkeypatch.setenv(name, value)
    notes: list[str] = []
    assert devices.choose_processes(Recipe(), "cpu", [], notes.append) == (2, 3)
    assert notes == ["devices: 2 on each of 3 nodes (as the launcher says)"]
    with pytest.raises(FineSpotError, match="the launcher started 2 processes here, but devices is 4"):
        devices.choose_processes(Recipe(devices=4), "cpu", [], notes.append)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    for name, value in {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(name, value)
    assert devices.choose_processes(Recipe(), "cpu", [], notes.append) == (4, 2)


def test_devices_and_formats() -> None:
    notes: list[str] = []
    assert devices.choose_device("cpu", notes.append) == ("cpu", [])
    assert devices.choose_precision("bf16", "cpu", notes.append) == "bf16"
    assert notes == []
    assert devices.choose_processes(Recipe(), "cuda", [0, 1], notes.append) == ([0, 1], 1)
    with pytest.raises(FineSpotError, match="device names 2 GPUs, but devices is 3"):
        devices.choose_processes(Recipe(devices=3), "cuda", [0, 1], notes.append)
    if not torch.cuda.is_available():
        assert devices.choose_device("auto", notes.append)[0] in ("cpu", "mps")
        with pytest.raises(FineSpotError, match="device: there is no GPU 1: torch finds 0"):
            devices.choose_device("0,1", notes.append)
        with pytest.raises(FineSpotError, match="torch finds no cuda device"):
            devices.choose_device("cuda", notes.append)


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.choose_device("cuda:0", print) == ("cuda", [0])
    for device in ("cuda:7", "mps:1", "cpu:1"):
        with pytest.raises(FineSpotError, match=f"device numbers below 1 but got {device}"):
            devices.choose_device(device, print)
    for accelerator in ("cuda", "mps"):
        assert devices.choose_processes(Recipe(devices=1), accelerator, [], print) == (1, 1)
        with pytest.raises(FineSpotError, match=f"devices: expected at most 1 processes on {accelerator} but got 4"):
            devices.choose_processes(Recipe(devices=4), accelerator, [], print)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(FineSpotError, match="at most 1 processes on cuda but got 2"):
        devices.choose_processes(Recipe(), "cuda", [], print)


def test_workers_auto() -> None:
    notes: list[str] = []
    assert devices.choose_workers("auto", "cpu", 1, notes.append) == 0
    assert devices.choose_workers(3, "cpu", 1, notes.append) == 3
    assert len(notes) == 1
    assert 0 <= devices.choose_workers("auto", "cuda", 1, notes.append) <= 8


def test_bf16_on_a_cpu_is_refused_where_torch_computes_wrongly() -> None:
    wide = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4, dilation=2))
    with pytest.raises(FineSpotError, match="'1' is one; try fp32"):
        devices.check_kernels(wide, "bf16", "cpu")
    devices.check_kernels(wide, "fp32", "cpu")
    devices.check_kernels(wide, "bf16", "cuda")
    devices.check_kernels(wide[:1], "bf16", "cpu")
    devices.check_kernels(nn.Conv2d(4, 4, 3, dilation=2), "bf16", "cpu")
