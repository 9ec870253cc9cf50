"""Floating-point operations of one step of each project, by formula: what a step must do, not what XLA makes of it.

A product [m, k] x [k, n] is 2 m k n.  Its two gradients are as much each; the one with respect to data is never taken.
Elementwise work is left out, but for what a formula says.  One device's share is this over the devices.
"""
import itertools
import math
from collections.abc import Callable, Sequence

import jax

from tools.bench import products


def dense(rows: int, widths: Sequence[int], *, input_grad: bool = False) -> float:
    """Forward and both gradients of dense layers."""
    macs = [a * b for a, b in itertools.pairwise(widths)]
    return 2.0 * rows * (3 * sum(macs) - (0 if input_grad else macs[0]))


def forward(rows: int, widths: Sequence[int]) -> float:
    return 2.0 * rows * sum(a * b for a, b in itertools.pairwise(widths))


def lenet(rows: int) -> float:
    """LeNet-5 on 28 x 28: two convolutions (28 x 28 x 25 x 6, 10 x 10 x 150 x 16), then 400-120-84-10."""
    first, second = 28 * 28 * 25 * 6, 10 * 10 * 150 * 16
    return 2.0 * rows * (2 * first + 3 * second) + dense(rows, (400, 120, 84, 10), input_grad=True)


def mnist(c) -> float:
    return dense(c.batch_size, (784, *c.hidden, 10)) if c.model == 'mlp' else lenet(c.batch_size)


def muon(layers: int, width: int, iterations: int) -> float:
    """Newton-Schulz on the four matrices of each block: X X' and its product with X, 2 m m n each; A A, 2 m^3."""
    one = lambda m, n: iterations * (4.0 * m * m * n + 2.0 * m**3)
    return layers * (one(width, 3 * width) + one(width, width) + 2 * one(width, 4 * width))


def gpt(c, vocab: int = 76) -> float:
    """6 per weight and token, 12 T d per layer and token for attention (the masked half included); tied head."""
    tokens = c.batch_size * c.context
    weights = c.layers * 12 * c.width**2 + vocab * c.width
    step = tokens * (6.0 * weights + 12.0 * c.layers * c.context * c.width)
    return step + (muon(c.layers, c.width, c.muon_steps) if c.optimizer == 'muon' else 0)


def ppo(c, features: int = 4, actions: int = 2) -> float:
    """Acting, both networks once on what was seen and the critic on what followed, then every pass with gradients."""
    rows, actor, critic = c.n_envs * c.horizon, (features, *c.hidden, actions), (features, *c.hidden, 1)
    seen = 2 * forward(rows, actor) + 2 * forward(rows, critic)
    return seen + c.epochs * (dense(rows, actor) + dense(rows, critic))


def links(c, data) -> float:
    """A GCN on sparse features (rows of the kernel added up, and back), messages and loops over its edges, a product of
    widths for each node, and the decoder on as many negatives as links."""
    bag, (first, *_, last) = data['features'], c.features
    edges = data['message'].shape[-1] + bag.shape[0]
    encoder = 4.0 * len(bag.row) * first + 4.0 * edges * sum(c.features) + sum(
        dense(bag.shape[0], pair, input_grad=True) for pair in itertools.pairwise(c.features))
    decoder = (last, *c.decoder_hidden, 1) if c.decoder == 'mlp' else (last, 1)
    return encoder + dense(2 * c.batch_size, decoder, input_grad=True)


def ridge(c, data) -> float:
    """For each fold: the Gram matrix of all products of features, its eigenvectors (9 p^3), and for each penalty the
    coefficients and a prediction of every row."""
    (_, x, *_), (train, _) = data
    rows, p = len(x), math.comb(x.shape[1] + c.degree, c.degree) - 1
    return len(train) * (2.0 * rows * p**2 + 9.0 * p**3 + c.alphas * (2.0 * p**2 + 2.0 * rows * p))


OF: dict[str, Callable] = {
    'level1_house_prices': ridge, 'level2_mnist': lambda c, _: mnist(c), 'level5_mini_gpt': lambda c, _: gpt(c),
    'level6_cartpole': lambda c, _: ppo(c), 'level7_link_prediction': links}


def of(name: str, config, data, traced: tuple[Callable, tuple]) -> float | None:
    """FLOPs of a step: by the formula, `data` being what it reads, or where none is written down the products of
    `traced` = (function, arguments); None where a loop's length is known only when it runs."""
    return OF[name](config, data) if name in OF else products.count(jax.make_jaxpr(traced[0])(*traced[1]))
