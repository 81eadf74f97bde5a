"""Other toolkits' checkpoints: read without running them; and their state dicts, one file a family, to ours."""

from finespot.weights.foreign.archive import Checkpoint, read_checkpoint
from finespot.weights.foreign.find import Context, find_state
from finespot.weights.foreign.tree import Name, Record, flat_state, plain

__all__ = ["Checkpoint", "Context", "Name", "Record", "find_state", "flat_state", "plain", "read_checkpoint"]
