"""The figures of reports: what they are computed from, how they look, what they say in words."""
