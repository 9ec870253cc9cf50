"""Transfer learning and fine-tuning: begin with trained weights, hold some of them, move the others at their own pace.

    variables = bridge.load(model, 'resnet18.pth', 'torchvision')
    task = finetuner(model.clone(n_classes=10), variables, tx, frozen='^(stem|stage)')     # a linear probe
    task = finetuner(..., with_factors(tx, partial(layer_decay, decay=0.7)))                # all, early layers slower
    task = finetuner(..., gradual(tx, (('^head/', 0), ('^stage4', 200), ('.', 400))))       # one group after another
    task = wrappers.with_ema(task, 0.999)

Formula: of a group of parameters with factor c that starts at step s, w <- w + c u for the optimiser's update u from
    step s on, and w unchanged before.
Paper: Yosinski, Clune, Bengio, Lipson 2014, How transferable are features in deep neural networks?; Howard, Ruder 2018,
    Universal language model fine-tuning, sections 3.2 (rates by layer) and 3.3 (gradual unfreezing); Bao et al. 2022,
    BEiT (decay of the rate by depth).
Patterns are regexes of parameter paths ('stage1_0/conv2/kernel'), searched as in `optim.freeze`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from common import tasks, trees
from common.optim import freeze
from common.task import Task

PyTree = Any
NORMS = ('frozen', 'train', 'hold')
Groups = Sequence[tuple[str, float]]


def transplant(fresh: PyTree, trained: PyTree, *, head: str = '(^|/)head/') -> PyTree:
    """Trained weights with a new head: leaves of `fresh` whose path matches `head`, all others of `trained`.

    Formula: w = fresh where the path matches, trained elsewhere.
    Paper: Yosinski, Clune, Bengio, Lipson 2014, How transferable are features in deep neural networks?
    Shapes: two trees with the same paths, and the same shapes outside the head -> a tree like `fresh`.
    Errors: ValueError when the pattern matches nothing, or a path outside the head is missing, left over or of another
        shape.
    Example:
        fresh = {'body': {'kernel': jnp.zeros(3)}, 'head': {'kernel': jnp.zeros(2)}}
        trained = {'body': {'kernel': jnp.ones(3)}, 'head': {'kernel': jnp.ones(10)}}
        new = transplant(fresh, trained)
        assert (new['body']['kernel'] == 1).all() and (new['head']['kernel'] == 0).all()
    """
    old, new = trees.named_leaves(trained), trees.named_leaves(fresh)
    body = lambda leaves: {path: x for path, x in leaves.items() if not re.search(head, path)}
    if len(body(new)) == len(new):
        raise ValueError(f'head: expected a pattern that matches some path; found {head!r}')
    shapes = lambda leaves: {path: jnp.shape(x) for path, x in body(leaves).items()}
    if (found := shapes(old)) != (expected := shapes(new)):
        wrong = sorted(p for p in found.keys() | expected.keys() if found.get(p) != expected.get(p))
        raise ValueError(f'trained: expected the layers of the new model outside {head!r}; '
                         f'found a difference in {", ".join(wrong)}')
    return trees.map_named(lambda path, x: x if re.search(head, path) else jnp.asarray(old[path]), fresh)


class _Begun(NamedTuple):
    """A Linen model that is initialised with trained weights, and takes no gradient of those that are frozen."""

    model: nn.Module
    trained: Mapping[str, Any]
    head: str
    frozen: str

    def init(self, key: Array, x: Array, **kwargs) -> dict[str, Any]:
        made = dict(self.model.init(key, x, **kwargs))
        kinds = [kind for kind in ('params', 'batch_stats') if kind in made]
        if not self.head:
            return made | {kind: jax.tree.map(jnp.asarray, self.trained[kind]) for kind in kinds}
        return made | transplant({kind: made[kind] for kind in kinds},
                                 {kind: self.trained[kind] for kind in kinds if kind in self.trained}, head=self.head)

    def apply(self, variables: Mapping[str, Any], x: Array, **kwargs) -> Any:
        held = lambda path, p: jax.lax.stop_gradient(p) if self.frozen and re.search(self.frozen, path) else p
        return self.model.apply({**variables, 'params': trees.map_named(held, variables['params'])}, x, **kwargs)


def finetuner(model: nn.Module, trained: Mapping[str, Any], tx: optax.GradientTransformation, *, frozen: str = '',
              head: str = '(^|/)head/', norms: str = 'frozen', **kwargs) -> Task:
    """`tasks.classifier` that goes on from trained variables.

    What matches `frozen` never changes, has no optimiser state and no gradient (so a frozen stem costs no backward
    pass). What matches `head` begins anew, with each seed's own key; '' keeps the trained head. `norms`: 'frozen' lets
    batch norms in frozen layers keep their running statistics in training too, as the network that was trained had
    them; 'hold' does so in all, 'train' in none.
    Raises ValueError for an unknown mode, and at init as `transplant` and `optim.freeze`.
    """
    if norms not in NORMS:
        raise ValueError(f'norms: expected one of {", ".join(NORMS)}; found {norms!r}')
    held = {'frozen': frozen, 'hold': '.', 'train': ''}[norms]
    if hasattr(model, 'frozen_norms'):
        model = model.clone(frozen_norms=held)
    elif norms == 'hold':
        raise ValueError(f"norms: expected a model that can hold them for 'hold'; found {type(model).__name__}")
    return tasks.classifier(_Begun(model, trained, head, frozen), freeze(tx, frozen) if frozen else tx, **kwargs)


def depths(params: Mapping[str, Any]) -> dict[str, int]:
    """{'stem_conv': 0, 'stem_norm': 0, 'stage1_0': 1, ..., 'head': 12}: how deep each part of a network stands.

    Parts whose names hold the same numbers (conv1_1, norm1_1) are one layer.
    """
    def order(name: str) -> tuple:
        numbers = tuple(map(int, re.findall(r'\d+', name)))
        if name.startswith('stem'):
            return (0,)
        return (1, *numbers) if numbers else ({'last': 3, 'dense': 4, 'head': 5}.get(name.partition('_')[0], 2),)

    ranks = sorted({order(name) for name in params})
    return {name: ranks.index(order(name)) for name in sorted(params, key=order)}


def layer_decay(params: Mapping[str, Any], *, decay: float = 0.75) -> PyTree:
    """A factor for the rate of each parameter: 1 for the head, `decay` less for each layer below it.

    Formula: c = decay^(L - l) in layer l of L, the head being layer L (see `depths`).
    Paper: Howard, Ruder 2018, Universal language model fine-tuning, section 3.2 (decay 1 / 2.6).
    Shapes: parameters of a network of this level -> the same tree, of numbers.
    Errors: ValueError unless 0 < decay <= 1.
    Example:
        params = {name: {'kernel': jnp.ones(3)} for name in ('stem_conv', 'stage1_0', 'head')}
        factors = layer_decay(params, decay=0.5)
        assert factors['head']['kernel'] == 1 and factors['stage1_0']['kernel'] == 0.5
        assert factors['stem_conv']['kernel'] == 0.25
    """
    if not 0 < decay <= 1:
        raise ValueError(f'decay: expected 0 < decay <= 1; found {decay}')
    where = depths(params)
    return trees.map_named(lambda path, _: decay ** (max(where.values()) - where[path.partition('/')[0]]), params)


def _group_of(params: PyTree, groups: Groups) -> PyTree:
    """The number of the first group that each path matches; ValueError for a path or a group without the other."""
    def first(path: str, _: Any) -> int:
        return next((i for i, (pattern, _) in enumerate(groups) if re.search(pattern, path)), -1)

    found = trees.map_named(first, params)
    if rest := [path for path, i in trees.named_leaves(found).items() if i < 0]:
        raise ValueError(f'groups: expected a pattern for every parameter; found none for {rest[0]}')
    if idle := set(range(len(groups))) - set(jax.tree.leaves(found)):
        raise ValueError(f'groups: expected every pattern to match; found none for {groups[min(idle)][0]!r}')
    return found


def by_pattern(params: PyTree, *, groups: Groups) -> PyTree:
    """A factor for each parameter: that of the first pattern its path matches, as in (('^head/', 1), ('.', 0.1)).

    Raises ValueError for a parameter without a pattern, and for a pattern without a parameter.
    """
    return jax.tree.map(lambda i: groups[i][1], _group_of(params, groups))


def with_factors(tx: optax.GradientTransformation, factors: Callable[[PyTree], PyTree]) -> optax.GradientTransformation:
    """`tx` with a rate of its own for each parameter: its update times the factor, which is what groups of parameters
    with rates of their own do in torch (decoupled weight decay is a part of the update).

    factors: parameters -> numbers, as `functools.partial(layer_decay, decay=0.7)`.
    """
    def update(updates: PyTree, params: PyTree) -> PyTree:
        return jax.tree.map(lambda u, c: u * jnp.asarray(c, u.dtype), updates, factors(params))

    return optax.chain(tx, optax.stateless(update))


class Gradual(NamedTuple):
    """State of `gradual`: updates so far, and the optimiser's state of each group."""

    count: Int[Array, '']
    inner: tuple


