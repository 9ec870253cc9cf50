"""F30: damaged entries of the persistent compilation cache are ignored: same result, a warning, no failure."""
import os
import subprocess
import sys

from tests.fixtures import ROOT

CODE = '''
import os, sys
from common import runtime
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
assert runtime.compile_cache(sys.argv[1]) == sys.argv[1]
import jax, jax.numpy as jnp
print(float(jax.jit(lambda x: jnp.sin(x) @ x + 3)(jnp.ones(64))))
'''
DAMAGES = {
    'cut': lambda b: b[:len(b) // 2],
    'empty': lambda b: b'',
    'flipped': lambda b: b[:len(b) // 2] + bytes([b[len(b) // 2] ^ 8]) + b[len(b) // 2 + 1:],
    'garbage': lambda b: b'\x55' * len(b),
}


def compute(cache) -> tuple[str, str]:
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    env.pop('JAX_COMPILATION_CACHE_DIR', None)
    p = subprocess.run([sys.executable, '-c', CODE, str(cache)], capture_output=True, text=True, env=env, check=False)
    assert p.returncode == 0, p.stderr
    return p.stdout, p.stderr


def test_damaged_entries_are_ignored(tmp_path):
    expected, _ = compute(tmp_path)
    entries = {p: p.read_bytes() for p in tmp_path.glob('*-cache')}
    assert len(entries) >= 2
    for name, damage in DAMAGES.items():
        for path, data in entries.items():
            path.write_bytes(damage(data))
        result, warnings = compute(tmp_path)
        assert result == expected, name
        assert warnings.count('Error reading persistent compilation cache entry') == len(entries), name
