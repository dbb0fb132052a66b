"""Examples of plug-ins: copy one, change it, and run it by its path."""
