"""The bench itself: its command line, its verdicts, when it refuses, and that its workers take turns."""
import contextlib
import copy
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UsageError
from tools import bench
from tools.bench import compare, machine, pairs, peers, suite, table, workloads

ROOT = Path(__file__).parents[2]
ROW = {'name': 'level2_mnist', 'strategy': 'jit', 'devices': 1, 'steps_per_call': 40, 'unit': 'rows',
       'units_per_step': 100, 'units_per_s': 1e5, 'compile_s': {'cold': 5.0, 'warm': 1.0},
       'step_s': {'p10': 0.9e-3, 'p50': 1e-3, 'p90': 1.2e-3, 'calls': 20},
       'flops': {'analytic': 1e8, 'xla': 1.5e8}, 'bytes': 1e7, 'peak_bytes': 2e7,
       'utilisation': {'matmul': 0.5, 'copy': None}, 'load': [0.5, 1.5]}
TWO = {'ours': [1.0, 1.1, 0.9], 'torch_lenet': [2.0, 2.2, 2.1]}


def said(wall=TWO, load=(0.5, 1.8), accuracy=(0.95, 0.94)):
    return {'load': list(load), 'sides': {name: {'ready': {}, 'wall_s': s, 'cpu_s': s, 'quality': {'accuracy': [q]}}
                                          for (name, s), q in zip(wall.items(), accuracy)}}


def concluded(**kwargs) -> dict:
    pair = workloads.pair('lenet')
    return pairs.conclude(pair, pair.peers[0], said(**kwargs), said(), cores=2)


def result(rows=(ROW,), two=()) -> dict:
    return {'schema': bench.SCHEMA, 'quick': False, 'rows': copy.deepcopy(list(rows)), 'pairs': list(two),
            'machine': {'platform': 'cpu', 'device_kind': 'cpu', 'processor': 'x, 2 cores', 'versions': {'jax': '1'}},
            'peaks': {'matmul_flops_per_s': 1e11, 'copy_bytes_per_s': 1e10}, 'load': {'start': 1, 'end': 1, 'cores': 2}}


