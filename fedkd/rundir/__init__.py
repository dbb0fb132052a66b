"""What a run leaves on disk: checkpoints, digest, tables, recordings."""
