"""What can be trained: one file a task, registered by name."""

from finespot.training.tasks.detect import Detect

__all__ = ["Detect"]
