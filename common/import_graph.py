"""A real graph that is on every machine: which module imports which, in the packages that this repository stands on.

Nodes are the modules of `PACKAGES` (tests left out), at the versions installed; a link joins two modules of which one
imports the other, anywhere in its file.  Node features are binary: the words in the names that a module defines (of
functions, classes, arguments and variables; `HistGradientBoosting` is three words).  Import statements and the names
they bind give no words: they would tell the links.  Files are parsed, never imported or run.

A module without any link is left out, as are words of fewer than `RARE` modules or of more than `COMMON` of them.
"""
import ast
import hashlib
import itertools
import logging
import re
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data_files import Arrays, _save, cache_folders, content_sha256, fault
from common.errors import one_line

# distribution -> import name
PACKAGES = {'numpy': 'numpy', 'scipy': 'scipy', 'scikit-learn': 'sklearn', 'pandas': 'pandas',
            'matplotlib': 'matplotlib', 'jax': 'jax', 'flax': 'flax', 'optax': 'optax'}
LICENCE = 'BSD-3-Clause, PSF-like (matplotlib), Apache-2.0 (jax, flax, optax)'
RARE, COMMON = 10, 0.3
WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+')
TESTS = re.compile(r'(^|_)tests?(_|$)|^testing$|^conftest$')
log = logging.getLogger('ai_roadmap.data')


def versions() -> dict[str, str]:
    """distribution -> version installed.  Raises `DataError` where one is missing."""
    return {name: _distribution(name).version for name in PACKAGES}


def _distribution(name: str) -> metadata.Distribution:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise fault(f'imports: the package {name} is not installed', f'python -m pip install {name}') from error
    if not found.files:
        raise fault(f'imports: {name} {found.version} lists no files',
                    f'python -m pip install --force-reinstall {name}')
    return found


def load() -> tuple[Arrays, str]:
    """(arrays, checksum): 'link' [links, 2] with the smaller node first, 'row', 'column' of the features' ones, 'label'
    (place in `PACKAGES`), 'name' (of the modules), 'word'.

    The checksum is that of the packages' own lists of their files with their sums.  Parsed once (some 15 s), then read
    from the cache, where arrays count only if their own sum is right.
    """
    records = [(name, _distribution(name).read_text('RECORD') or _distribution(name).version) for name in PACKAGES]
    checksum = hashlib.sha256(repr(records).encode()).hexdigest()
    recipe = repr((checksum, sys.version_info[:2], RARE, COMMON)).encode() + Path(__file__).read_bytes()
    folder = next(cache_folders(), None)
    path = folder / f'imports-{hashlib.sha256(recipe).hexdigest()[:16]}.npz' if folder else None
    if path and path.is_file():
        try:
            with np.load(path, allow_pickle=False) as saved:
                arrays = {k: saved[k] for k in saved.files if k != 'content'}
                if str(saved['content']) == content_sha256(arrays, {}):
                    return arrays, checksum
            reason = 'its content is not what was saved'
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
            reason = one_line(error)
        log.warning('imports: cache %s is corrupt (%s): built anew', path, reason)
    arrays = graph(sources())
    try:
        if path:
            _save(path, arrays | {'content': np.array(content_sha256(arrays, {}))})
    except OSError as error:
        log.warning('imports: cache %s cannot be written (%s): parsed again at every start', path, error)
    return arrays, checksum


class Scan(NamedTuple):
    """What one file says: `imports` as (dotted base, name or '') with relative ones resolved, and its words."""
    imports: list[tuple[str, str]]
    words: set[str]


def sources() -> dict[str, Scan]:
    """Module name -> what its file says, for all packages.  Raises `DataError` for a file that cannot be parsed."""
    found = {}
    for name, top in PACKAGES.items():
        dist = _distribution(name)
        for file in dist.files:
            *folders, last = file.with_suffix('').parts
            if file.suffix != '.py' or folders[:1] != [top] or any(map(TESTS.search, (*folders, last))):
                continue
            package = last == '__init__'
            module = '.'.join(folders if package else (*folders, last))
            try:
                tree = ast.parse(Path(str(dist.locate_file(file))).read_bytes())
            except (OSError, SyntaxError, ValueError) as error:
                raise fault(f'imports: {name}: {file} cannot be read ({error})',
                            f'python -m pip install --force-reinstall --no-deps {name}=={dist.version}') from error
            found[module] = scan(tree, folders)
    return found


def scan(tree: ast.Module, package: Sequence[str]) -> Scan:
    """One walk over a file of that package: its imports, and the words of three letters or more that it defines."""
    imports, names = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.append(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.arg):
            names.append(node.arg)
        elif isinstance(node, ast.Import):
            imports += [(alias.name, '') for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= len(package):      # not beyond the top
            above = package[:len(package) - node.level + 1] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            imports += [(base, alias.name) for alias in node.names]
    return Scan(imports, {w.lower() for name in set(names) for w in WORD.findall(name) if len(w) > 2})


def graph(scans: dict[str, Scan]) -> Arrays:
    """The arrays of `load`.  `from a.b import c` is a link to a.b.c where that is a module, else to a.b."""
    links = set()
    for module, (imports, _) in scans.items():
        for base, name in imports:
            other = inner if (inner := f'{base}.{name}') in scans else base
            if other in scans and other != module:
                links.add((min(module, other), max(module, other)))
    names = sorted({name for link in links for name in link})
    at = {name: i for i, name in enumerate(names)}
    count = Counter(itertools.chain.from_iterable(scans[name].words for name in names))
    vocabulary = sorted(w for w, n in count.items() if RARE <= n <= COMMON * len(names))
    column = {w: j for j, w in enumerate(vocabulary)}
    ones = np.array([(at[name], column[w]) for name in names for w in sorted(scans[name].words & column.keys())],
                    np.int32).reshape(-1, 2)
    tops = list(PACKAGES.values())
    return {'link': np.array(sorted((at[a], at[b]) for a, b in links), np.int32).reshape(-1, 2), 'row': ones[:, 0],
            'column': ones[:, 1], 'label': np.array([tops.index(n.partition('.')[0]) for n in names], np.int32),
            'name': np.array(names), 'word': np.array(vocabulary)}
