"""Finding a class by name or ``FILE:Class``, importing it, and what it may be given."""

from .finding import (
    REQUIRED,
    available,
    create,
    describe,
    load_object,
    parameters,
    resolve,
)

__all__ = [
    "REQUIRED",
    "available",
    "create",
    "describe",
    "load_object",
    "parameters",
    "resolve",
]
