"""One file a command: its arguments, help and examples. What it does is imported when it runs."""
