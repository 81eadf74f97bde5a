"""What runs a network: one `Session` in front of the runtimes, each of them a file here."""

from finespot.runtimes.session import Session
from finespot.runtimes.torch_eager import TorchRuntime

__all__ = ["Session", "TorchRuntime"]
