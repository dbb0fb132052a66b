"""Studies that run from one command and write their table and figure."""
