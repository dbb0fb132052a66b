"""Pure maths of privacy: what protects, what it costs, how well an attack does."""
