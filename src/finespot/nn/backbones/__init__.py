"""Backbones: pictures to feature maps."""

from finespot.nn.backbones.csp import CSPBackbone
from finespot.nn.backbones.dfenet import DFENet
from finespot.nn.backbones.gpvit import GPViT
from finespot.nn.backbones.gpvit_adapter import GPViTAdapter
from finespot.nn.backbones.hgnetv2 import HGNETV2_L, HGNETV2_X, HGNetV2, HGStage
from finespot.nn.backbones.resnet import ResNet
from finespot.nn.backbones.resnet_vd import ResNetVD
from finespot.nn.backbones.timm import TimmBackbone, nothing_fetched

__all__ = [
    "HGNETV2_L",
    "HGNETV2_X",
    "CSPBackbone",
    "DFENet",
    "GPViT",
    "GPViTAdapter",
    "HGNetV2",
    "HGStage",
    "ResNet",
    "ResNetVD",
    "TimmBackbone",
    "nothing_fetched",
]
