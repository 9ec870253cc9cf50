"""FLOPs of a traced program: products by hand, loops, choices, and the formulas that were written without it."""
import jax
import jax.numpy as jnp
import optax
import pytest

from common import tasks
from levels.level2_neural.mlp import MLP
from levels.level3_vision.lenet import LeNet5
from tools.bench import flops, products

A, B = jnp.ones((3, 4)), jnp.ones((4, 5))
IMAGES, KERNEL = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 6))
FORWARD = 2.0 * (2 * 4 * 4 * 6) * 27


def counted(fn, *args):
    return products.count(jax.make_jaxpr(fn)(*args))


def conv(x, k, groups=1, stride=2):
    return jax.lax.conv_general_dilated(x, k, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                        feature_group_count=groups)


@pytest.mark.parametrize(('fn', 'args', 'flops_'), [
    (lambda a, b: a @ b, (A, B), 2 * 3 * 4 * 5),
    (jax.vmap(lambda a, b: a @ b, (0, None)), (jnp.ones((7, 3, 4)), B), 7 * 2 * 3 * 4 * 5),
    (lambda a, b: jnp.tanh(a) + b, (A, A), 0),
    (jax.jit(jax.checkpoint(jnp.matmul)), (A, B), 2 * 3 * 4 * 5),
    (conv, (IMAGES, KERNEL), FORWARD),
    (jax.grad(lambda x, k: conv(x, k).sum(), 1), (IMAGES, KERNEL), 2 * FORWARD),    # what comes before is traced too
    (jax.grad(lambda x, k: conv(x, k).sum()), (IMAGES, KERNEL), 2 * FORWARD),       # a stride's zeros cost nothing
    (lambda x, k: conv(x, k, groups=3, stride=1), (IMAGES, jnp.ones((3, 3, 1, 6))), 2 * (2 * 8 * 8 * 6) * 9),
    (lambda x, k: jax.grad(lambda k: conv(x, k, 3, 1).sum())(k), (IMAGES, jnp.ones((3, 3, 1, 6))),
     2 * 2 * (2 * 8 * 8 * 6) * 9),
    (lambda a: jax.lax.fori_loop(0, 5, lambda i, x: x @ x, a), (A[:3, :3],), 5 * 2 * 27),
    (lambda a: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, a), (A[:3, :3],), None),
    (lambda a: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, a) @ a, (A[:3, :3],), 2 * 27),
    (lambda a: jax.lax.cond(a[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, a), (A[:3, :3],), 4 * 27),
    (lambda a: jax.lax.platform_dependent(a, cpu=lambda x: x @ x @ x, default=lambda x: x @ x), (A[:3, :3],), 2 * 27),
])
def test_counts_by_hand(fn, args, flops_):
    assert counted(fn, *args) == flops_


@pytest.mark.parametrize(('model', 'image', 'formula'), [
    (MLP((64, 32), 10), (784,), flops.dense(4, (784, 64, 32, 10))), (LeNet5(), (28, 28, 1), flops.lenet(4))])
def test_a_training_step_is_the_formula_s(model, image, formula):
    batch = {'image': jnp.zeros((4, *image)), 'label': jnp.zeros(4, jnp.int32)}
    task = tasks.classifier(model, optax.adam(0.1))
    state = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert counted(task.step, jax.random.key(0), state, batch) == pytest.approx(formula, rel=1e-12)
