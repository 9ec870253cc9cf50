"""An index past the end writes nowhere, in every form and under vmap; and nothing else in the code relies on `drop`."""
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.scatter import scatter

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('how', ['set', 'add', 'max', 'min'])
@pytest.mark.parametrize('shape', [(5,), (5, 3), (0,)])
def test_it_is_what_dropping_gives(how, shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, *shape)), jnp.float32)
    index = jnp.asarray([rng.permutation(9)[:6] for _ in range(4)], jnp.int32)      # up to 8, of 5 or of none
    values = jnp.asarray(rng.normal(size=(4, 6, *shape[1:])), jnp.float32)
    want = jnp.stack([getattr(a.at[i], how)(v, mode='drop') for a, i, v in zip(x, index, values)])
    got = jax.jit(jax.vmap(lambda x, i, v: scatter(x, i, v, how)))(x, index, values)
    assert np.array_equal(got, want) and got.shape == x.shape


def test_no_other_place_drops():
    places = [f'{p.relative_to(ROOT)}:{n}' for folder in ('levels', 'common', 'projects')
              for p in sorted((ROOT / folder).rglob('*.py')) if p.name != 'scatter.py'
              for n, line in enumerate(p.read_text(encoding='utf-8').splitlines(), 1)
              if re.search(r'''mode=['"]drop''', line)]
    assert not places
