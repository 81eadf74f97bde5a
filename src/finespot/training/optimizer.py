"""The optimizer and its parameter groups.

Three groups, as in the YOLO family: biases and norm weights do not decay, all other weights do, but for those that a
module lists as `no_decay` (position codes, learnt tokens). The decay is scaled
by (pictures in one optimizer step / nominal batch), so that a small batch is not regularized more strongly than the
recipe says. Updates run as foreach kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from finespot.training.recipe import AdamW, Sgd

BIAS, NORM, WEIGHT = "bias", "norm", "weight"
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trainable parameters by group: `bias` (of any module), `norm` (weights of norm layers, and what
    a module lists as `no_decay`) and `weight`.

    A parameter that occurs twice is counted once; frozen ones are left out.
    """
    groups: dict[str, list[nn.Parameter]] = {BIAS: [], NORM: [], WEIGHT: []}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            if "bias" in name:
                groups[BIAS].append(parameter)
            elif isinstance(module, _NORMS) or name in getattr(module, "no_decay", ()):
                groups[NORM].append(parameter)
            else:
                groups[WEIGHT].append(parameter)
    return groups


def scaled_decay(decay: float, batch: int, accumulate: int, nominal: int) -> float:
    """The weight decay for a step over batch * accumulate pictures."""
    return decay * batch * accumulate / nominal


def build_optimizer(model: nn.Module, settings: Sgd | AdamW, *, weight_decay: float) -> Optimizer:
    """The optimizer that the recipe names, with the groups of `parameter_groups` (empty ones left out).

    Each group carries `kind` (bias, norm, weight) and `initial_lr`; the learning rate is set by the schedule.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": parameters,
            "kind": kind,
            "initial_lr": settings.lr,
            "weight_decay": weight_decay if kind == WEIGHT else 0.0,
        }
        for kind, parameters in parameter_groups(model).items()
        if parameters
    ]
    if isinstance(settings, Sgd):
        return torch.optim.SGD(
            groups,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            foreach=True,
        )
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, foreach=True)


def change_settings(optimizer: Optimizer, settings: Sgd | AdamW, *, weight_decay: float) -> None:
    """Give an optimizer the settings of another stage and keep its moments; `settings` must be of its kind.

    Learning rate and momentum stay the schedule's.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = settings.lr
        group["weight_decay"] = weight_decay if group["kind"] == WEIGHT else 0.0
        if isinstance(settings, Sgd):
            group["nesterov"] = settings.nesterov and settings.momentum > 0
        else:
            group["betas"] = settings.betas


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Take over the moments of a saved optimizer; its settings stay as the recipe has them.

    Raises
    ------
    ValueError
        The state is of another optimizer, or of parameters of other shapes. Odd content raises what torch raises.
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    kept = {"momentum_buffer"} if "momentum" in settings[0] else {"step", "exp_avg", "exp_avg_sq"}
    for moments in state["state"].values():
        if set(moments) not in (kept, set()):
            raise ValueError(f"the optimizer keeps {', '.join(sorted(kept))} but got {', '.join(sorted(moments))}")
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings):
        group.update(own)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value is not None and not _is_of(parameter, value):
                raise ValueError(f"the optimizer's {name} does not fit a parameter of shape {tuple(parameter.shape)}")


def _is_of(parameter: Tensor, moment: Any) -> bool:
    return isinstance(moment, Tensor) and (moment.ndim == 0 or moment.shape == parameter.shape)
