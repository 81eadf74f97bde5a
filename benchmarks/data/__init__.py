"""Benchmarks of reading, checking and writing data sets."""
