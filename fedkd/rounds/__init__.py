"""The rounds of a run: what a strategy is to them, who takes part, what is measured."""
