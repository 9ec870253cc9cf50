"""Every public component of the repository, joined from the levels' own literal tables.

from levels.catalogue import members, load
for row in members(kind='linen module', level=3):
    print(row.name, row.topic)
    cls = load(row)
"""

import importlib
import pkgutil
from typing import Any

import levels
from levels import KINDS, Member

__all__ = ['KINDS', 'Member', 'as_json', 'done', 'load', 'members']


def members(*, kind: str | None = None, level: int | None = None) -> tuple[Member, ...]:
    """All rows in the order of the levels, or those of one kind and/or level.

    Raises ValueError for a kind that is not in KINDS.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f'kind: expected one of {", ".join(KINDS)}; found {kind!r}')
    rows = [row for package in _packages() for row in package.MEMBERS]
    return tuple(r for r in rows if kind in (None, r.kind) and level in (None, r.level))


def done() -> tuple[str, ...]:
    """The topics that are done, in the order of the levels: all that their definition asks for is there and tested."""
    return tuple(topic for package in _packages() for topic in package.DONE)


def _packages() -> list:
    names = sorted(p.name for p in pkgutil.iter_modules(levels.__path__) if p.ispkg and p.name.startswith('level'))
    return [importlib.import_module(f'levels.{name}') for name in names]


def load(row: Member) -> Any:
    """The object that a row names."""
    module, _, name = row.import_path.rpartition('.')
    return getattr(importlib.import_module(module), name)


def as_json(rows: tuple[Member, ...]) -> list[dict[str, Any]]:
    """The rows as `--json` prints them: `import_path` is written `import`, which no Python field can be called."""
    return [
        {
            'name': r.name,
            'kind': r.kind,
            'import': r.import_path,
            'level': r.level,
            'topic': r.topic,
            'oracle': r.oracle,
            'paper': r.paper,
        }
        for r in rows
    ]
