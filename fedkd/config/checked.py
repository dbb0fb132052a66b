"""Bounds and choices stand at the field, and pydantic checks them; its verdict is worded here.

Pydantic is imported when something is checked or listed, and no sooner: actors import the
configuration too, and it takes 0.15 s.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_type_hints

from ..errors import ConfigError
from .hints import Entry, default_text, spoken, type_text

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema


class Checked:
    """Base of dataclasses whose fields are checked, and documented by the docstrings below them."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {
        "use_attribute_docstrings": True,
        "strict": True,
        "allow_inf_nan": False,
        "revalidate_instances": "always",
    }


@dataclass(frozen=True)
class OneOf:
    """The values of a field, where they are few: OmegaConf knows no `typing.Literal`."""

    values: tuple[str | int | None, ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.literal_schema(list(self.values))


Auto = Annotated[str, OneOf(("auto",))]
"""What is chosen as the run goes, where a key takes a number too."""


def leaves(cls: type, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted key, type and default of every field; groups of fields before their own."""
    hints = get_type_hints(cls)
    made = cls()
    for item in fields(cls):
        key, hint = prefix + item.name, hints[item.name]
        yield key, hint, getattr(made, item.name)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from leaves(hint, f"{key}.")


def refuse(config: Checked) -> None:
    """Raise `ConfigError` for the first value that its field does not allow."""
    from pydantic import ValidationError

    cls: Any = type(config)
    try:
        _adapter(cls).validate_python(config)
    except ValidationError as error:
        found = error.errors()[0]
        known = {entry.key: entry for entry in entries(cls)}
        key = _key(found["loc"], known)
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        options = known[key].allowed.split(", ")
        if found["type"] == "literal_error" and "null" not in options:
            raise ConfigError(key, value, "not available", options) from error
        hint = {name: hint for name, hint, _ in leaves(cls)}[key]
        several = options[1:] and len(found["loc"]) > 1 + key.count(".")  # a name, or a number
        problem = "literal_error" if several else found["type"]
        raise ConfigError(key, value, f"must be {_wanted(problem, known[key], hint)}") from error


def either(allowed: str) -> str:
    """Return what a field allows as the end of a sentence.

    Examples
    --------
    >>> either("true, false, upload")
    'true, false or upload'
    """
    return " or ".join(allowed.rsplit(", ", 1))


def _wanted(problem: str, entry: Entry, hint: Any) -> str:
    """Return what a field takes, as the end of a sentence; `problem` is pydantic's word."""
    if problem == "literal_error":
        return either(entry.allowed)
    if problem == "finite_number" and "finite" not in entry.allowed:
        return f"{entry.allowed} and finite" if entry.allowed else "finite"
    return spoken(hint) if problem.endswith("_type") or not entry.allowed else entry.allowed


def entries(cls: type) -> Iterator[Entry]:
    """Yield every field of a class, and of those in it."""
    schema = _adapter(cls).json_schema()
    for key, hint, default in leaves(cls):
        if not is_dataclass(hint):
            said = _said(schema, key.split("."))
            words = str(said.get("description", ""))
            yield Entry(key, type_text(hint), default_text(default), allowed(said), words)


def allowed(said: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows beside a type.

    Examples
    --------
    >>> allowed({"type": "integer", "minimum": 1}), allowed({"enum": ["sgd", "adam"]})
    ('at least 1', 'sgd, adam')
    >>> allowed({"anyOf": [{"minimum": 1, "type": "integer"}, {"const": "auto"}]})
    'auto, at least 1'
    >>> allowed({"anyOf": [{"type": "boolean"}, {"const": "upload"}]})
    'true, false, upload'
    >>> allowed({"anyOf": [{"exclusiveMinimum": 0, "type": "number"}, {"type": "null"}]})
    'greater than 0 and finite'
    """
    ends: dict[str, str] = {}
    named = [option["const"] for option in said.get("anyOf", ()) if "const" in option]
    if named and {"type": "boolean"} in said["anyOf"]:
        named = ["true", "false", *named]
    for option in (said, *said.get("anyOf", ())):
        if "enum" in option:
            return ", ".join(map(default_text, option["enum"]))
        ends |= {name: f"{option[name]:g}" for name in option if "imum" in name}
    low, above = ends.get("minimum"), ends.get("exclusiveMinimum")
    high, below = ends.get("maximum"), ends.get("exclusiveMaximum")
    if high is None and below is None:
        least = "" if low is None else f"at least {low}"
        bound = least if above is None else f"greater than {above} and finite"
        return ", ".join([*named, *([bound] * bool(bound))])
    begin = f"[{low}" if above is None else f"({above}"
    return f"in {begin}, {below})" if high is None else f"in {begin}, {high}]"


@cache
def _adapter(cls: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _said(schema: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """Return the part of a JSON schema that is about a field."""
    part = schema
    for name in path:
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        part = part["properties"][name]
    return part


def _key(place: tuple[Any, ...], known: dict[str, Any]) -> str:
    """Return the key of the field where pydantic found something, maybe deep inside."""
    names = [str(name) for name in place]
    ends = range(len(names), 0, -1)
    return next(key for end in ends if (key := ".".join(names[:end])) in known)
