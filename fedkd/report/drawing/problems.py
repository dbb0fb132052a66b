"""What poses a problem to methods, and what is a method: only methods of one problem compete."""

from collections.abc import Collection

from ..statistics import Group

PROBLEM = ("data", "clients", "task", "faults", "system", "attack")
"""Settings that pose the problem."""


def parted(group: Group, besides: Collection[str] = ()) -> tuple[str, str]:
    """Return labels of the problem and of the method that a group is of.

    Parameters
    ----------
    group : Group
        Its settings are those in which groups differ.
    besides : collection of str
        Settings that belong to neither, such as the axes of a map.

    Returns
    -------
    tuple of str
        The problem's is empty where all groups have the same.
    """
    rest = {key: text for key, text in group.settings.items() if key not in besides}
    posed = {key: text for key, text in rest.items() if key.partition(".")[0] in PROBLEM}
    method = Group(group.runs, {key: text for key, text in rest.items() if key not in posed})
    return ", ".join(f"{key}={text}" for key, text in posed.items()), method.label
