"""From a configuration to a result: the composition root."""
