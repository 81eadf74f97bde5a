"""Necks: feature maps of several levels mixed with each other."""

from finespot.nn.necks.fpn import FPN
from finespot.nn.necks.hs_fpn import HSFPN
from finespot.nn.necks.hybrid_encoder import HybridEncoder
from finespot.nn.necks.lateral_pafpn import LateralPAFPN
from finespot.nn.necks.mafn import MAFN
from finespot.nn.necks.pafpn import PAFPN
from finespot.nn.necks.sefp import SEFP
from finespot.nn.necks.wide_pafpn import WidePAFPN

__all__ = ["FPN", "HSFPN", "MAFN", "PAFPN", "SEFP", "HybridEncoder", "LateralPAFPN", "WidePAFPN"]
