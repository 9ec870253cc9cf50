"""Verified checkpoints: Orbax writes the arrays; a SHA-256 manifest of every file, leaf and path says they are whole.

    <folder>/00000400/state/...         what Orbax wrote
    <folder>/00000400/manifest.json     files, tree (paths, shapes, dtypes) and leaves, with their hashes
    <folder>/tmp-00000800/              a save in progress; removed at the next start

A step's folder appears by one rename after everything in it is on disk, so a kill at any moment leaves either a
whole step or a leftover.  Restoring is strict: files first, then the tree, then the values.  Nothing is cast, no leaf
may be missing or extra, and nothing is ever unpickled.
"""
import logging
import os
import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from common import manifest as manifest_lib
from common import trees
from common.errors import CheckpointError, StateMismatch, StorageError, one_line

PyTree = Any

def _names(tree: PyTree) -> dict[str, Any]:
    """Leaves under names that Orbax can store flat; without those of no elements, which it cannot store."""
    leaves = trees.named_leaves(jax.tree.map(trees.raw, tree))
    return {p.replace('/', '.'): x for p, x in leaves.items() if np.size(x)}


class Checkpoints:
    """The checkpoints of one run.  `folder` is made when missing; leftovers of a killed save are removed.

    asynchronous: write on a thread (one process only; several processes write together, in step)
    on_error: 'stop' raises StorageError at the next `poll` or `save`; 'continue' logs it and goes on
    """
    def __init__(self, folder: str | Path, *, keep: int = 3, asynchronous: bool = True, on_error: str = 'stop'):
        self.folder, self.keep, self.on_error = Path(folder).absolute(), keep, on_error
        self.many = jax.process_count() > 1
        self.first = jax.process_index() == 0
        self._pool = ThreadPoolExecutor(1, 'checkpoint') if asynchronous and not self.many else None
        self._pending: Future | None = None
        if self.first:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                for left in self.folder.glob('tmp-*'):
                    shutil.rmtree(left)
            except OSError as e:
                raise StorageError(f'checkpoints: cannot use {self.folder}: {one_line(e)}') from None
        if self.many:
            multihost_utils.sync_global_devices('checkpoints')

    def steps(self) -> list[int]:
        """Steps that have a folder, oldest first."""
        return sorted(int(p.name) for p in self.folder.iterdir() if re.fullmatch(r'\d{8,}', p.name))

    def save(self, step: int, tree: PyTree) -> None:
        """Saves a logical state.  Asynchronously it is copied before this returns, and may be donated after."""
        self.wait()
        if step in self.steps():
            return
        arrays = (
            _names(tree) if self.many else jax.tree.map(lambda x: np.array(x, copy=True), trees.to_host(_names(tree)))
        )
        args = (step, arrays, trees.signature(tree), None if self.many else trees.leaf_sha256)
        if self._pool:
            self._pending = self._pool.submit(self._write, *args)
        else:
            self._pending = Future()
            try:
                self._pending.set_result(self._write(*args))
            except Exception as e:
                self._pending.set_exception(e)
            self.wait()

    def _write(self, step: int, arrays: dict, signature: dict, hashes) -> None:
        tmp, final = self.folder / f'tmp-{step:08d}', self.folder / f'{step:08d}'
        try:
            with ocp.PyTreeCheckpointer() as writer:
                writer.save(tmp / 'state', arrays)
            if self.first:
                manifest = {
                    'format': manifest_lib.FORMAT,
                    'step': step,
                    'files': manifest_lib.listing(tmp),
                    'tree': signature,
                    'leaves': hashes(arrays) if hashes else None,
                }
                with (tmp / 'manifest.json').open('w', encoding='ascii') as f:
                    f.write(manifest_lib.dump(manifest))
                    f.flush()
                    os.fsync(f.fileno())
                os.rename(tmp, final)
                fd = os.open(self.folder, os.O_RDONLY)
                os.fsync(fd)
                os.close(fd)
                for old in self.steps()[:-self.keep]:
                    # First out of sight, then gone: a kill in between leaves no half-deleted step.
                    shutil.rmtree((self.folder / f'{old:08d}').rename(self.folder / f'tmp-{old:08d}'))
        except BaseException:
            shutil.rmtree(tmp, ignore_errors=True)
            raise
        if self.many:
            multihost_utils.sync_global_devices(f'checkpoint {step}')

    def poll(self) -> None:
        """Reports a save that failed since; cheap enough for every step."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the save in progress.  Raises StorageError when it failed and `on_error` is 'stop'."""
        pending, self._pending = self._pending, None
        if pending is None or (error := pending.exception()) is None:
            return
        text = f'checkpoint not saved: {type(error).__name__}: {one_line(error, 300)}'
        kept = f'; the last good one is step {self.steps()[-1]}' if self.steps() else ''
        if self.on_error == 'stop':
            raise StorageError(text + kept) from error
        logging.getLogger(__name__).error('%s%s; going on (--on_save_error=continue)', text, kept)

    def close(self) -> None:
        try:
            self.wait()
        finally:
            if self._pool:
                self._pool.shutdown()

    def restore(self, example: PyTree, *, on_corrupt: str = 'stop', allow_unverified: bool = False) -> PyTree | None:
        """The newest step as a tree like `example` (structure, shapes, dtypes, placement); None when there is none.

        Raises CheckpointError when a step is damaged or fits another state.  With on_corrupt='previous' a damaged
        step is moved aside as corrupt-<step> and the one before it is tried.
        """
        self.wait()
        for step in reversed(self.steps()):
            try:
                return self._read(self.folder / f'{step:08d}', example, allow_unverified)
            except CheckpointError as e:
                if on_corrupt != 'previous' or isinstance(e, StateMismatch):
                    raise
                logging.getLogger(__name__).warning('%s; trying the one before it', e)
                if self.first:
                    os.replace(self.folder / f'{step:08d}', self.folder / f'corrupt-{step:08d}')
                if not self.steps():
                    raise CheckpointError(f'no intact checkpoint is left in {self.folder}; last: {e}') from None
        return None

    def _read(self, folder: Path, example: PyTree, allow_unverified: bool) -> PyTree:
        manifest = None
        if not (allow_unverified and not (folder / 'manifest.json').exists()):
            manifest = manifest_lib.verify(folder)
        want = trees.signature(example)
        with ocp.PyTreeCheckpointer() as reader:
            if manifest:
                have = {p: tuple(s) for p, s in manifest['tree'].items()}
            else:
                stored = reader.metadata(folder / 'state').item_metadata.tree
                have = {p: (list(m.shape), str(np.dtype(m.dtype))) for p, m in stored.items()}
                want = {p.replace('/', '.'): (list(x.shape), str(x.dtype)) for p, x in _names(example).items()}
            if lines := trees.difference(want, have):
                raise StateMismatch(f'checkpoint {folder.name} is of another state than this run needs: '
                                      + '; '.join(lines[:5]) + (f' and {len(lines) - 5} more' if lines[5:] else ''))
            target = _names(example)
            how = {
                k: ocp.ArrayRestoreArgs(sharding=x.sharding) if self.many else ocp.RestoreArgs(restore_type=np.ndarray)
                for k, x in target.items()
            }
            flat = reader.restore(folder / 'state', args=ocp.args.PyTreeRestore(item=target, restore_args=how))
        if manifest and manifest['leaves'] and manifest['leaves'] != trees.leaf_sha256(flat):
            raise CheckpointError(f'checkpoint {folder.name}: the values read are not the values that were saved')
        paths = trees.named_leaves(example)
        values = [trees.like(flat[p.replace('/', '.')], x) if np.size(x) else x for p, x in paths.items()]
        if not self.many:
            values = [jax.device_put(v, x.sharding) if isinstance(x, jax.Array) else v
                      for v, x in zip(values, paths.values())]
        return jax.tree.unflatten(jax.tree.structure(example), values)
