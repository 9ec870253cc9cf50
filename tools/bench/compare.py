"""`python -m tools.bench compare A B`: what changed beyond the noise, and what did not.

A time has changed where the two ranges from p10 to p90 do not meet and the medians differ by more than `LEAST`; FLOPs,
bytes and memory have no noise, and have changed where they differ by more than `EXACT`; a compilation is measured once
and has changed where it takes `COMPILE` times as long, and a second longer.
"""
import json
import os
from pathlib import Path

from common.errors import UsageError
from tools.bench import SCHEMA

LEAST, EXACT, COMPILE = 0.03, 0.001, 1.5
SAME = ('platform', 'device_kind', 'processor')


def load(path: str | os.PathLike) -> dict:
    """A result of the bench.  Raises UsageError for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as e:
        raise UsageError(f'{path}: {e.strerror}') from None
    except ValueError:
        raise UsageError(f'{path}: not JSON') from None
    if not isinstance(found, dict) or not {'schema', 'machine', 'rows', 'pairs'} <= found.keys():
        raise UsageError(f'{path}: not a result of tools.bench')
    if found['schema'] != SCHEMA:
        raise UsageError(f'{path}: schema {found["schema"]}, and this is schema {SCHEMA}; measure again')
    return found


def agree(a: dict, b: dict) -> None:
    """UsageError unless the two can be compared: the same device, both quick or neither."""
    for key in SAME:
        if a['machine'].get(key) != b['machine'].get(key):
            raise UsageError(f'different machines: {key} was {a["machine"].get(key)}, is {b["machine"].get(key)}')
    if a['quick'] != b['quick']:
        raise UsageError('one of the two is of --quick')


def percentiles(values: list[float]) -> dict[str, float]:
    """p10, p50 and p90, as numpy's default has them."""
    ordered = sorted(values)

    def at(share: float) -> float:
        low, part = divmod(share * (len(ordered) - 1), 1)
        high = min(int(low) + 1, len(ordered) - 1)
        return ordered[int(low)] * (1 - part) + ordered[high] * part
    return {'p10': at(0.1), 'p50': at(0.5), 'p90': at(0.9)}


def apart(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether two ranges of times do not meet, and by more than is worth a word."""
    return (b['p10'] > a['p90'] or b['p90'] < a['p10']) and abs(b['p50'] / a['p50'] - 1) > LEAST


def of_rows(a: dict, b: dict) -> list[str]:
    """What changed between two rows of one project and strategy."""
    said = []
    if apart(a['step_s'], b['step_s']):
        factor = b['step_s']['p50'] / a['step_s']['p50']
        said.append(f'step {factor:.2f} x as long' if factor > 1 else f'step {1 / factor:.2f} x as fast')
    for name, get in (('FLOPs', lambda r: r['flops']['analytic']), ('XLA FLOPs', lambda r: r['flops']['xla']),
                      ('bytes', lambda r: r['bytes']), ('peak memory', lambda r: r['peak_bytes']),
                      ('units per step', lambda r: r['units_per_step']), ('devices', lambda r: r['devices'])):
        old, new = get(a), get(b)
        if old != new and not (old and new and abs(new / old - 1) <= EXACT):
            said.append(f'{name} {old} -> {new}' if not (old and new) else f'{name} {new / old - 1:+.1%}')
    for kind in ('cold', 'warm'):
        old, new = sorted((a['compile_s'][kind], b['compile_s'][kind]))
        if new > COMPILE * old and new > old + 1:
            said.append(f'{kind} compilation {a["compile_s"][kind]:.1f} -> {b["compile_s"][kind]:.1f} s')
    return said


def of_pairs(a: dict, b: dict) -> list[str]:
    """What changed between two comparisons with one peer."""
    said = []
    if a['wall_ratios'] and b['wall_ratios']:
        if apart(percentiles(a['wall_ratios']), percentiles(b['wall_ratios'])):
            said.append(f'ratio {a["wall_ratio"]:.2f} -> {b["wall_ratio"]:.2f}')
    elif a['wall_ratios'] or b['wall_ratios']:
        said.append('a wall ratio was refused in ' + ('the second' if a['wall_ratios'] else 'the first'))
    if a['quality']['equal'] != b['quality']['equal']:
        said.append('quality is ' + ('no longer equal' if a['quality']['equal'] else 'equal now'))
    return said


def lines(a: dict, b: dict) -> list[str]:
    """What `compare` prints.  Raises UsageError where the two cannot be compared."""
    agree(a, b)
    out, quiet = [], []
    for part, second, of in (('rows', 'strategy', of_rows), ('pairs', 'peer', of_pairs)):
        old, new = ({(r['name'], r[second]): r for r in x[part]} for x in (a, b))
        for key in {**old, **new}:
            name = ' '.join(key)
            if key not in old or key not in new:
                out.append(f'{name}: only in the {"second" if key not in old else "first"}')
                continue
            broken = [next((k for k in ('skipped', 'failed') if k in r), '') for r in (old[key], new[key])]
            if any(broken):
                said = [f'{broken[0] or "measured"} -> {broken[1] or "measured"}'] if broken[0] != broken[1] else []
            else:
                said = of(old[key], new[key])
            if said:
                out.append(f'{name}: ' + '; '.join(said))
            else:
                quiet.append(name)
    return [*out, f'nothing beyond the noise: {", ".join(quiet) or "no row"}']
