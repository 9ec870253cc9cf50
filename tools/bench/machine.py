"""What the numbers were measured on: device, versions, load, and the peaks that utilisation is held against."""
import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path

from common import runtime

PEERS = ('torch', 'torch-geometric', 'stable-baselines3', 'gymnasium', 'scikit-learn', 'optax', 'lightgbm',
         'xgboost-cpu', 'umap-learn', 'openTSNE', 'scipy')
SLACK = 1.1     # our own threads keep the load near the number of cores; a whole foreign process is well above


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


def too_busy(*loads: float, on: int | None = None) -> bool:
    """Whether wall times taken at such loads say nothing about the code."""
    return max(loads) > (on or cores()) * SLACK


def processor() -> str:
    """The CPU as the kernel names it, with its cores."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        name = next(s.partition(':')[2].strip() for s in lines if s.startswith('model name'))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f'{name}, {cores()} cores'


def about() -> dict:
    """Versions, commit and processor; the device is added by the process that measures the peaks."""
    found = runtime.environment()
    more = {}
    for name in PEERS:
        try:
            more[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            more[name] = None
    return {'processor': processor(), 'python': found['python'], 'platform': found['platform'],
            'versions': found['versions'] | more, 'git': found['git']}


def now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec='seconds')


def peaks(quick: bool) -> dict:
    """The fastest float32 matrix product (TF32 on a GPU, by default) and copy that JAX does here: FLOPs and bytes per
    second, and the device."""
    import jax
    device = jax.devices()[0]
    big = device.platform != 'cpu'
    n, rows = (8192, 1 << 28) if big else (2048, 1 << 25)
    a = jax.random.normal(jax.random.key(0), (n, n)) / n**0.5       # ones are faster than data, on a GPU
    x = jax.random.normal(jax.random.key(1), (rows,))
    multiply = jax.jit(lambda a: a @ a)
    copy = jax.jit(lambda x: x * 1.0000001, donate_argnums=0)      # in place: one read and one write of each number

    def fastest(call, times) -> float:
        best = float('inf')
        for _ in range(times):
            began = time.perf_counter()
            jax.block_until_ready(call())
            best = min(best, time.perf_counter() - began)
        return best

    def again():
        nonlocal x
        x = copy(x)
        return x

    times = 4 if quick else 12
    return {'platform': device.platform, 'device_kind': device.device_kind,
            'matmul_flops_per_s': 2 * n**3 / fastest(lambda: multiply(a), times),
            'copy_bytes_per_s': 2 * x.nbytes / fastest(again, 2 * times)}
