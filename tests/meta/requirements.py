"""What pyproject.toml asks for, as `packaging` reads it."""
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
EXTRAS = PROJECT['optional-dependencies']


def base() -> dict[str, Requirement]:
    """Canonical name -> requirement of everybody's install."""
    return _named(PROJECT['dependencies'])


def extra(name: str) -> dict[str, Requirement]:
    """Those of one extra, with the extras of this project that it pulls in."""
    found = _named(EXTRAS[name])
    own = found.pop(canonicalize_name(PROJECT['name']), None)
    return found | {k: v for inner in (own.extras if own else ()) for k, v in extra(inner).items()}


def _named(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}
