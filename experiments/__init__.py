"""Presets, benchmarks and examples that come with fedkd."""
