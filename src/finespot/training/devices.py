"""Where a run computes: processes, device and number format, as a set-up Fabric object.

Started by torchrun or Slurm, a run takes the processes that it finds; alone, it starts `devices` processes itself.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from finespot.errors import FineSpotError
from finespot.runtimes import allowed_cores
from finespot.training.recipe import Recipe

Note = Callable[[str], None]
_FORMATS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# The other processes wait while the first one validates, which may take hours on a large data set.
_PATIENCE = timedelta(hours=24)
# Seconds; the lock changes hands within milliseconds.
_MOMENT = 0.2


def make_fabric(recipe: Recipe, note: Note) -> Fabric:
    """Fabric for a recipe, not launched yet; tells `note` each automatic decision with its reason.

    Raises
    ------
    FineSpotError
        The device is not there, or cannot compute in the wanted format.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator, numbers = choose_device(recipe.device, note)
    devices, nodes = choose_processes(recipe, accelerator, numbers, note)
    precision = choose_precision(recipe.precision, accelerator, note)
    strategy: Any = "auto"
    world = (len(devices) if isinstance(devices, list) else devices) * nodes
    if world > 1 or recipe.strategy != "auto":
        method = "spawn" if recipe.strategy == "ddp_spawn" else "popen"
        backend = "nccl" if accelerator == "cuda" else "gloo"
        # Frozen parts and levels that are off get no gradient for a while, which the exchange has to be told.
        strategy = DDPStrategy(
            timeout=_PATIENCE,
            start_method=method,  # type: ignore[arg-type]
            process_group_backend=backend,
            find_unused_parameters=recipe.curriculum is not None,
        )
    if recipe.batch % world:
        raise FineSpotError(f"expected a batch that {world} processes can share but got {recipe.batch}", where="batch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=_FORMATS[precision],  # type: ignore[arg-type]
        )


def check_kernels(model: nn.Module, precision: str, accelerator: str) -> None:
    """Refuse what torch computes wrongly: bf16 gradients of dilated depth-wise convolutions on a CPU.

    They come out infinite, or finite and wrong, now and then (torch 2.13: 6 of 40 random cases).

    Raises
    ------
    FineSpotError
        Names the first such layer.
    """
    if (precision, accelerator) != ("bf16", "cpu"):
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.dilation) > 1:
            raise FineSpotError(
                f"bf16 on a CPU gives wrong gradients in dilated depth-wise convolutions, and '{name}' is one",
                where="precision",
                hint="try fp32",
            )


def leave_group() -> None:
    """End the exchange with other processes, if there is one: left to the interpreter's end it can crash or hang.

    A thread of gloo needs the interpreter lock to free the tensors of its last exchange, and the group's destructor
    waits for that thread, at times with the lock held (torch 2.13). So the thread gets its moment first.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        time.sleep(_MOMENT)
        torch.distributed.destroy_process_group()


def choose_device(device: str, note: Note) -> tuple[str, list[int]]:
    """The accelerator (`cpu`, `cuda`, `mps`) and the numbers of its devices where they were named."""
    if device == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        why = "torch finds no GPU" if found == "cpu" else "torch finds one"
        note(f"device: {found} ({why})")
        return found, []
    if all(part.isdigit() for part in device.split(",")):
        numbers = [int(part) for part in device.split(",")]
        there = torch.cuda.device_count()
        if max(numbers) >= there:
            raise FineSpotError(f"there is no GPU {max(numbers)}: torch finds {there}", where="device")
        return "cuda", numbers
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise FineSpotError(f"expected auto, cpu, cuda, mps or numbers such as 0,1 but got '{device}'", where="device")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[kind]:
        raise FineSpotError(f"torch finds no {kind} device on this machine", where="device", hint="try device=cpu")
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if number and int(number) >= there:
        raise FineSpotError(f"expected {kind} device numbers below {there} but got {device}", where="device")
    return kind, [int(number)] if number and kind == "cuda" else []


def choose_processes(recipe: Recipe, accelerator: str, numbers: list[int], note: Note) -> tuple[int | list[int], int]:
    """Devices (a count, or numbers) of this node and the number of nodes."""
    launched = _launched()
    if launched is not None:
        local, nodes = launched
        if recipe.devices not in ("auto", local):
            raise FineSpotError(
                f"the launcher started {local} processes here, but devices is {recipe.devices}", where="devices"
            )
        _refuse_too_many(local, accelerator)
        note(f"devices: {local} on each of {nodes} nodes (as the launcher says)")
        return local, nodes
    if numbers:
        if recipe.devices not in ("auto", len(numbers)):
            raise FineSpotError(f"device names {len(numbers)} GPUs, but devices is {recipe.devices}", where="devices")
        return numbers, 1
    count = 1 if recipe.devices == "auto" else recipe.devices
    _refuse_too_many(count, accelerator)
    return count, 1


def _refuse_too_many(count: int, accelerator: str) -> None:
    """A process each on the CPU costs only time; a GPU must be there."""
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(accelerator, count)
    if count > there:
        raise FineSpotError(f"expected at most {there} processes on {accelerator} but got {count}", where="devices")


def _launched() -> tuple[int, int] | None:
    """(processes on this node, nodes) where torchrun or Slurm started this process as one of several."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return local, max(int(os.environ.get("WORLD_SIZE", local)) // local, 1)
    if (
        "SLURM_NTASKS" in os.environ
        and "SLURM_PROCID" in os.environ
        and os.environ.get("SLURM_JOB_NAME")
        not in (
            "bash",
            "interactive",
        )
    ):
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None


def choose_precision(precision: str, accelerator: str, note: Note) -> str:
    """`fp32`, `bf16` or `fp16`; auto is fp32 on a CPU, else bf16 where the GPU computes in it, else fp16."""
    if precision == "auto":
        if accelerator != "cuda":
            note(f"precision: fp32 (auto on {accelerator})")
            return "fp32"
        chosen = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        why = "computes" if chosen == "bf16" else "does not compute"
        note(f"precision: {chosen} (the GPU {why} in bf16)")
        return chosen
    if precision == "fp16" and accelerator != "cuda":
        raise FineSpotError(f"fp16 needs a GPU but the device is {accelerator}", where="precision", hint="try bf16")
    return precision


def choose_workers(workers: int | str, accelerator: str, local_processes: int, note: Note) -> int:
    """Loader processes of each training process."""
    if not isinstance(workers, str):
        return workers
    cores = allowed_cores()
    if accelerator == "cpu":
        note("workers: 0 (the CPU trains, so the loader could only take its time)")
        return 0
    count = min(max(cores // local_processes - 1, 0), 8)
    note(f"workers: {count} (from {cores} CPU cores for {local_processes} training processes, at most 8)")
    return count


def round_up(imgsz: int, stride: int, note: Note) -> int:
    """The image size as a multiple of the network's largest stride."""
    rounded = -(-imgsz // stride) * stride
    if rounded != imgsz:
        note(f"imgsz: {rounded} ({imgsz} rounded up to a multiple of the network's stride {stride})")
    return rounded
