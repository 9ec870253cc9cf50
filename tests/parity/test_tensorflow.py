"""TensorFlow: its files are read without it; the slow test has it in an environment of its own, and compares."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from framework_cases import GATE, IN_TENSORFLOW, NETS, batches, bits, drawn, with_task

from levels.level2_neural.frameworks import keras_net, tensor_bundle, tf_net, torch_net, weights

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / 'tests/fixtures/tensorflow'        # by TensorFlow 2.21, from drawn(NETS['plain']): tf_net.save


# ---- files that TensorFlow wrote, without TensorFlow


@pytest.mark.parametrize('file', ['plain', 'plain_model'])
def test_checkpoints_and_saved_models_are_read_without_tensorflow(file):
    net = NETS['plain']
    found = tf_net.load(WRITTEN / file, net)
    assert bits(found) == bits(drawn(net))
    assert sorted(weights.to_names(net, found, 'tensorflow')) == [
        'conv_0/bias', 'conv_0/filters', 'dense_0/bias', 'dense_0/kernel']


def copied(folder):
    for path in WRITTEN.glob('plain.*'):
        shutil.copy(path, folder)
    return folder / 'plain'


@pytest.mark.parametrize('part', ['index', 'data-00000-of-00001'])
def test_a_damaged_file_is_refused_or_harmless(part, tmp_path):
    """Any byte changed: one line, or the same arrays (the padding of the footer, the graph of objects)."""
    prefix = copied(tmp_path)
    path = prefix.with_name(f'plain.{part}')
    good, whole = path.read_bytes(), tensor_bundle.read(prefix)
    refused = 0
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1:])
        try:
            found = tensor_bundle.read(prefix)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f'{prefix}: ') and '\n' not in str(error)
        else:
            assert bits(found) == bits(whole), at
    floats = sum(x.nbytes for x in whole.values())
    assert refused >= (floats if part != 'index' else 0.8 * len(good))


@pytest.mark.parametrize('part', ['index', 'data-00000-of-00001'])
def test_a_short_file_is_refused(part, tmp_path):
    prefix = copied(tmp_path)
    path = prefix.with_name(f'plain.{part}')
    good = path.read_bytes()
    for size in (0, 10, 47):
        path.write_bytes(good[:size])
        with pytest.raises(ValueError, match='expected a checkpoint as TensorFlow writes it; found'):
            tensor_bundle.read(prefix)
    path.unlink()
    with pytest.raises(ValueError, match='cannot be read'):
        tf_net.load(prefix, NETS['plain'])


def test_a_checkpoint_of_another_net_is_refused():
    with pytest.raises(ValueError, match=r'plain: state: missing: dense_1/bias, dense_1/kernel; dense_0'):
        tf_net.load(WRITTEN / 'plain', NETS['plain'].clone(hidden=(5,)))


def test_crc_32c():
    """The value that RFC 3720, appendix B.4, has for 32 zeros, masked as these files do."""
    crc = 0x8A9136AA
    assert tensor_bundle._masked(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize(('package', 'call', 'extra'), [
    ('tensorflow', tf_net.build, r"pip install 'ai-roadmap\[tensorflow\]'"),
    ('keras', keras_net.build, r"pip install 'ai-roadmap\[keras\]'"),
    ('h5py', lambda net: keras_net.read('x.keras'), r"pip install 'ai-roadmap\[keras\]'"),
    ('torch', torch_net.build, 'pip install torch'),
])
def test_what_is_not_installed_is_named(package, call, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv('KERAS_BACKEND', 'jax')
    with pytest.raises(ImportError, match=extra) as error:
        call(NETS['mlp'])
    assert '\n' not in str(error.value)


def test_a_form_that_is_none():
    with pytest.raises(ValueError, match="form: expected one of checkpoint, saved_model; found 'pb'"):
        tf_net.save('x', NETS['mlp'], drawn(NETS['mlp']), form='pb')


# ---- TensorFlow itself


@pytest.fixture(scope='module')
def python():
    """A Python with TensorFlow, and every other package from here; kept between runs."""
    home = Path(tempfile.gettempdir()) / f'ai_roadmap_tensorflow_{sys.version_info[0]}{sys.version_info[1]}'
    found = home / 'bin/python'
    if not (home / 'whole').exists():
        run = lambda *command: subprocess.run([str(c) for c in command], check=True, timeout=1500)
        run(sys.executable, '-m', 'venv', '--clear', home)
        small = sys.platform == 'linux' and platform.machine() == 'x86_64'
        run(found, '-m', 'pip', 'install', '-q', 'tensorflow-cpu>=2.19' if small else 'tensorflow>=2.19')
        site, = home.glob('lib/python*/site-packages')
        peers = dict.fromkeys(sysconfig.get_path(p) for p in ('purelib', 'platlib'))
        (site / 'peers.pth').write_text('\n'.join(peers) + '\n')       # found after what is installed there
        (home / 'whole').touch()
    return found


@pytest.mark.slow
@pytest.mark.timeout(2400)      # most of it is pip, the first time
def test_tensorflow_computes_the_same(python, tmp_path):
    """Logits, ten steps of SGD and Adam, checkpoints and SavedModels, in both types; TensorFlow has read both back."""
    with jax.enable_x64(True):
        for case, width in IN_TENSORFLOW:
            weights.save(tmp_path / f'{case} float{width}.safetensors', NETS[case], drawn(NETS[case], f'float{width}'))
        env = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '2',
                            'CUDA_VISIBLE_DEVICES': '', 'KERAS_BACKEND': 'tensorflow',
                            'KERAS_HOME': str(tmp_path / 'keras')}
        done = subprocess.run([str(python), str(Path(__file__).with_name('tensorflow_peer.py')), str(tmp_path)],
                              capture_output=True, text=True, check=False, timeout=900, env=env)
        assert done.returncode == 0, done.stderr[-4000:]
        for case, width in IN_TENSORFLOW:
            net, name, dtype = NETS[case], f'{case} float{width}', f'float{width}'
            variables, data = drawn(net, dtype), batches(net, dtype)
            theirs, logits = np.load(tmp_path / f'{name}.npz'), np.asarray(net.apply(variables, data[0][0]))
            for kind in ('logits', 'served'):
                assert theirs[kind].dtype == logits.dtype
                assert np.abs(theirs[kind] - logits).max() <= GATE[width] * np.abs(logits).max()
            for form in ('ckpt', 'model'):
                assert bits(tf_net.load(tmp_path / f'{name} {form}', net)) == bits(variables)
            for optimiser in ('sgd', 'keras adam'):
                ours = with_task(net, variables, optimiser, data)
                other = weights.load(tmp_path / f'{name} {optimiser}.safetensors', net)
                errors = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours, other)
                # also in float64: TensorFlow's optimisers keep 0.9 and 0.999 in float32 (measured 8e-7)
                assert max(jax.tree.leaves(errors)) <= GATE[32], (name, optimiser, errors)
