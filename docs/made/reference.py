"""The reference pages: keys, plug-ins and commands, as the code has them."""

import re
from collections.abc import Iterator, Sequence

import typer

from fedkd.cli.app import app
from fedkd.cli.listing import LISTS, Item
from fedkd.config import schema
from fedkd.report.markdown import table

Rows = list[tuple[str, ...]]

GROUPS = {
    "data": "Who holds what.",
    "transfer": "The samples that every client labels.",
    "fit": "Training on private data.",
    "distil": "Training on the teacher.",
    "evaluate": "When and on what models are measured.",
    "engine": "What executes the clients.",
    "checkpoint": "What makes a run resumable.",
    "faults": "Simulated faults.",
    "record": "What is kept besides tables.",
    "secure": "Secure aggregation.",
    "study": "How `fedkd run -m` runs a sweep; no run has these.",
}


def keys() -> str:
    """Return the page of all configuration keys."""
    return (
        "# Keys\n\nEvery key of a run. On the command line `fedkd run KEY=VALUE`; in Python "
        '`fedkd.simulate(..., KEY=VALUE)`, with dots as `**{"data.alpha": 0.1}` or '
        '`data={"alpha": 0.1}`. A key that takes a name and parameters has, below it '
        "(`strategy.beta`), those of what is chosen: see [what can be plugged in](plugins.md). "
        "`fedkd list keys` prints this table.\n\n" + "\n".join(_sections())
    )


def _sections() -> Iterator[str]:
    head = ("key", "type", "default", "allowed", "meaning")
    rows = list(_keys())
    alone = [row for row in rows if row[0].split("`")[1].split(".")[0] not in GROUPS]
    yield f"## The run\n\n{table([head, *alone])}"
    for group, about in GROUPS.items():
        inside = [row for row in rows if row[0].startswith(f"`{group}.")]
        yield f"## {group}\n\n{about}\n\n{table([head, *inside])}"


def _keys() -> Iterator[tuple[str, ...]]:
    """Yield key, type, default, what is allowed, and meaning."""
    every = schema.keys()
    for entry in every:
        default = f"`{entry.default}`" if entry.default else ""
        yield f"`{entry.key}`", entry.type, default, entry.allowed, _sentence(entry.words)


def plugins() -> str:
    """Return the page of everything that can be chosen by name."""
    parts = [
        "# What can be plugged in\n\nEverything that can be chosen by name, with its parameters "
        "and their defaults; `fedkd list NAME` prints each of these tables.\n"
    ]
    for name, one in LISTS.items():
        if name != "keys":
            title, about = name.replace("_", " ").capitalize(), _sentence(one.title)
            parts.append(f"## {title}\n\n{about[0].upper()}{about[1:]}: `fedkd list {name}`.\n")
            parts.append(_choices(list(one.items())))
    return "\n".join(parts)


def _choices(items: Sequence[Item]) -> str:
    cells = [
        (f"`{item.name}`", _sentence(item.line), ", ".join(map(_parameter, item.entries)))
        for item in items
    ]
    if not any(given for _, _, given in cells):
        return table([("name", "what it is"), *(cell[:2] for cell in cells)])
    return table([("name", "what it is", "parameters"), *cells])


def _parameter(entry: schema.Entry) -> str:
    return f"`{entry.key}={entry.default}`" if entry.default else f"`{entry.key}`"


def commands() -> str:
    """Return the page of the command line."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="fedkd")
    parts = ["# Commands\n\nExit codes: 0 done, 1 the run failed, 2 bad input.\n"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inside = typer.Context(command, parent=context, info_name=name)
        usage = " ".join(command.get_usage(inside).split()[1:])
        parts.append(f"## fedkd {name}\n\n    {usage}\n\n{command.help}\n")
        options = [
            (" ".join(f"`{flag}`" for flag in [*each.opts, *each.secondary_opts]), each.help or "")
            for each in command.params
            if each.param_type_name == "option"
        ]
        parts += [table([("option", "what it does"), *options])] if options else []
        examples = re.findall(r"\[cyan\](.*?)\[/cyan\]", command.epilog or "")
        shown = "\n".join(f"    {line}" for line in examples).replace("\\[", "[")
        parts.append(f"Examples:\n\n{shown}\n")
    return "\n".join(parts)


def _sentence(text: str) -> str:
    """Return a line of words as Markdown: ``code`` in double backticks, no HTML of its own."""
    return text.replace("``", "`").replace("<", "&lt;").replace("*", "\\*")
