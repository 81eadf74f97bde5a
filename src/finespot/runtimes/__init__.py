"""What runs a network: one `Session` in front of the runtimes, each of them a file here.

Imported before torch, this package lets OpenMP's threads sleep while they wait for each other. By default they spin,
and two processes (or the network and the thread that decodes) then take the cores from one another: with seven busy
processes on two cores, a 640 px picture took 2570 ms spinning and 133 ms sleeping, at 800 and 82 ms of CPU. A value
that the environment sets already is kept.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from finespot.runtimes.session import Session
from finespot.runtimes.torch_eager import TorchRuntime

__all__ = ["Session", "TorchRuntime"]
