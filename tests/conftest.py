"""Eight virtual CPU devices, a persistent compilation cache outside the repository, and no silent rank promotion.

$AI_ROADMAP_TEST_PLATFORM names an accelerator (cuda, tpu) for the tests that can run on one: docs/accelerators.md.
"""
import json
import os
import sys
import tempfile
from pathlib import Path

PLATFORM = os.environ.get('AI_ROADMAP_TEST_PLATFORM', 'cpu')
os.environ['JAX_PLATFORMS'] = PLATFORM if PLATFORM == 'cpu' else f'{PLATFORM},cpu'
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8 --xla_gpu_deterministic_ops=true'
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')     # several processes share an accelerator
CACHE = os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(Path(tempfile.gettempdir()) / 'ai_roadmap_test_cache'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '0')

import jax  # noqa: E402
import psutil  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
if PLATFORM != 'cpu':           # peers are compared in float32, not in the TF32 or bfloat16 of a product by default
    jax.config.update('jax_default_matmul_precision', 'highest')

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


@pytest.fixture(scope='module', autouse=True)
def bounded_memory():
    """What earlier files compiled is dropped once it fills the memory; a whole run would keep gigabytes of it.

    Each program has several memory maps, of which Linux gives a process 65,530; XLA aborts when there are no more.
    """
    maps = Path('/proc/self/maps')
    if psutil.Process().memory_info().rss > 3 * 2**30 or (maps.exists() and maps.read_bytes().count(b'\n') > 30_000):
        jax.clear_caches()


PARITY = Path(__file__).parent / 'parity'
LEDGERS = pytest.StashKey[list]()       # of every process: what it compared, and which files of tests/parity it knew
STALE = pytest.StashKey[list]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash.setdefault(LEDGERS, []).append(getattr(node, 'workeroutput', {}).get('parity'))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """A whole run of the parity tests, in one process or several, has measured what docs/data/parity.json says."""
    rows = getattr(sys.modules.get('parity_ledger'), 'ROWS', [])
    mine = {'rows': rows, 'files': sorted({i.path.name for i in session.items if i.path.parent == PARITY})}
    if hasattr(session.config, 'workeroutput'):
        session.config.workeroutput['parity'] = mine
        return
    ledgers = session.config.stash.get(LEDGERS, [mine])
    whole = sorted(p.name for p in PARITY.glob('test_*.py'))
    if session.config.option.collectonly or session.testsfailed:
        return
    if not all(ledger and ledger['files'] == whole for ledger in ledgers):
        return
    from tools import make_docs
    written = json.loads(make_docs.DATA.read_text(encoding='utf-8'))
    measured = [row for ledger in ledgers for row in ledger['rows']]
    session.config.stash[STALE] = lines = make_docs.stale(measured, written)
    if lines:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if lines := config.stash.get(STALE, []):
        terminalreporter.section('docs/parity.md is stale', red=True)
        terminalreporter.write_line('\n'.join(lines))
