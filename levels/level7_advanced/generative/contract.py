"""What every generative model is: a Task that learns it, and a function that draws from it."""
from collections.abc import Callable
from typing import NamedTuple

from common.task import Task


class Generative(NamedTuple):
    """task: its state is whatever the model needs.  sample(key, state, n) -> n examples; pure, n is static.

        model = gan(...)
        fitted = loop.fit(model.task, source, ...)
        x = jax.jit(model.sample, static_argnums=2)(key, fitted.carry.state, 64)
    """
    task: Task
    sample: Callable
