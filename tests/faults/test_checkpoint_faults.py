"""F2, F4-F9, F19: a checkpoint is whole or refused, whatever happened to it."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import checkpoint, manifest, trees
from common.checkpoint import Checkpoints
from common.errors import CheckpointError, StorageError
from common.manifest import verify

ROOT = Path(__file__).resolve().parents[2]


class State(NamedTuple):
    step: jax.Array
    key: jax.Array
    params: dict
    nothing: tuple


def make(seed=0, width=7):
    rng = np.random.default_rng(seed)
    params = {
        'a': jnp.asarray(rng.normal(size=(width, 3)), jnp.float32),
        'b': jnp.asarray(rng.normal(size=(width, 3)), jnp.float32),
        'half': jnp.asarray(rng.normal(size=5), jnp.bfloat16),
        'flag': jnp.asarray(True),
        'empty': jnp.zeros((0, 4)),
        'count': jnp.arange(3, dtype=jnp.uint8),
    }
    return State(jnp.asarray(7, jnp.int32), jax.random.split(jax.random.key(seed), 2), params, ())


@pytest.fixture
def saved(tmp_path):
    """A folder with steps 1 and 2."""
    c = Checkpoints(tmp_path / 'c')
    for step in (1, 2):
        c.save(step, make(step))
    c.close()
    return tmp_path / 'c'


def restore(folder, example=None, **kwargs):
    c = Checkpoints(folder)
    try:
        return c.restore(example or make(99), **kwargs)
    finally:
        c.close()


def files(folder):
    return sorted(p for p in folder.rglob('*') if p.is_file())


@pytest.mark.parametrize('asynchronous', [True, False])
def test_round_trip_is_bit_equal_and_keeps_the_newest(tmp_path, asynchronous):
    c = Checkpoints(tmp_path, keep=2, asynchronous=asynchronous)
    for step in (1, 2, 3):
        c.save(step, make(step))
    c.close()
    assert c.steps() == [2, 3] and not list(tmp_path.glob('tmp-*'))
    back = restore(tmp_path)
    assert trees.sha256(back) == trees.sha256(make(3)) and trees.signature(back) == trees.signature(make(3))
    assert isinstance(back, State) and restore(tmp_path / 'none') is None


def test_a_saved_state_may_be_donated_at_once(tmp_path):
    c, state = Checkpoints(tmp_path), jnp.arange(200_000.0)
    bump = jax.jit(lambda x: x + 1, donate_argnums=0)
    expected = np.asarray(state).copy()
    c.save(1, {'x': state})
    for _ in range(20):
        state = bump(state)
    c.close()
    np.testing.assert_array_equal(restore(tmp_path, {'x': jnp.zeros(200_000)})['x'], expected)


@pytest.mark.parametrize('keep', [0.0, 0.5, 0.99])
def test_f5_a_truncated_file_is_found_and_named(saved, keep):
    for path in files(saved / '00000002'):
        whole = path.read_bytes()
        if not whole:
            continue
        path.write_bytes(whole[:int(len(whole) * keep)])
        with pytest.raises(CheckpointError, match=r'manifest\.json is damaged|' + path.name.replace('.', r'\.')):
            restore(saved)
        path.write_bytes(whole)
    assert trees.sha256(restore(saved)) == trees.sha256(make(2))


def test_f5_falls_back_only_when_told_and_loses_nothing(saved):
    victim = files(saved / '00000002')[0]
    victim.write_bytes(b'')
    with pytest.raises(CheckpointError):
        restore(saved)
    assert trees.sha256(restore(saved, on_corrupt='previous')) == trees.sha256(make(1))
    assert (saved / 'corrupt-00000002').exists() and not (saved / '00000002').exists()
    files(saved / '00000001')[0].write_bytes(b'')
    with pytest.raises(CheckpointError, match='no intact checkpoint is left'):
        restore(saved, on_corrupt='previous')


def test_f6_every_bit_flip_is_found(saved):
    rng, paths = np.random.default_rng(0), [p for p in files(saved / '00000002') if p.stat().st_size]
    sizes = np.array([p.stat().st_size for p in paths])
    spots = [(i, int(rng.integers(sizes[i])), int(rng.integers(8))) for i in range(len(paths)) for _ in range(40)]
    spots += [(i, int(rng.integers(sizes[i])), int(rng.integers(8)))
              for i in rng.choice(len(paths), 1000 - len(spots), p=sizes / sizes.sum())]
    found = 0
    for i, byte, bit in spots:
        raw = bytearray(paths[i].read_bytes())
        raw[byte] ^= 1 << bit
        paths[i].write_bytes(raw)
        with pytest.raises(CheckpointError):
            verify(saved / '00000002')
        found += 1
        raw[byte] ^= 1 << bit
        paths[i].write_bytes(raw)
    assert found == len(spots) >= 1000
    verify(saved / '00000002')


def test_f7_missing_extra_and_renamed_files_are_refused(saved):
    step = saved / '00000002'
    for path in files(step):
        hidden = path.with_name('hidden')
        path.rename(hidden)
        with pytest.raises(CheckpointError, match='missing'):
            restore(saved)
        hidden.rename(path)
    (step / 'state' / 'extra').write_text('x')
    with pytest.raises(CheckpointError, match='state/extra is not in the manifest'):
        restore(saved)


def test_f7_a_deleted_manifest_is_refused_unless_asked_for(saved):
    (saved / '00000002' / 'manifest.json').unlink()
    with pytest.raises(CheckpointError, match='manifest.json is missing.*--allow_unverified'):
        restore(saved)
    assert trees.sha256(restore(saved, allow_unverified=True)) == trees.sha256(make(2))
    with pytest.raises(CheckpointError, match='another state'):
        restore(saved, make(0, width=8), allow_unverified=True)


def test_f7_another_steps_manifest_is_refused(saved):
    shutil.copy(saved / '00000001' / 'manifest.json', saved / '00000002' / 'manifest.json')
    with pytest.raises(CheckpointError):
        restore(saved)


CHANGES = {
    'shape': (
        lambda s: s._replace(params={**s.params, 'a': jnp.zeros((8, 3))}),
        r'params/a: expected float32\[8, 3\], found float32\[7, 3\]',
    ),
    'dtype': (
        lambda s: s._replace(params={**s.params, 'a': s.params['a'].astype(jnp.bfloat16)}),
        r'params/a: expected bfloat16\[7, 3\], found float32\[7, 3\]',
    ),
    'missing leaf': (lambda s: s._replace(params={**s.params, 'new': jnp.zeros(2)}), 'params/new: missing'),
    'extra leaf': (
        lambda s: s._replace(params={k: v for k, v in s.params.items() if k != 'b'}),
        'params/b: unexpected',
    ),
    'renamed leaf': (
        lambda s: s._replace(params={('c' if k == 'b' else k): v for k, v in s.params.items()}),
        'params/c: missing',
    ),
    'key as data': (
        lambda s: s._replace(key=jax.random.key_data(s.key)),
        r'key: expected uint32\[2, 2\], found key<fry>\[2\]',
    ),
}


@pytest.mark.parametrize('change', CHANGES)
def test_f8_another_tree_is_refused_with_path_expected_and_found(saved, change):
    edit, message = CHANGES[change]
    with pytest.raises(CheckpointError, match=message):
        restore(saved, edit(make()))
    with pytest.raises(CheckpointError, match=message):     # the wrong code is no damage: never falls back
        restore(saved, edit(make()), on_corrupt='previous')
    assert (saved / '00000002').exists()


def test_f8_swapped_leaves_of_equal_shape_are_refused(saved):
    """As if Orbax or the disk had swapped two leaves, all files and their hashes being in order."""
    import orbax.checkpoint as ocp
    step, state = saved / '00000002', make(2)
    swapped = state._replace(params={**state.params, 'a': state.params['b'], 'b': state.params['a']})
    shutil.rmtree(step / 'state')
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(step / 'state', jax.tree.map(np.asarray, checkpoint._names(swapped)))
    was = json.loads((step / 'manifest.json').read_text())
    (step / 'manifest.json').write_text(manifest.dump({**was, 'files': manifest.listing(step)}))
    with pytest.raises(CheckpointError, match='not the values that were saved'):
        restore(saved)


@pytest.mark.parametrize('asynchronous', [True, False])
@pytest.mark.parametrize('on_error', ['stop', 'continue'])
def test_f4_f19_a_failed_save_is_reported_at_once_and_leaves_the_last_good_step(
    tmp_path, asynchronous, on_error, caplog
):
    """No file may grow beyond 600 kB: what a full disk does to Orbax's own writes."""
    big, small = {'x': jnp.arange(1_000_000.0)}, {'x': jnp.arange(1000.0)}
    c = Checkpoints(tmp_path, asynchronous=asynchronous, on_error=on_error)
    c.save(1, small)
    c.wait()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))
    try:
        if on_error == 'stop':
            with pytest.raises(StorageError, match=r'checkpoint not saved: .*; the last good one is step 1'):
                c.save(2, big)
                while c._pending is not None:
                    c.poll()
        else:
            c.save(2, big)
            c.wait()
            assert 'checkpoint not saved' in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert c.steps() == [1] and not list(tmp_path.glob('tmp-*'))
    c.save(3, big)      # room again: the run goes on
    c.close()
    assert c.steps() == [1, 3]
    np.testing.assert_array_equal(restore(tmp_path, {'x': jnp.zeros(1_000_000)})['x'], np.arange(1_000_000.0))


