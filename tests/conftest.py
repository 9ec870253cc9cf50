"""Eight virtual CPU devices, a persistent compilation cache outside the repository, and no silent rank promotion."""
import os
import tempfile
from pathlib import Path

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'
CACHE = os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(Path(tempfile.gettempdir()) / 'ai_roadmap_test_cache'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '0')

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / 'shared' / 'data'


@pytest.fixture
def shared_file():
    """A file of real benchmark data, or a skip that names it."""
    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f'shared/data/{name} is not here')
        return path
    return find
