"""What a network costs: parameters, operations, memory for activations, time - in all and part by part.

Operations are counted by torch's own counter at the true input size: 2 for each multiply-add of convolutions, matrix
products and attention, nothing else. Other tools extrapolate from a small input, which is wrong where work does not
grow with the area (windows, attention over the map, a fixed number of queries), or leave attention out; their rule is
there under its own name, `thop`, for comparing with published tables.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from finespot.errors import unknown
from finespot.structures import Size
from finespot.zoo.detector import Detector
from finespot.zoo.memory import peak_bytes, saved_bytes

RULES = {
    "counted": "2 x multiply-adds of convolutions, matrix products and attention, at the true input size",
    "thop": "2 x multiply-adds of convolutions and linear layers, 8 a value of batch norm; no attention products",
}
_MIB = 1 << 20


@dataclass(frozen=True)
class Stage:
    """One part of a network: its parameters, 1e9 operations, the values that it hands on in MiB (float32), and the
    median seconds that it took, where it was timed.
    """

    name: str
    parameters: int
    gflops: float
    output_mib: float
    seconds: float | None = None


@dataclass(frozen=True)
class Layer:
    """One layer (a module without modules of its own) of the fused network, with the median seconds that it took."""

    name: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What one picture of `size` (height, width) costs.

    Attributes
    ----------
    parameters, parameters_fused:
        As trained, and with batch norm folded in for inference.
    gflops, gflops_fused:
        1e9 operations from a picture to its boxes, by `rule` (see `RULES`).
    inference_mib:
        The most memory that activations need at one time (fused, float32), beside the weights.
    training_mib:
        What a training step keeps of one picture for its way back (float32), before the loss.
    stages:
        The parts as trained, in order; their sum is the whole.
    layers:
        The layers in order, where time was taken.
    """

    size: Size
    rule: str
    parameters: int
    parameters_fused: int
    gflops: float
    gflops_fused: float
    inference_mib: float
    training_mib: float
    stages: tuple[Stage, ...]
    layers: tuple[Layer, ...] = ()


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_gflops(detector: Detector, size: Size, rule: str = "counted") -> float:
    """Operations from one picture of `size` (height, width) to its boxes, in 1e9, by a rule of `RULES`.

    Nothing is computed: a copy runs on the meta device.
    """
    return _operations(without_data(detector).eval(), size, rule) / 1e9


def measure(detector: Detector, size: Size, rule: str = "counted", profile: int = 0) -> Cost:
    """The cost of a network on one picture of `size`.

    Parameters
    ----------
    detector:
        On any device, in any mode; it is not changed.
    profile:
        Run the network so many times on its device (after two runs that do not count) and time each stage and layer.
        0: no.

    Raises
    ------
    FineSpotError
        The rule is unknown, or the size is no multiple of the network's stride.
    """
    twin = without_data(detector)
    fused = without_data(detector.fused())
    operations, handed_on = _by_stage(twin.eval(), size, rule)
    seconds, layers = _times(detector, size, profile) if profile else ({}, ())
    stages = tuple(
        Stage(name, count_parameters(part), operations[name] / 1e9, handed_on.get(name, 0.0) / _MIB, seconds.get(name))
        for name, part in _stages(twin)
    )
    return Cost(
        size=size,
        rule=rule,
        parameters=count_parameters(twin),
        parameters_fused=count_parameters(fused),
        gflops=sum(operations.values()) / 1e9,
        gflops_fused=_operations(fused, size, rule) / 1e9,
        inference_mib=peak_bytes(fused, _picture(size)) / _MIB,
        training_mib=saved_bytes(twin, _picture(size)) / _MIB,
        stages=stages,
        layers=layers,
    )


def without_data(detector: Detector) -> Detector:
    """A copy on the meta device."""
    tensors = [*detector.parameters(), *detector.buffers()]
    # A deep copy that finds a stand-in without data for every tensor.
    stand_ins: dict[int, Any] = {id(one): _without_data(one) for one in tensors}
    return copy.deepcopy(detector, stand_ins)


