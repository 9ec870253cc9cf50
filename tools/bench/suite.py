"""What `python -m tools.bench` does, in order: peaks, projects, pairs, peaks again; a line for each, then the table."""
import json
import os
import time
from pathlib import Path

from common.errors import UsageError
from tools.bench import SCHEMA, STRATEGIES, goals, machine, pairs, table, workloads


def run(args) -> dict:
    """Measures what `args` asks for, writes the JSON and prints the table.  Raises UsageError."""
    began = time.perf_counter()
    env = {'TF_CPP_MIN_LOG_LEVEL': '2', 'JAX_COMPILATION_CACHE_DIR': '', 'PYTHONWARNINGS': 'ignore'}
    chosen = [p for p in workloads.PAIRS if p.name in args.only or (args.peer and not args.only)]
    todo = [(n, s) for n in workloads.projects() for s in STRATEGIES
            if (not args.only or n in args.only) and args.strategy in ('', s)]

    def say(text: str) -> None:
        print(f'{time.perf_counter() - began:5.0f} s  load {machine.load():4.2f}  {text}', flush=True)

    result = {'schema': SCHEMA, 'started': machine.now(), 'quick': args.quick, 'machine': machine.about(), 'peaks': {},
              'load': {'start': machine.load(), 'cores': machine.cores()}, 'rows': [], 'pairs': []}
    first = peaks(args, env)
    result['machine'] |= {k: first[k] for k in ('platform', 'device_kind')}
    cpu = first['platform'] == 'cpu'
    say(f'peaks: {table.peaks(first)}')
    for name, strategy in todo:
        result['rows'].append(row := project(name, strategy, args, env, cpu))
        write(result, args.out)
        say(f'{name} {strategy}: {table.brief(row)}')
    for pair in chosen:
        for row in compared(pair.quick() if args.quick else pair, args, env, cpu):
            result['pairs'].append(row)
            write(result, args.out)
            say(f'{pair.name}: {table.brief(row)}')
    last = peaks(args, env)
    say(f'peaks: {table.peaks(last)}')
    best = result['peaks'] = {k: max(first[k], last[k]) for k in ('matmul_flops_per_s', 'copy_bytes_per_s')}
    for row in result['rows']:
        if 'step_s' in row:
            row['utilisation'] = utilisation(row, best)
    result['load']['end'] = machine.load()
    write(result, args.out)
    print('\n' + '\n'.join(table.lines(result)) + f'\n\nwritten: {args.out}', flush=True)
    return result


def write(result: dict, out: Path) -> None:
    """The JSON, after every row: a run of an hour that is cut off has lost one row, and has no load at its end."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')


def peaks(args, env) -> dict:
    try:
        return pairs.ask({'do': 'peaks', 'quick': args.quick}, 'peaks', env)
    except pairs.Failed as e:
        raise UsageError(f'the peaks could not be measured: {e}') from None


def project(name: str, strategy: str, args, env, cpu: bool) -> dict:
    """The row of a project, or why there is none."""
    request = {'do': 'project', 'project': name, 'strategy': strategy, 'quick': args.quick, 'data_dir': args.data_dir,
               'devices': machine.cores() if cpu else 0}
    loads = [machine.load()]
    try:
        row = pairs.ask(request, 'row', env)
    except (UsageError, pairs.Failed) as e:
        return {'name': name, 'strategy': strategy, 'skipped' if isinstance(e, UsageError) else 'failed': str(e)}
    return row | {'load': [*loads, machine.load()]}


def compared(pair: workloads.Pair, args, env, cpu: bool) -> list[dict]:
    """The rows of a pair, or why there are none."""
    if pair.data and not os.path.isfile(os.path.join(args.data_dir, pair.data)):
        why = f'{pair.data} is not in --data_dir={args.data_dir or "(not given)"}'
        return [{'name': pair.name, 'peer': p.name, 'target': p.target, 'skipped': why} for p in pair.peers]
    try:
        if pair.goal is not None:
            return goals.measure(pair, args.data_dir, env)
        return pairs.measure(pair, args.data_dir, env, cpu=cpu)
    except (UsageError, pairs.Failed) as e:
        key = 'skipped' if isinstance(e, UsageError) else 'failed'
        return [{'name': pair.name, 'peer': p.name, 'target': p.target, key: str(e)} for p in pair.peers]


def utilisation(row: dict, best: dict) -> dict:
    """Shares of the two peaks: the formula's FLOPs, and bytes as XLA counts them, over the median step."""
    work, moved, seconds = row['flops']['analytic'], row['bytes'], row['step_s']['p50']
    return {'matmul': work and work / seconds / best['matmul_flops_per_s'],
            'copy': moved and moved / seconds / best['copy_bytes_per_s']}
