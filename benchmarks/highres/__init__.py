"""Measurements of what large pictures need: tiles and their merging."""
