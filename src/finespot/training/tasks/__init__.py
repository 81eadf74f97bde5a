"""What can be trained: one file a task, registered by name."""

from finespot.training.tasks.detect import Detect
from finespot.training.tasks.seeker import Seek

__all__ = ["Detect", "Seek"]
