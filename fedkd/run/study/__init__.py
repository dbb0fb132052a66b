"""A study: what it is, what is to be done with each of its runs, and what has become of them."""
