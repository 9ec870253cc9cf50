"""One task that learns the source task first, and then, for each number of pictures, three networks side by side."""
import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from common import optim, tasks
from common.metrics import merge
from common.optim import Fit
from common.task import Task
from common.wrappers import with_augment, with_transform
from levels.level3_vision import finetune
from levels.level3_vision.augment import chain, random_crop, random_flip
from levels.level3_vision.resnet import ResNet

PyTree = Any
ARMS = ('scratch', 'probe', 'finetune')
BODY = '^(stem|stage)'
AUGMENT = chain(random_flip, partial(random_crop, padding=2))


class Learner(NamedTuple):
    """The source network, and of each arm the networks for all sizes, stacked [sizes, ...]."""

    source: Fit
    arms: dict[str, Fit]


def network(c, classes: int) -> ResNet:
    """The network of a config."""
    return ResNet(blocks=c.blocks, width=c.width, n_classes=classes, stem='cifar', dtype=jnp.dtype(c.dtype))


def scaled(batch: dict) -> dict:
    """Pixels 0..255 as 0..1."""
    return {**batch, 'image': batch['image'].astype(jnp.float32) / 255}


def turned(batch: dict) -> dict:
    """Rows 0, 1, 2, 3, 0, ... turned by as many right angles, which become their labels (Gidaris et al. 2018)."""
    turns = jnp.arange(len(batch['image']), dtype=jnp.int32) % 4
    image = jnp.select([(turns == k)[:, None, None, None] for k in range(4)],
                       [jnp.rot90(batch['image'], k, (1, 2)) for k in range(4)])
    return {**batch, 'image': image, 'label': turns}


def falling(peak: float, steps: int) -> optax.Schedule:
    """A tenth of the way up, then half a cosine down."""
    return optax.warmup_cosine_decay_schedule(0.0, peak, max(1, steps // 10), max(2, steps), end_value=peak / 100)


def arm(c, name: str, trained: PyTree) -> Task:
    """How one arm learns cats and dogs; `trained` are the variables of the source network."""
    steps = (c.steps - c.source_steps) // len(c.sizes)
    model, policy = network(c, 2), optim.Policy(jnp.dtype(c.dtype))
    adam = lambda peak: optax.adamw(falling(peak, steps), weight_decay=c.weight_decay)
    match name:
        case 'scratch':
            return tasks.classifier(model, adam(c.rate), policy=policy)
        case 'probe':
            return finetune.finetuner(model, trained, adam(c.probe_rate), frozen=BODY, policy=policy)
        case 'finetune':
            slower = finetune.with_factors(adam(c.rate), partial(finetune.layer_decay, decay=c.layer_decay))
            return finetune.finetuner(model, trained, slower, norms='train', policy=policy)
    raise ValueError(f'name: expected one of {", ".join(ARMS)}; found {name!r}')


def build(c, classes: int) -> Task:
    """Step by step as `problem.source` says in its batches: the source task, then one size after another."""
    adam = optax.adamw(falling(c.source_rate, c.source_steps), weight_decay=c.weight_decay)
    first = tasks.classifier(network(c, classes), adam, policy=optim.Policy(jnp.dtype(c.dtype)))
    first = with_transform(first, turned) if c.pretext == 'turns' else first
    pairs = lambda source: {name: arm(c, name, {'params': source.params, **source.extra}) for name in ARMS}

    def init(key, batch):
        """For each size of its own key; all arms begin with the same new head."""
        source_key, key = jax.random.split(key)
        source = first.init(source_key, batch)
        many = lambda task: jax.vmap(task.init, (0, None))(jax.random.split(key, len(c.sizes)), batch)
        return Learner(source, {name: many(task) for name, task in pairs(source).items()})

    def step(key, state, batch):
        which = jnp.maximum(batch['size'][0], 0)

        def learn_source(state):
            source, metrics = first.step(key, state.source, batch)
            return state._replace(source=source), metrics

        def learn_pets(state):
            """All arms see the same pictures, changed in the same way."""
            def one(name, task):
                fit = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, which, 0, False), state.arms[name])
                if name != 'scratch':
                    fit = onto(fit, state.source, batch['first'][0] > 0)
                fit, metrics = task.step(key, fit, batch)
                put = lambda x, new: jax.lax.dynamic_update_index_in_dim(x, new, which, 0)
                return jax.tree.map(put, state.arms[name], fit), metrics

            done = {name: one(name, task) for name, task in pairs(state.source).items()}
            total = functools.reduce(merge, [metrics for _, metrics in done.values()])
            return state._replace(arms={name: fits for name, (fits, _) in done.items()}), total

        return jax.lax.cond(batch['size'][0] < 0, learn_source, learn_pets, state)

    task = with_transform(Task(init, step), scaled)
    return with_augment(task, AUGMENT) if c.augment else task


def onto(fit: Fit, source: Fit, now: Array) -> Fit:
    """Where `now` is true, the body of the source network under the head of `fit`; else `fit` as it is."""
    mine, theirs = ({'params': f.params, **f.extra} for f in (fit, source))
    new = jax.tree.map(lambda a, b: jnp.where(now, a, b), finetune.transplant(mine, theirs), mine)
    return fit._replace(params=new.pop('params'), extra=new)


def logits(c, classes: int) -> Callable:
    """(state, pictures of the source test, of cats and dogs) -> (source logits [n, classes], {arm: [sizes, m, 2]})."""
    def of(fit: Fit, k: int, images: Array) -> Float[Array, 'n k']:
        return network(c, k).apply({'params': fit.params, **fit.extra}, images).astype(jnp.float32)

    @jax.jit
    def fn(state: Learner, known, pets):
        x = scaled({'image': pets})['image']
        arms = {name: jax.lax.map(lambda fit: of(fit, 2, x), fits) for name, fits in state.arms.items()}
        return of(state.source, classes, known), arms

    return fn


def baselines(pictures: dict[str, np.ndarray], test: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """Test accuracy of two classical models on the pixels of these rows."""
    flat = lambda images: images.reshape(len(images), -1) / 255.0
    models = {'logistic regression': LogisticRegression(max_iter=500), 'RBF SVM': SVC(C=5)}
    return {name: float(m.fit(flat(pictures['image'][rows]), pictures['label'][rows]).score(
        flat(test['image']), test['label'])) for name, m in models.items()}
