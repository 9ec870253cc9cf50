"""Our side of the convolutional networks: trained through `loop.fit`, or asked for logits; on one device or several."""
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import data, strategies, tasks
from common.task import Task
from levels.level3_vision.weights import bridge
from tools.bench import vision
from tools.bench.forms import Pair


class Given(NamedTuple):
    """A model that begins with these variables: what `tasks` asks of a Linen model."""
    model: Any
    variables: dict
    apply: Callable

    def init(self, rngs, x, *, train: bool) -> dict:
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.variables)
        return jax.pure_callback(lambda: self.variables, like)      # as constants they would be part of the program


def network(pair: Pair) -> Given:
    net, side = vision.NETS[pair.sizes['net']], pair.sizes['side']
    options = {**net.options, **(net.small[0] if side == vision.SMALL else {})}
    model = vision.at(net.path)(**options, n_classes=vision.CLASSES)
    image = (side, side, 3)
    like = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *image))))
    like = bridge.to_names(model, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like), 'torchvision', image=image)
    state = {name: vision.weight(name, x.shape) for name, x in like.items() if x.ndim}
    return Given(model, bridge.from_names(model, state, 'torchvision', image=image), model.apply)


def shared_by() -> int:
    """How many devices a batch is split among: those that the process was given on a CPU, elsewhere one, as the peer's.
    """
    return jax.local_device_count() if jax.default_backend() == 'cpu' else 1


def train(pair: Pair) -> tuple[Task, data.Source]:
    given = vision.images(pair)
    order = data.Order(len(given['label']), pair.sizes['batch'], shuffle=False)
    return tasks.classifier(network(pair), optax.sgd(vision.RATE, vision.MOMENTUM)), data.resident(given, order)


def infer(pair: Pair, bell) -> None:
    began = time.perf_counter()
    net, given, size = network(pair), vision.images(pair), pair.sizes['batch']
    among = strategies.mesh({'data': shared_by()})
    variables = among.resident(net.variables)
    batches = [among.batch({k: v[i:i + size] for k, v in given.items()}, 0)
               for i in range(0, len(given['label']), size)]

    def loss(variables, batch):
        logits = net.apply(variables, batch['image'], train=False)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch['label']))

    ask = jax.jit(loss).lower(variables, batches[0]).compile()
    bell.send(ready={'compile_s': time.perf_counter() - began})
    done = 0
    for _ in range(pair.repeats + 1):
        bell.wait()
        losses = []
        for _ in range(pair.steps):
            losses.append(ask(variables, batches[done % len(batches)]))
            done += 1
        jax.block_until_ready(losses)
        bell.report()
    bell.wait()
    bell.judged({'loss': float(sum(losses) / len(losses))})