def test_f19_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(StorageError, match='checkpoints: cannot use'):
        Checkpoints(tmp_path / 'file' / 'c')


KILLED = textwrap.dedent('''
    import os, signal, sys
    sys.path.insert(0, sys.argv[4])
    import numpy as np
    from common.checkpoint import Checkpoints
    folder, nth, asynchronous = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'async'
    make = lambda s: {'x': np.random.default_rng(s).normal(size=(50, 50)).astype(np.float32), 'n': np.int32(s)}
    c = Checkpoints(folder, keep=1, asynchronous=asynchronous)
    c.save(1, make(1))
    c.wait()
    count = 0
    def hook(event, args):
        global count
        if event in ('open', 'os.rename', 'os.mkdir', 'os.remove', 'os.rmdir') and str(args[0]).startswith(folder):
            count += 1
            if count == nth:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    c.save(2, make(2))
    c.close()
    print('events', count)
''')


def _killed(folder, nth, how):
    out = subprocess.run(
        [sys.executable, '-c', KILLED, str(folder), str(nth), how, str(ROOT)],
        capture_output=True,
        text=True,
        env={**os.environ, 'XLA_FLAGS': ''},
        check=False,
    )
    assert out.returncode in (0, -signal.SIGKILL), out.stderr[-2000:]
    return out


