"""Data sets from one layout to another, with nothing lost unsaid."""

from finespot.data.convert.placing import Handling
from finespot.data.convert.run import Conversion, convert
from finespot.data.convert.write import Target, Written, open_target, write_dataset

__all__ = ["Conversion", "Handling", "Target", "Written", "convert", "open_target", "write_dataset"]
