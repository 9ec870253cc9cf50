"""What must be set before JAX uses a device: compile cache, virtual devices, determinism, allocator; and env.json."""
import ctypes
import datetime
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

PACKAGES = ('ai-roadmap', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'ml_collections')
MALLOC = {'arena_max': (-8, 1), 'mmap_max': (-4, 0), 'trim_threshold': (-1, 2**31 - 1), 'top_pad': (-2, 64 << 20)}


def setup(args) -> dict:
    """Applies the flags of that name. Returns what it did, for env.json."""
    return {'compile_cache': compile_cache(args.compile_cache), 'host_devices': host_devices(args.host_devices),
            'deterministic': deterministic(args.deterministic), 'cores': cores(args.cores, args.process_id),
            'malloc_tuning': malloc_tuning() if args.malloc_tuning else False}


def compile_cache(where: str) -> str | None:
    """'off', a folder, or 'auto': $JAX_COMPILATION_CACHE_DIR, else one in the user's cache folder. Returns the folder.

    None, and no cache, where there is no such folder or it cannot be written.
    """
    folder = {'off': None, 'auto': os.environ.get('JAX_COMPILATION_CACHE_DIR') or _user_cache()}.get(where, where)
    if folder is not None:
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            folder = os.path.abspath(folder) if os.access(folder, os.W_OK) else None
        except (OSError, ValueError):
            folder = None
    if folder is None:
        os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)
    else:
        os.environ['JAX_COMPILATION_CACHE_DIR'] = folder
        os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')
        os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '0')
    if 'jax' in sys.modules:            # it has read the environment already
        sys.modules['jax'].config.update('jax_compilation_cache_dir', folder)
    return folder


def _user_cache() -> str | None:
    """A folder of this user for this kind of processor (compiled code of another one may not run), or None."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    if not os.path.isabs(base):         # no $HOME and no entry in the user table
        return None
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        cpu = next((s for s in lines if s.startswith(('flags', 'Features'))), '')
    except OSError:
        cpu = platform.processor()
    kind = f'{platform.machine()}-{hashlib.sha256(cpu.encode()).hexdigest()[:8]}'
    return os.path.join(base, 'ai-roadmap', 'jax', kind)


def host_devices(count: int) -> int:
    """Makes the CPU look like `count` devices (0: leave it). Works until JAX first uses a device."""
    if count:
        _xla('xla_force_host_platform_device_count', str(count))
    return count


def cores(count: int, process_id: int = 0) -> int:
    """Keeps this process to `count` of its CPU cores (0: all), other ones for each process of a run; XLA then has as
    many threads. Where a step takes well under a millisecond, waking a second thread costs more than it helps."""
    if count and hasattr(os, 'sched_setaffinity'):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[(process_id * count + i) % len(mine)] for i in range(count)})
    return count


def deterministic(on: bool) -> bool:
    """Keeps XLA on a GPU to operations whose sums always have the same order, and to no timed choice of kernels, which
    another process may choose otherwise; without it a resumed run differs in its last bits.  No effect on a CPU."""
    _xla('xla_gpu_deterministic_ops', str(on).lower())
    return on


def _xla(name: str, value: str) -> None:
    """Sets one of XLA's flags and keeps the others."""
    rest = re.sub(rf'--{name}=\S*', '', os.environ.get('XLA_FLAGS', '')).split()
    os.environ['XLA_FLAGS'] = ' '.join([*rest, f'--{name}={value}'])


def malloc_tuning() -> bool:
    """Tells glibc to keep freed memory: XLA:CPU allocates its buffers on every call, and giving pages back and faulting
    them in again costs time. The price is memory that stays with the process after a peak.

    False, and nothing done, where AI_ROADMAP_MALLOC=off or the C library is not glibc on Linux.
    """
    if sys.platform != 'linux' or os.environ.get('AI_ROADMAP_MALLOC', '').lower() == 'off':
        return False
    try:
        if not (os.confstr('CS_GNU_LIBC_VERSION') or '').startswith('glibc'):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, ValueError, AttributeError):
        return False
    return all([mallopt(key, value) == 1 for key, value in MALLOC.values()])


def environment() -> dict:
    """What env.json starts with: command, versions, commit, platform. The host's name stays out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    started = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    system = f'{platform.system()} {platform.release()} {platform.machine()}'
    return {'argv': sys.argv, 'python': platform.python_version(), 'platform': system, 'cpus': os.cpu_count(),
            'started': started, 'versions': versions, 'git': _git()}


def _git() -> dict | None:
    """Commit and whether tracked files differ from it, or None outside a checkout of this repository.

    A virtual environment inside another repository must not pass for ours: the checkout has to begin where we do.
    """
    root = Path(__file__).resolve().parents[1]

    def git(*words):
        command = ['git', '-C', str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git('rev-parse', '--show-toplevel')).resolve() != root:
            return None
        return {'commit': git('rev-parse', 'HEAD'), 'dirty': bool(git('status', '--porcelain', '--untracked-files=no'))}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
