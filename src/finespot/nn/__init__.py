"""Networks in parts: layers, backbones, necks, heads.

A part has `levels`, the `Level`s that it gives; all but backbones have `inputs`, those that it takes. A module with a
method `fuse()` is rewritten by it for inference. Parts take any picture whose sides are multiples of the largest
stride that the backbone gives; a part that wants multiples of another number has it as `multiple`.
"""
