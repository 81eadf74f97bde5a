"""Runs that need an accelerator: `queue.yaml` lists them, `run.py` runs one and keeps its result."""