def gradual(tx: optax.GradientTransformation, groups: Groups) -> optax.GradientTransformation:
    """`tx` for each group from its own step on, as in (('^head/', 0), ('^stage4', 200), ('.', 400)).

    Before its step no bit of a group changes, and its optimiser has not begun: momentum and the like start then.
    Raises ValueError at init for a parameter without a group, and for a group without a parameter.
    """
    def parts(tree: PyTree, params: PyTree) -> list[PyTree]:
        where = _group_of(params, groups)
        return [jax.tree.map(lambda x, i, g=g: x if i == g else optax.MaskedNode(), tree, where)
                for g in range(len(groups))]

    def init(params: PyTree) -> Gradual:
        return Gradual(jnp.zeros((), jnp.int32), tuple(map(tx.init, parts(params, params))))

    def update(updates: PyTree, state: Gradual, params: PyTree) -> tuple[PyTree, Gradual]:
        moves, inner = [], []
        for (_, start), u, p, old in zip(groups, parts(updates, params), parts(params, params), state.inner):
            begun = state.count >= start
            move, new = tx.update(u, old, p)
            # -0: added to a number it changes no bit of it, not even the sign of a zero
            moves.append(jax.tree.map(lambda m, begun=begun: jnp.where(begun, m, jnp.full_like(m, -0.0)), move))
            inner.append(jax.tree.map(lambda a, b, begun=begun: jnp.where(begun, a, b), new, old))
        empty = lambda x: isinstance(x, optax.MaskedNode)
        joined = jax.tree.map(lambda *each: next(x for x in each if not empty(x)), *moves, is_leaf=empty)
        return joined, Gradual(state.count + 1, tuple(inner))

    return optax.GradientTransformation(init, update)
