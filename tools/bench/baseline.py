"""The gates without noise: FLOPs and bytes of one step of each project, as XLA counts them, in
`docs/data/bench_baseline.json`; `make test` holds every step to them within 1 %.

    python -m tools.bench baseline --reason='two hidden layers more'

`lowered` is of the program as it is traced, the same on every machine; `compiled` is of what the CPU backend makes of
it, and is compared only where jaxlib and the instruction set are those of the file.  `data_bytes` is the size of what
the step reads: `level7_link_prediction` learns from the installed packages, and other versions of them are other data.
"""
import importlib.metadata
import json
import os
import platform
import tempfile

from tools.bench import workloads

FILE = workloads.ROOT / 'docs/data/bench_baseline.json'
WITHIN = 0.01


def where() -> dict[str, str]:
    """What the compiled numbers depend on."""
    return {'jaxlib': importlib.metadata.version('jaxlib'), 'machine': platform.machine()}


def counted(found) -> dict[str, float]:
    return {'flops': float(found['flops']), 'bytes': float(found['bytes accessed'])}


def measure(name: str, *, compiled: bool = True) -> dict:
    """The numbers of one project's step at --config=full."""
    from tools.bench import projects
    with tempfile.TemporaryDirectory() as folder:
        jitted, args, data = projects.lowered(name, folder)
    lowered = jitted.lower(*args)
    row = {'data_bytes': data, 'lowered': counted(lowered.cost_analysis())}
    return row | ({'compiled': counted(lowered.compile().cost_analysis())} if compiled else {})


def differences(was: dict, now: dict, kinds: tuple[str, ...] = ('lowered', 'compiled')) -> list[str]:
    """One line for each number that is more than 1 % off."""
    both = [(f'{kind} {what}', was[kind][what], now[kind][what]) for kind in kinds for what in ('flops', 'bytes')]
    return [f'{name}: {old:.6g} -> {new:.6g} ({new / old - 1:+.1%})' for name, old, new in both
            if abs(new - old) > WITHIN * old]


def load() -> dict:
    return json.loads(FILE.read_text(encoding='utf-8'))


def rewrite(reason: str) -> str:
    """Measures all projects, writes the file with its reason, and says what changed."""
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    old = load() if FILE.exists() else {'steps': {}, 'reasons': []}
    steps = {name: measure(name) for name in workloads.projects()}
    said = [f'{name}: new' if name not in old['steps'] else f'{name}: {line}' for name, row in steps.items()
            for line in ([''] if name not in old['steps'] else differences(old['steps'][name], row))]
    new = {'of': where(), 'reasons': [*old['reasons'], reason], 'steps': steps}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(new, indent=1) + '\n', encoding='utf-8')
    return '\n'.join([*said, f'written: {FILE.relative_to(workloads.ROOT)}'])
