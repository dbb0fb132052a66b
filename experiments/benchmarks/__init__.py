"""Measurements of fedkd against a plain loop and against peers."""