def _without_data(tensor: Tensor) -> Tensor:
    meta = tensor.detach().to("meta")
    return nn.Parameter(meta, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else meta


def _picture(size: Size, device: torch.device | str = "meta") -> Tensor:
    return torch.zeros(1, 3, *size, device=device).contiguous(memory_format=torch.channels_last)


def _stages(detector: Detector) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a network to report: two levels deep, so a backbone's stages and a neck's steps stand apart."""
    for name, part in (("backbone", detector.backbone), ("relay", detector.relay), ("neck", detector.neck)):
        if part is None:
            continue
        if next(part.parameters(recurse=False), None) is not None or next(part.children(), None) is None:
            yield name, part
            continue
        for child, module in part.named_children():
            # The entries of a table of steps are parts of their own.
            if isinstance(module, (nn.ModuleDict, nn.ModuleList)):
                yield from ((f"{name}.{child}.{key}", inner) for key, inner in module.named_children())
            else:
                yield f"{name}.{child}", module
    yield "head", detector.head


def _operations(detector: Detector, size: Size, rule: str) -> float:
    return sum(_by_stage(detector, size, rule)[0].values())


def _by_stage(detector: Detector, size: Size, rule: str) -> tuple[dict[str, float], dict[str, float]]:
    """Operations and output bytes of every stage; what belongs to none (joins between stages) is the head's."""
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    operations: dict[str, float] = {}
    values: dict[str, float] = {}
    counter = _Thop(detector) if rule == "thop" else FlopCounterMode(display=False)

    def total() -> float:
        return float(counter.get_total_flops())

    def before(name: str) -> Callable[..., None]:
        return lambda module, args: starts.__setitem__(name, total())

    def after(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            operations[name] += total() - starts[name]
            values[name] = values.get(name, 0.0) + _bytes(output)

        return note

    starts: dict[str, float] = {}
    hooks = []
    # The counter looks for gradients where a parameter is handed from module to module.
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    for name, part in _stages(detector):
        operations[name] = 0.0
        hooks += [part.register_forward_pre_hook(before(name)), part.register_forward_hook(after(name))]
    try:
        with torch.no_grad(), counter:
            raw = detector(_picture(size))
            detector.head.decode_boxes(raw)
            rest = total() - sum(operations.values())
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in learning:
            parameter.requires_grad_(True)
    operations["head"] += rest
    return operations, values


def _bytes(output: Any) -> float:
    maps = getattr(output, "maps", output)
    tensors = [one for one in tree_leaves(maps) if isinstance(one, Tensor)]
    return float(sum(one.numel() * one.element_size() for one in tensors))


class _Thop:
    """Counts by the rule of thop while a network runs: by layers, so what no layer does is not seen."""

    def __init__(self, detector: Detector) -> None:
        self.flops = 0.0
        self.detector = detector
        self.hooks: list[Any] = []

    def get_total_flops(self) -> float:
        return self.flops

    def __enter__(self) -> _Thop:
        for module in self.detector.modules():
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm)):
                self.hooks.append(module.register_forward_hook(self._add))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _add(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            self.flops += 8.0 * output.numel()
        elif isinstance(module, nn.Linear):
            self.flops += 2.0 * output.numel() * module.in_features
        else:
            weight: Tensor = module.weight  # type: ignore[assignment]
            self.flops += 2.0 * output.numel() * weight[0].numel()


def _times(detector: Detector, size: Size, rounds: int) -> tuple[dict[str, float], tuple[Layer, ...]]:
    """Median seconds of each stage and of each layer, fused, on the network's device."""
    network = detector.fused()
    rule = getattr(network, "windows", None)
    if rule is not None:
        # Layers are timed as they are called, and of single cells they are not.
        network.windows = replace(rule, cells="all")
    device = next(network.parameters()).device
    images = _picture(size, device)
    taken: dict[str, list[float]] = {}
    starts: dict[str, float] = {}

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def before(name: str) -> Callable[..., None]:
        return lambda module, args: starts.__setitem__(name, now())

    def after(name: str) -> Callable[..., None]:
        return lambda module, args, output: taken.setdefault(name, []).append(now() - starts[name])

    leaves = [(name, part) for name, part in network.named_modules() if next(part.children(), None) is None]
    for name, part in [*_stages(network), *((f"layer {name}", part) for name, part in leaves)]:
        part.register_forward_pre_hook(before(name))
        part.register_forward_hook(after(name))
    with torch.inference_mode():
        for number in range(rounds + 2):
            if number == 2:
                taken.clear()
            network(images)
    # A stage that runs several times in one pass counts with all of them.
    found = {name: median(_sums(times, rounds)) for name, times in taken.items()}
    layers = (
        (name, type(part).__name__, f"layer {name}") for name, part in leaves if not isinstance(part, nn.Identity)
    )
    return found, tuple(Layer(name, kind, found[key]) for name, kind, key in layers if key in found)


def _sums(times: list[float], rounds: int) -> list[float]:
    """Times of one stage in order, added up pass by pass."""
    each = len(times) // rounds
    return [sum(times[i * each : (i + 1) * each]) for i in range(rounds)]
