"""The peers, each in a file of its own, imported only where it runs.

    CHOICES                      the configurations that a short trial chooses from; the fastest is the peer's best
    build(pair, mode, data_dir, *, steps, **choice) -> Peer
    choices(pair, mode)          instead of CHOICES, where they differ from pair to pair

Nothing else in the repository imports them, and nothing here is imported by what is measured.
"""
import importlib
from collections.abc import Callable
from typing import NamedTuple

from common.errors import UsageError


class Peer(NamedTuple):
    """run(n) does n steps; quality() is asked for once, at the end."""
    run: Callable[[int], None]
    quality: Callable[[], dict[str, float]]


def load(name: str):
    """The module of a peer.  UsageError, naming the extra, where its library is missing."""
    try:
        module = importlib.import_module(f'tools.bench.peers.{name}')
        module.require()
    except ModuleNotFoundError as e:
        if e.name and e.name.startswith('tools.'):
            raise
        raise missing(name, e.name) from None
    return module


def missing(name: str, library: str) -> UsageError:
    """What a person is told whose installation lacks a library."""
    return UsageError(f"{name} needs {library}, which is not installed; pip install 'ai-roadmap[bench]'")
