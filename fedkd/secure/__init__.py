"""Sums of masked integers: fixed point, pairwise masks, shares of secrets."""