@pytest.mark.parametrize(('argv', 'message'), [
    (['--only=mnist_mpl'], '--only=mnist_mpl: no such workload, did you mean mnist_mlp?'),
    (['--strategy=jitt'], '--strategy=jitt: not one of jit, pmap, mesh, did you mean jit?'),
    (['--pear'], 'no flag --pear, did you mean --peer?'),
    (['--onyl=x'], 'no flag --onyl=x, did you mean --only?'),
    (['comparr', 'a', 'b'], "no command 'comparr', did you mean compare?"),
    (['compare', 'a.json'], 'compare: expected two files, found 1'),
    (['compare', 'no.json', 'no.json'], 'no.json: No such file or directory'),
    (['baseline'], 'baseline: say why the numbers may change, as --reason=TEXT'),
    (['--out=/'], '--out=/: not a file that can be written'),
])
def test_a_wrong_command_is_one_line(argv, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert bench.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {message}') and error.count('\n') == 1


def test_the_command_is_checked_before_jax_is_imported():
    code = ('import sys\nfrom tools import bench\nassert bench.main(["--only=x"]) == 2\n'
            'assert not {"jax", "torch"} & set(sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_project_and_every_target_has_its_row():
    assert {'level1_house_prices', 'level2_mnist', 'level5_mini_gpt', 'level6_cartpole'} <= set(workloads.projects())
    targets = {p.name: t.target for p in workloads.NETS for t in p.peers}
    assert targets.pop('mnist_mlp') == 2.5 and workloads.pair('mnist_mlp').peers[0].target == 4
    assert targets == {'lenet': 0.75, 'gpt': 1.1, 'ppo_4': 15, 'ppo_16': 8, 'ppo_64': 5, 'gcn_cora': 25, 'ridge_cv': 20}
    assert len(set(workloads.names())) == len(workloads.names())
    shared = {'__init__', 'cuda', 'torch_nets', 'torch_mobile'}
    there = {p.stem for p in (ROOT / 'tools/bench/peers').glob('*.py')} - shared
    assert there == {t.name.partition('.')[0] for p in workloads.PAIRS for t in p.peers}


def test_a_missing_peer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'stable_baselines3', None)
    with pytest.raises(UsageError, match=r"sb3_ppo needs stable_baselines3.*pip install 'ai-roadmap\[bench\]'"):
        peers.load('sb3_ppo')


# ---- ratios


def test_the_ratio_is_the_median_of_turns_and_of_quality():
    row = concluded()
    assert row['wall_ratio'] == 2.0 and row['met'] is True and row['quality']['equal'] and row['refused'] is None
    assert row['cpu_ratio_one_thread'] == pytest.approx(2.1)
    assert concluded(wall=TWO | {'torch_lenet': [0.5, 0.5, 0.5]})['met'] is False
    worse = concluded(accuracy=(0.9, 0.95))
    assert not worse['quality']['equal'] and worse['met'] is False
    assert concluded(accuracy=(0.94, 0.95))['quality']['equal']
    loss = workloads.Quality('loss', 'lower', 0.05)
    assert not pairs.judge(loss, [2.0], [1.9])['equal'] and pairs.judge(loss, [1.5], [1.9])['equal']
    noisy = pairs.judge(loss, [2.0, 1.0], [1.3, 1.3])        # standard error 0.5
    assert noisy['equal'] and noisy['margin'] == pytest.approx(1.0) and noisy['seeds'] == 2


def test_no_wall_ratio_under_load():
    row = concluded(load=(0.5, 2.6))
    assert row['wall_ratio'] is row['wall_ratios'] is row['met'] is None and row['refused'] == 'load 2.6 on 2 cores'
    assert row['cpu_ratio_one_thread'] == pytest.approx(2.1)
    assert 'no wall ratio, load 2.6 on 2 cores' in '\n'.join(table.lines(result(two=[row])))
    assert machine.too_busy(2.5, on=2) and not machine.too_busy(1.9, 2.05, on=2)


def test_a_worker_that_fails_is_told_from_one_that_lacks_something(tmp_path):
    args = bench.parse(['--quick', '--only=gcn_cora', f'--data_dir={tmp_path}'])
    skipped, = suite.compared(workloads.pair('gcn_cora'), args, {}, True)
    assert 'cora.npz is not in --data_dir' in skipped['skipped'] and skipped['target'] == 25
    with pytest.raises(pairs.Failed, match='no-such'):
        pairs.ask({'do': 'side', 'pair': 'lenet', 'side': 'no-such', 'steps': 1, 'repeats': 1, 'seeds': 1},
                  'ready', {})


def test_pmap_has_as_many_devices_as_there_are_cores():
    args = bench.parse(['--quick', '--only=level2_mnist', '--strategy=pmap'])
    env = {'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu', 'JAX_COMPILATION_CACHE_DIR': ''}
    row = suite.project('level2_mnist', 'pmap', args, env, True)
    assert row.get('devices') == machine.cores(), row
    assert set(row) == documented('field of a row') - {'utilisation'} | {'name', 'strategy'}    # shares come at the end
    step, compiled = row['step_s'], row['compile_s']
    assert 0 < step['p10'] <= step['p50'] <= step['p90'] and step['calls'] >= 3
    assert 0 < compiled['warm'] < compiled['cold']
    assert row['units_per_s'] == pytest.approx(row['units_per_step'] / step['p50'])
    assert row['flops']['analytic'] > 0 and row['flops']['xla'] > 0 and row['bytes'] > 0 and row['peak_bytes'] > 0


def documented(table: str) -> set[str]:
    """The names in the first column of a table of docs/benchmarks.md."""
    lines = (ROOT / 'docs/benchmarks.md').read_text(encoding='utf-8').splitlines()
    rows = itertools.takewhile(lambda line: line.startswith('|'), lines[lines.index(f'| {table} | what |') + 2:])
    return {name for row in rows for name in re.findall('`([a-z0-9_]+)`', row.split('|')[1])}


class Turns:
    """A side that writes its turns down."""
    def __init__(self, name: str, order: list):
        self.name, self.order = name, order

    def read(self, key: str) -> dict:
        return {'quality': {'accuracy': [0.9]}}

    def ring(self) -> None:
        pass

    def turn(self) -> dict:
        self.order.append(self.name)
        return {'wall': 1.0, 'cpu': 1.0}


def test_turns_alternate_and_the_load_is_that_of_all_of_them(monkeypatch):
    order, loads = [], iter([1.0, 0.5, 2.5, 0.7])
    monkeypatch.setattr(pairs, 'side', lambda pair, name, *_, **kwargs: contextlib.nullcontext(Turns(name, order)))
    monkeypatch.setattr(machine, 'load', lambda: next(loads))
    found = pairs.in_turn(workloads.pair('lenet')._replace(repeats=2), ['ours', 'other'], '', {}, single=False)
    assert order == ['ours', 'other'] * 3                       # the first round is not counted
    assert found['sides']['other']['wall_s'] == [1.0, 1.0]
    assert found['load'] == [0.5, 2.5] and machine.too_busy(*found['load'], on=2)


def test_sides_take_turns_and_learn_as_much():
    pair = workloads.pair('mnist_mlp')._replace(steps=31, repeats=2)
    sides = ['ours', 'torch_mlp.resident']
    found = pairs.in_turn(pair, sides, '', {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}, single=True)
    for name in sides:
        side = found['sides'][name]
        assert len(side['wall_s']) == len(side['cpu_s']) == 2 and min(side['wall_s'] + side['cpu_s']) > 0
        assert 0.5 < side['quality']['accuracy'][0] < 1
    row = pairs.conclude(pair, pair.peers[1], found, found, cores=10**6)
    assert row['wall_ratio'] > 0 and len(row['wall_ratios']) == 2
    json.dumps(row)


# ---- compare


def slower(factor: float, **more) -> dict:
    return {**ROW, 'step_s': {k: v * factor if k != 'calls' else v for k, v in ROW['step_s'].items()}, **more}


@pytest.mark.parametrize(('row', 'line'), [
    (slower(1.1), 'nothing beyond the noise: level2_mnist jit'),
    (slower(1.5), 'level2_mnist jit: step 1.50 x as long'),
    (slower(0.5), 'level2_mnist jit: step 2.00 x as fast'),
    (slower(1, bytes=1.02e7), 'level2_mnist jit: bytes +2.0%'),
    (slower(1, flops={'analytic': 1e8, 'xla': 3e8}), 'level2_mnist jit: XLA FLOPs +100.0%'),
    (slower(1, compile_s={'cold': 9.0, 'warm': 1.4}), 'level2_mnist jit: cold compilation 5.0 -> 9.0 s'),
    (slower(1, peak_bytes=None), 'level2_mnist jit: peak memory 20000000.0 -> None'),
    ({'name': 'level2_mnist', 'strategy': 'jit', 'failed': 'x'}, 'level2_mnist jit: measured -> failed'),
    ({**ROW, 'strategy': 'mesh'}, 'level2_mnist jit: only in the first'),
])
def test_compare_says_what_changed(row, line):
    assert line in compare.lines(result(), result([row]))


def test_compare_sees_ratios():
    fast, slow = concluded(), concluded(wall=TWO | {'torch_lenet': [1.1, 1.2, 1.0]})
    lines = compare.lines(result(two=[fast]), result(two=[slow]))
    assert 'lenet torch_lenet: ratio 2.00 -> 1.10' in lines
    assert compare.lines(result(two=[fast]), result(two=[fast])) == [
        'nothing beyond the noise: level2_mnist jit, lenet torch_lenet']
    busy = concluded(load=(9, 9))
    assert 'lenet torch_lenet: a wall ratio was refused in the second' in compare.lines(result(two=[fast]),
                                                                                       result(two=[busy]))


def test_percentiles_are_numpy_s():
    import numpy as np
    values = [3.0, 1.0, 2.0, 10.0, 5.0]
    assert list(compare.percentiles(values).values()) == pytest.approx(np.percentile(values, [10, 50, 90]))


def test_compare_refuses_what_cannot_be_compared(tmp_path, capsys):
    paths = [tmp_path / 'a.json', tmp_path / 'b.json']
    other = [(lambda r: r['machine'].update(device_kind='H100'), 'error: different machines: device_kind was cpu'),
             (lambda r: r.update(quick=True), 'error: one of the two is of --quick'),
             (lambda r: r.update(schema=0), f'error: {paths[1]}: schema 0, and this is schema 1'),
             (lambda r: r.pop('rows'), f'error: {paths[1]}: not a result of tools.bench')]
    for change, message in other:
        second = result()
        change(second)
        for path, found in zip(paths, (result(), second)):
            path.write_text(json.dumps(found))
        assert bench.main(['compare', *map(str, paths)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(message) and error.count('\n') == 1
    paths[1].write_text('{')
    assert bench.main(['compare', *map(str, paths)]) == 2


def test_the_table_shows_rows_and_why_there_are_none():
    rows = [ROW, {'name': 'a', 'strategy': 'pmap', 'skipped': 'jit alone'}]
    text = '\n'.join(table.lines(result(rows, [concluded()])))
    for part in ('1 ms', '100 k rows', '5.0 s', '150 M', '10 MB', '50%', 'a pmap: skipped: jit alone', '2.00', 'yes'):
        assert part in text, part


UNKEPT: set[str] = set()     # groups of which no run on a quiet machine was kept yet; docs/benchmarks.md says so


def test_the_kept_runs_are_whole():
    """What docs/bench_results.md shows: nothing quick, every comparison there is, and what failed measured since."""
    from tools import make_docs
    runs = sorted(make_docs.kept(make_docs.BENCH), key=lambda run: run['started'])
    assert runs and all(run['schema'] == bench.SCHEMA and not run['quick'] for run in runs)
    last = {(row['name'], row.get('strategy') or row['peer']): row
            for run in runs for row in (*run['rows'], *run['pairs'])}
    assert not [key for key, row in last.items() if 'failed' in row or row.get('refused')]
    assert {key for key in last if key[1] in bench.STRATEGIES} == {
        (name, strategy) for name in workloads.projects() for strategy in bench.STRATEGIES}
    for key, row in last.items():
        what = 'field of a row' if key[1] in bench.STRATEGIES else 'field of a pair'
        assert set(row) <= documented(what) | {'name', 'strategy', 'peer', 'skipped'}, key
    kept = {row['name'] for run in runs for row in run['pairs']}
    assert kept >= {pair.name for pair in workloads.PAIRS if pair.group not in UNKEPT}
    assert {pair.group for pair in workloads.PAIRS if pair.name not in kept} == UNKEPT
