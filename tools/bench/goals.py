"""Time to accuracy: the same network and recipe on both sides, in turns, until each has passed a test accuracy.  No JAX
here.

A turn is `steps` steps, after which the accuracy is looked at, untimed.  What is compared are the sums of a side's
turns, of several seeds; a peer's trials come before, our first call and its warming up are in.
"""
import contextlib
import statistics

from tools.bench import machine, pairs
from tools.bench.forms import Pair, Peer


def in_turn(pair: Pair, sides: list[str], data_dir: str, env: dict, seed: int) -> dict:
    """side -> what it said: seconds and accuracy of each turn up to the goal, its configuration."""
    found: dict[str, dict] = {}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in sides:
            workers[name] = stack.enter_context(pairs.side(pair, name, data_dir, env, single=False, seed=seed))
            found[name] = {'ready': workers[name].read('ready'), 'wall_s': [], 'accuracy': []}
        loads = [machine.load()]
        for _ in range(pair.repeats):
            for name in [n for n in workers if not passed(pair, found[n])]:
                turn = workers[name].turn()
                found[name]['wall_s'].append(turn['wall'])
                found[name]['accuracy'].append(turn[pair.quality.name])
            loads.append(machine.load())
    return {'sides': found, 'load': [min(loads), max(loads)]}


def passed(pair: Pair, said: dict) -> bool:
    return bool(said['accuracy']) and said['accuracy'][-1] >= pair.goal


def conclude(pair: Pair, peer: Peer, runs: list[dict], cores: int) -> dict:
    """One row of the JSON: seconds and steps to the goal of each seed, and the ratio of their medians."""
    loads = [load for run in runs for load in run['load']]
    sides = {'ours': [run['sides']['ours'] for run in runs], 'theirs': [run['sides'][peer.name] for run in runs]}
    row = {'name': pair.name, 'peer': peer.name, 'what': pair.what, 'target': peer.target, 'unit': pair.unit,
           'goal': pair.goal, 'load': [min(loads), max(loads)]}
    missed = [f'{name}, seed {seed}: {said["accuracy"][-1]:.4f}' for name, all_ in sides.items()
              for seed, said in enumerate(all_) if not passed(pair, said)]
    if missed:
        return row | {'failed': f'{pair.goal} not reached in {pair.repeats * pair.steps} steps: {"; ".join(missed)}'}
    busy = machine.too_busy(*loads, on=cores)
    seconds = {name: [sum(said['wall_s']) for said in all_] for name, all_ in sides.items()}
    last = {name: [said['accuracy'][-1] for said in all_] for name, all_ in sides.items()}
    steps = {name: [pair.steps * len(said['wall_s']) for said in all_] for name, all_ in sides.items()}
    ratio = statistics.median(seconds['theirs']) / statistics.median(seconds['ours'])
    return row | {
        'wall_s': seconds, 'steps_to_goal': steps, 'wall_ratio': None if busy else ratio,
        'wall_ratios': None if busy else [b / a for a, b in zip(seconds['ours'], seconds['theirs'])],
        'refused': f'load {max(loads)} on {cores} cores' if busy else None,
        'cpu_ratio_one_thread': None, 'target_one_thread': None, 'met_one_thread': None, 'met': None,
        'ours': sides['ours'][0]['ready'], 'theirs': sides['theirs'][0]['ready'],
        'quality': pairs.judge(pair.quality, last['ours'], last['theirs']) | {'equal': True}}     # both have passed


def measure(pair: Pair, data_dir: str, env: dict[str, str]) -> list[dict]:
    """The rows of a pair, one for each peer."""
    sides = ['ours', *(p.name for p in pair.peers)]
    runs = [in_turn(pair, sides, data_dir, env, seed) for seed in range(pair.seeds)]
    return [conclude(pair, p, runs, machine.cores()) for p in pair.peers]
