"""Verbs on weight files."""
