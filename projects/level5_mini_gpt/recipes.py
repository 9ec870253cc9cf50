"""What recipes reached: from finished run folders to recipes.json, and from it to the table of the README.

    python -m projects.level5_mini_gpt.recipes runs/nano runs/better          # replaces the rows of these variants
    python -m projects.level5_mini_gpt.recipes                                # prints the table

A test holds the README to the file. Rows are in the order of their variants in config.py.
"""
import json
import sys
from pathlib import Path

from projects.level5_mini_gpt import config as config_lib

FILE = Path(__file__).with_name('recipes.json')
HEAD = ('| recipe | steps | tokens | seeds | loss, mean [95 %] | bits per character | CPU s a seed | MFU |\n'
        '| --- | --- | --- | --- | --- | --- | --- | --- |\n')


def row(folder: Path) -> dict:
    """What a finished run says about its recipe. ValueError for a run that is not one of a whole variant."""
    read = lambda name: json.loads((folder / name).read_text(encoding='utf-8'))
    result, env, found = read('result.json'), read('env.json'), read('config.json')['config']
    for variant in config_lib.VARIANTS:
        if found | {'seed': 0} == config_lib.get_config(variant).to_dict() | {'seed': 0}:
            break
    else:
        raise ValueError(f'{folder}: expected a run of one of {", ".join(config_lib.VARIANTS)}, unchanged')
    return {'variant': variant, 'overrides': {k: v for k, v in found.items() if v != config_lib.FIELDS[k].default},
            'tokens': found['steps'] * found['batch_size'] * found['context'], 'seeds': result['seeds'],
            'metrics': result['metrics'], 'cpu_seconds': round(result['cpu_seconds'], 1),
            'mfu': round(result['mfu'], 4), 'tokens_per_s': round(result['tokens_per_s']),
            'peak_gflops': round(result['peak_flops_per_s'] / 1e9, 1),
            'device': result['device'], 'cpus': env['cpus'], 'started': env['started'], 'commit': env['git'],
            'versions': {name: result['versions'][name] for name in ('jax', 'jaxlib', 'flax', 'optax')}}


def table(rows: list[dict]) -> str:
    """The rows as the README has them."""
    lines = []
    for r in rows:
        loss, bits = r['metrics']['loss'], r['metrics']['bits_per_char']
        low, high = loss['ci95']
        mfu = '-' if r['mfu'] is None else f'{100 * r["mfu"]:.0f} %'
        spread = '' if low is None else f' [{low:.3f}, {high:.3f}]'
        lines.append(f'| `{r["variant"]}` | {r["overrides"]["steps"]:,} | {r["tokens"]:,} | {len(r["seeds"])} '
                     f'| {loss["mean"]:.3f}{spread} | {bits["mean"]:.3f} '
                     f'| {r["cpu_seconds"] / len(r["seeds"]):.0f} | {mfu} |\n')
    return HEAD + ''.join(lines)


def main(folders: list[str]) -> None:
    rows = json.loads(FILE.read_text(encoding='utf-8')) if FILE.exists() else []
    new = {r['variant']: r for r in map(row, map(Path, folders))}
    rows = {r['variant']: r for r in rows} | new
    rows = [rows[name] for name in config_lib.VARIANTS if name in rows]
    if new:
        FILE.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    print(table(rows), end='')


if __name__ == '__main__':
    main(sys.argv[1:])
