"""The promises that plug-ins are held to, and `fedkd check`."""
