"""The SHA-256 manifest of a checkpoint: what every file in it must be."""
import hashlib
import json
import os
from pathlib import Path

from common.errors import CheckpointError

FORMAT = 1


def _file_sha256(path: Path) -> str:
    with path.open('rb') as f:
        digest = hashlib.file_digest(f, 'sha256').hexdigest()
        os.fsync(f.fileno())                # on the disk before the rename that makes it count
    return digest


def listing(folder: Path) -> dict[str, list]:
    """relative name -> [bytes, SHA-256] of every file but the manifest."""
    files = sorted(p for p in folder.rglob('*') if p.is_file() and p != folder / 'manifest.json')
    return {p.relative_to(folder).as_posix(): [p.stat().st_size, _file_sha256(p)] for p in files}


def dump(manifest: dict) -> str:
    """Canonical text; its own hash goes in as 'self', so a flipped bit in the manifest shows as well."""
    text = json.dumps({k: v for k, v in manifest.items() if k != 'self'}, indent=1, sort_keys=True)
    return json.dumps({**manifest, 'self': hashlib.sha256(text.encode()).hexdigest()}, indent=1, sort_keys=True)


def verify(folder: Path) -> dict:
    """The manifest of a step's folder, after every file was found to be as it says.

    Raises CheckpointError naming the first file that is missing, extra, of another size or changed.
    """
    where = f'checkpoint {folder.name}'
    try:
        text = (folder / 'manifest.json').read_text(encoding='ascii')
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or text != dump(manifest):
            raise ValueError('content')
    except FileNotFoundError:
        raise CheckpointError(f'{where}: manifest.json is missing, so nothing vouches for this checkpoint '
                              '(--allow_unverified reads it all the same)') from None
    except (ValueError, OSError) as e:
        raise CheckpointError(f'{where}: manifest.json is damaged ({type(e).__name__})') from None
    if manifest.get('format') != FORMAT:
        raise CheckpointError(f'{where}: format {manifest.get("format")!r}, this version reads format {FORMAT}')
    files, found = manifest['files'], listing(folder)
    for name in [*files, *found]:
        if name not in found:
            raise CheckpointError(f'{where}: file {name} is missing')
        if name not in files:
            raise CheckpointError(f'{where}: file {name} is not in the manifest')
        if found[name][0] != files[name][0]:
            raise CheckpointError(f'{where}: file {name} has {found[name][0]} bytes, expected {files[name][0]}')
        if found[name][1] != files[name][1]:
            raise CheckpointError(f'{where}: file {name} was changed (its SHA-256 is not the one in the manifest)')
    return manifest
