"""Decompositions under vmap are numpy's, have derivatives, never wait for each other, and level 1 has no others."""
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import lapack

ROOT = Path(__file__).parents[2]
# Before, each of three hung within the first tens of calls: batches of 64, and two threads for six of them.
MANY = """
import jax, numpy as np
from common import lapack
a = np.random.default_rng(0).normal(size=(2, 64, 48, 48)).astype('f')
a = a @ a.swapaxes(-1, -2) + 48 * np.eye(48, dtype='f')
for fn in (lapack.cholesky, lapack.eigh, lambda a: lapack.cho_solve(a, a[0])):
    all_at_once = jax.pmap(lambda x: [jax.vmap(fn)(x + i) for i in range(3)])
    for _ in range(50):
        jax.block_until_ready(all_at_once(a))
print('through')
"""


@pytest.fixture
def definite():
    a = np.random.default_rng(0).normal(size=(3, 2, 5, 5)).astype(np.float32)
    return a @ a.swapaxes(-1, -2) + 5 * np.eye(5, dtype=np.float32)


def test_two_vmaps_give_numpys_values(definite):
    twice = lambda fn, *args: jax.vmap(jax.vmap(fn))(*args)
    near = lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    right = definite[..., :2]
    lower = twice(lapack.cholesky, definite)
    near(lower, np.linalg.cholesky(definite))
    near(twice(lapack.cho_solve, lower, right), np.linalg.solve(definite, right))
    near(twice(lapack.solve, definite, right), np.linalg.solve(definite, right))
    near(twice(lapack.eigh, definite)[0], np.linalg.eigh(definite)[0])
    near(twice(lapack.svd, definite)[1], np.linalg.svd(definite)[1])
    near(np.matmul(*twice(lapack.qr, definite)), definite)
    near(np.abs(twice(lapack.qr_r, definite)), np.abs(np.linalg.qr(definite, mode='r')))
    solution, rank = jax.vmap(jax.vmap(lapack.lstsq, (0, 0, None)), (0, 0, None))(definite, right, 1e-6)
    near(solution, np.linalg.solve(definite, right))
    assert (rank == 5).all()


def test_an_argument_may_stay_whole(definite):
    lower, sides = lapack.cholesky(definite[0, 0]), definite[1]
    got = jax.vmap(lapack.cho_solve, (None, 0))(lower, sides)
    np.testing.assert_allclose(got, [np.linalg.solve(definite[0, 0], b) for b in sides], rtol=1e-4, atol=1e-5)


def test_derivatives_are_the_plain_functions(definite):
    ours = lambda a: jnp.sum(lapack.cho_solve(lapack.cholesky(a), a[:, :1] ** 2))
    plain = lambda a: jnp.sum(jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(a, lower=True), a[:, :1] ** 2))
    for way in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(jax.vmap(way(ours))(definite[0]), jax.vmap(way(plain))(definite[0]),
                                   rtol=1e-5, atol=1e-6)


def test_batches_on_two_devices_do_not_wait_for_each_other():
    env = {**os.environ, 'NPROC': '2', 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT),
           'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
    out = subprocess.run([sys.executable, '-c', MANY], env=env, timeout=120, capture_output=True, text=True,
                         check=False)
    assert out.stdout.strip() == 'through', out.stderr[-2000:]


def test_level_1_takes_them_from_here():
    pattern = r'linalg\.(eigh|eigvalsh|svd|qr|cholesky|cho_\w+|solve\w*|lu\w*|inv|pinv|lstsq|slogdet|det)\('
    places = [f'{p.relative_to(ROOT)}:{n}' for p in sorted((ROOT / 'levels' / 'level1_classical').rglob('*.py'))
              for n, line in enumerate(p.read_text(encoding='utf-8').splitlines(), 1)
              if re.search(pattern, line) and 'np.linalg' not in line.replace('jnp.', '')]
    assert not places
