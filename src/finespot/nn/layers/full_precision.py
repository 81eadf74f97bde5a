"""Where a layer computes in float32 whatever the number format around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast on a device; the tensors themselves are the caller's to convert."""
    # The meta device, on which costs are counted, has no autocast to be switched off.
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
