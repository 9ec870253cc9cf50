"""Replays the newest checkpoint of a run: one greedy episode, as text in the terminal or as a GIF.

    python -m projects.level6_cartpole.enjoy --workdir=runs/cartpole
    python -m projects.level6_cartpole.enjoy --workdir=runs/cartpole --gif=episode.gif --seed=3 --start=7

Nothing in the folder is changed.  A run that is still going is refused: its saves must not be touched.
"""
import argparse
import sys
import time
from pathlib import Path

from common import folder
from common.errors import RunError, UserError

PACKAGE = 'projects.level6_cartpole'


def load(workdir: Path, seed: int):
    """(agent, what acts, step) from the newest checkpoint of that seed (0 is the first of the run).

    Raises RunError where there is no such run or seed, RunLocked while it runs, CheckpointError where it is damaged.
    """
    import jax
    import jax.numpy as jnp

    from common import config as config_lib
    from common import data, program, wrappers
    from common.checkpoint import Checkpoints
    from projects.level6_cartpole.config import FIELDS
    from projects.level6_cartpole.experiment import build

    stored, env = (folder.read_json(workdir / name) for name in ('config.json', 'env.json'))
    if not stored or stored.get('project') != PACKAGE:
        raise RunError(f'{workdir}: expected the folder of a run of {PACKAGE}, found none')
    config, flags = config_lib.build(FIELDS, stored['config']), stored['flags']
    if not 0 <= seed < flags['seeds']:
        raise RunError(f'--seed={seed}: the run has {flags["seeds"]} seed(s), numbered from 0')
    in_turn = (env or {}).get('seed_mode') == 'turn'
    seeds = 1 if in_turn else flags['seeds']
    where = workdir / 'checkpoints' / (f'seed{config.seed + seed}' if in_turn else '')
    if not list(where.glob('0*')):
        raise RunError(f'{workdir} has no checkpoint yet')
    agent = build(config)
    source = data.constant(None)
    keys = [jax.random.key(config.seed + i) for i in range(seeds)]
    if seeds > 1:
        source, key = data.for_seeds([source] * seeds), jnp.stack(keys)
    else:
        key = keys[0]
    task = wrappers.with_guard(agent.task, flags['on_nan'], spike=flags['loss_spike'])
    example = jax.jit(program.make_start(task, source))(key, None, None)
    lock = folder.Lock(workdir / 'run.lock')        # Checkpoints removes what an unfinished save left behind
    lock.acquire()
    try:
        carry = Checkpoints(where, asynchronous=False).restore(example).carry
    finally:
        lock.release()
    params = agent.params(carry.state.inner)
    return agent, jax.tree.map(lambda x: x[seed], params) if seeds > 1 else params, int(carry.step)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f'{PACKAGE}.enjoy', description=__doc__.splitlines()[0])
    parser.add_argument('--workdir', type=Path, required=True, help='folder of the run')
    parser.add_argument('--seed', type=int, default=0, help='which seed of the run, from 0')
    parser.add_argument('--start', type=int, default=0, help='which start of the episode: any number')
    parser.add_argument('--gif', type=Path, help='write a GIF there in place of text')
    parser.add_argument('--every', type=int, default=25, help='print every so many steps, where it is not a terminal')
    args = parser.parse_args(argv)
    try:
        agent, params, step = load(args.workdir, args.seed)
    except UserError as e:
        print(f'error: {e}', file=sys.stderr)
        return e.exit_code

    import jax

    from projects.level6_cartpole import draw
    from projects.level6_cartpole.experiment import episode

    obs = episode(agent, params, jax.random.key(args.start))
    if args.gif:
        draw.gif(obs, f'{agent.env.name} after {step} training steps: {len(obs)} steps', args.gif)
        print(args.gif)
    else:
        replay(obs, max(1, args.every))
    print(f'return {len(obs)} after {step} training steps')
    return 0


def replay(obs, every: int) -> None:
    """On a terminal an animation at the speed of the game, else some of its frames one below the other."""
    from projects.level6_cartpole.draw import SECONDS, text
    live = sys.stdout.isatty()
    for t, state in enumerate(obs):
        if live:
            print('\033[H\033[J' + text(state) + f'\nstep {t}', flush=True)
            time.sleep(SECONDS)
        elif t % every == 0 or t == len(obs) - 1:
            print(text(state) + f'\nstep {t}\n')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