def _check_after_kill(folder):
    make = lambda s: {'x': np.random.default_rng(s).normal(size=(50, 50)).astype(np.float32), 'n': np.int32(s)}
    c = Checkpoints(folder)
    newest = c.steps()[-1]
    assert newest in (1, 2) and not list(folder.glob('tmp-*'))      # leftovers are gone at the next start
    back = c.restore(make(0))
    assert int(back['n']) == newest
    np.testing.assert_array_equal(back['x'], make(newest)['x'])
    c.save(5, make(5))
    c.close()
    assert c.steps()[-1] == 5


@pytest.mark.parametrize('nth', [1, 4, 9])
def test_f2_killed_inside_a_save(tmp_path, nth):
    assert _killed(tmp_path, nth, 'async' if nth % 2 else 'sync').returncode == -signal.SIGKILL
    _check_after_kill(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['sync', 'async'])
def test_f2_killed_at_every_file_system_event_of_a_save(tmp_path, how):
    total = int(_killed(tmp_path / 'whole', 10**6, how).stdout.split()[-1])
    points = range(1, total + 1)
    assert len(points) >= 10, points
    kept = []
    for nth in points:
        assert _killed(tmp_path / str(nth), nth, how).returncode == -signal.SIGKILL
        kept.append(Checkpoints(tmp_path / str(nth)).steps()[-1])
        _check_after_kill(tmp_path / str(nth))
    assert kept == sorted(kept) and set(kept) == {1, 2}     # the old step up to the commit, the new one from then on
