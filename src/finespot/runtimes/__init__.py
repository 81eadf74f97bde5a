"""What runs a network: one `Session` in front of the runtimes, each of them a file here."""

from finespot.runtimes.memory import within_memory
from finespot.runtimes.session import Session
from finespot.runtimes.settings import allowed_cores
from finespot.runtimes.torch_eager import TorchRuntime

__all__ = ["Session", "TorchRuntime", "allowed_cores", "within_memory"]
