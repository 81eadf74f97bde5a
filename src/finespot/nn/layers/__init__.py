"""Building blocks, one idea a file."""

from finespot.nn.layers.area_attention import A2C2f, AreaAttention, AreaBlock
from finespot.nn.layers.attention import C2PSA, Attention, PSABlock
from finespot.nn.layers.cbam import CBAM
from finespot.nn.layers.channel_gate import ChannelGate
from finespot.nn.layers.conv import TORCH_NORM, YOLO_NORM, Conv, Fork, Norm, Pointwise, named
from finespot.nn.layers.coordinate_attention import CoordinateAttention
from finespot.nn.layers.cross_stage import ChannelAttention, CrossStage, ResidualPair
from finespot.nn.layers.csp import Bottleneck, C2f, C3k, C3k2
from finespot.nn.layers.decoder import DecoderLayer
from finespot.nn.layers.def_block import LFA, ConvGLU, DEFBlock, DEFModule
from finespot.nn.layers.deformable_attention import CellAttention, DeformableAttention
from finespot.nn.layers.dilated_residual import DWR, C3k2DWR
from finespot.nn.layers.dpra import DPRA, SimAM
from finespot.nn.layers.drop_path import DropPath
from finespot.nn.layers.dual_conv import DualConv
from finespot.nn.layers.group_block import GroupBlock
from finespot.nn.layers.omni_kernel import FGM, OmniKernel, SMEModule
from finespot.nn.layers.pooled_strip_attention import PooledStripAttention
from finespot.nn.layers.repvgg import CSPRep, RepVGG
from finespot.nn.layers.separable import separable
from finespot.nn.layers.space_to_depth import SpaceToDepth, SPDConv
from finespot.nn.layers.sparse_attention import FRFN, AdaptiveSparseSA, SparseAttention
from finespot.nn.layers.sppf import SPPF
from finespot.nn.layers.squeeze_excitation import SqueezeExcitation
from finespot.nn.layers.strips import LocalBlock, StripAttention
from finespot.nn.layers.transformer import MLP, EncoderLayer, FeedForward, SelfAttention, wave_positions
from finespot.nn.layers.window_attention import WindowAttention, WindowBlock, WindowLayer

__all__ = [
    "C2PSA",
    "CBAM",
    "DPRA",
    "DWR",
    "FGM",
    "FRFN",
    "LFA",
    "MLP",
    "SPPF",
    "TORCH_NORM",
    "YOLO_NORM",
    "A2C2f",
    "AdaptiveSparseSA",
    "AreaAttention",
    "AreaBlock",
    "Attention",
    "Bottleneck",
    "C2f",
    "C3k",
    "C3k2",
    "C3k2DWR",
    "CSPRep",
    "CellAttention",
    "ChannelAttention",
    "ChannelGate",
    "Conv",
    "ConvGLU",
    "CoordinateAttention",
    "CrossStage",
    "DEFBlock",
    "DEFModule",
    "DecoderLayer",
    "DeformableAttention",
    "DropPath",
    "DualConv",
    "EncoderLayer",
    "FeedForward",
    "Fork",
    "GroupBlock",
    "LocalBlock",
    "Norm",
    "OmniKernel",
    "PSABlock",
    "Pointwise",
    "PooledStripAttention",
    "RepVGG",
    "ResidualPair",
    "SMEModule",
    "SPDConv",
    "SelfAttention",
    "SimAM",
    "SpaceToDepth",
    "SparseAttention",
    "SqueezeExcitation",
    "StripAttention",
    "WindowAttention",
    "WindowBlock",
    "WindowLayer",
    "named",
    "separable",
    "wave_positions",
]
