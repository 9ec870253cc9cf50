"""The table of what is measured: the projects, and the work that a peer does as well.  No JAX here.

A project is measured by its own run, `--config=full`, caught where it calls `loop.fit` (`projects.py`); so a new
project needs no entry.  A pair is one piece of work done by us (`ours.py`) and by peers (`peers/`), with the ratio that
is to be reached: the peer's wall time over ours, on a quiet machine, both sides compiled, at equal quality.  Those of
the estimators of level 1 come from the table in `classical/`, those of the networks of level 3 from `vision`, and
what is timed up to an accuracy is measured by `goals`.
"""
from pathlib import Path

from tools.bench import classical, vision
from tools.bench.classical import table
from tools.bench.forms import Pair, Peer, Quality

ROOT = Path(__file__).resolve().parents[2]
# what each project's run is told so that it gets to its first step sooner; none of it changes a step
ARGV = {'level2_mnist': ['--config.baseline_rows=0'],
        'level5_mini_gpt': ['--config.ngram=0', '--config.sample_every=0']}
SOLVER = {'level1_house_prices': 1}     # of its calls of `spread.compile` the one to measure, from 0: the ridge's


def _ppo(envs: int, target: float, steps: int) -> Pair:
    return Pair(f'ppo_{envs}', f'PPO on CartPole-v1, {envs} environments x 128 steps, 4 passes of 4 minibatches, '
                'two hidden layers of 64 for each of policy and value', (Peer('sb3_ppo', target),), 'env_steps',
                envs * 128, steps, 6, Quality('return', 'higher', 25.0),
                {'n_envs': envs, 'horizon': 128, 'epochs': 4, 'minibatches': 4, 'rate': 1e-3, 'entropy': 0.01},
                seeds=10, own_cores=True)


NETS = (
    Pair('mnist_mlp', 'MLP 784-64-64-10, batch 64, Adam, epochs of 62 batches over mnist_5k',
         (Peer('torch_mlp.dataloader', 4.0), Peer('torch_mlp.resident', 2.5)), 'examples', 64, 620, 7,
         Quality('accuracy', 'higher', 0.015), {'hidden': (64, 64), 'batch': 64, 'rate': 1e-3}, own_cores=True),
    Pair('lenet', 'LeNet-5, batch 128, Adam, epochs of 31 batches over mnist_5k', (Peer('torch_lenet', 0.75),),
         'examples', 128, 124, 7, Quality('accuracy', 'higher', 0.015), {'batch': 128, 'rate': 1e-3}),
    Pair('gpt', 'GPT of 4 layers, width 128, 4 heads, 64 tokens, batch 12, AdamW, on the King James Bible',
         (Peer('torch_gpt', 1.1),), 'tokens', 768, 25, 9, Quality('loss', 'lower', 0.05), {}),
    _ppo(4, 15.0, 10), _ppo(16, 8.0, 8), _ppo(64, 5.0, 4),
    Pair('gcn_cora', 'GCN of two layers (16, 7) on Cora, full batch, dropout 0.5, Adam with weight decay',
         (Peer('pyg_gcn', 25.0),), 'nodes', 2708, 30, 7, Quality('accuracy', 'higher', 0.03),
         {'hidden': 16, 'dropout': 0.5, 'rate': 0.01, 'decay': 5e-4}, 'cora.npz', own_cores=True),
    Pair('ridge_cv', 'ridge on hprice2 with products of features, 10 folds x 200 penalties',
         (Peer('sklearn_ridge', 20.0),), 'fits', 2000, 1, 5, Quality('r2', 'higher', 1e-3),
         {'folds': 10, 'alphas': 200}),
)


def _goal(name: str, what: str, goal: float, sizes: dict, steps: int, looks: int, data: str) -> Pair:
    return Pair(name, f'{what}, to a test accuracy of {goal}', (Peer('torch_goals.eager', None),), 'images',
                sizes['batch'], steps, looks, Quality('accuracy', 'higher', 0.0), sizes, data, seeds=3, group='goals',
                one_thread=False, goal=goal)


GOALS = (
    _goal('mnist_to_99', 'LeNet-5 on MNIST, batch 128, Adam, shifts of up to 2 pixels, one cycle in 8 epochs', 0.99,
          {'batch': 128, 'rate': 3e-3, 'climb': 0.25, 'crop': 2}, 117, 32, 'mnist.npz'),
    _goal('cifar10_to_60', 'ResNet-9 of level3_cifar10 --config=subset, its recipe', 0.6, {'batch': 32}, 104, 18,
          'cifar10_subset.npz'),
)
PAIRS = NETS + vision.PAIRS + GOALS + classical.pairs(table.ROWS)


def projects() -> list[str]:
    """Every project of the repository."""
    return sorted(p.parent.name for p in (ROOT / 'projects').glob('*/experiment.py'))


def pair(name: str) -> Pair:
    return next(p for p in PAIRS if p.name == name)


def groups() -> dict[str, list[str]]:
    """Names for several pairs at once."""
    found: dict[str, list[str]] = {}
    for p in PAIRS:
        if p.group:
            found.setdefault(p.group, []).append(p.name)
    return found


def names() -> list[str]:
    """What `--only` takes."""
    return [*projects(), *groups(), *(p.name for p in PAIRS)]


def shown() -> list[str]:
    """The same for the help: of a group its name alone."""
    inside = {name for names in groups().values() for name in names}
    return [name for name in names() if name not in inside]
