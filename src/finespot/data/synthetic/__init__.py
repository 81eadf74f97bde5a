"""Drawn aerial pictures with exact labels: seeded, free of any licence, of any size and number."""

from finespot.data.synthetic.plan import CLASSES, Scene, Style, plan_scene
from finespot.data.synthetic.render import render

__all__ = ["CLASSES", "Scene", "Style", "plan_scene", "render"]
