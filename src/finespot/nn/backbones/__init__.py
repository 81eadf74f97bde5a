"""Backbones: pictures to feature maps."""

from finespot.nn.backbones.csp import CSPBackbone

__all__ = ["CSPBackbone"]
