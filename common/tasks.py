"""Ready tasks for Linen models: softmax classification and regression."""
import jax
import jax.numpy as jnp
import optax

from common import metrics as M
from common.optim import gradient_task
from common.task import Task


def _init_params(model, field: str):
    def init(key, batch):
        variables = dict(model.init({'params': key}, jnp.asarray(batch[field])[:1], train=False))
        params = variables.pop('params')
        variables.pop('intermediates', None)
        return params, variables
    return init


def _apply(model, params, extra, x, key, train):
    """(output in float32, collections after it)."""
    out = model.apply({'params': params, **extra}, x, train=train, rngs={'dropout': key} if train else None,
                      mutable=list(extra) if train and extra else False)
    out, extra = out if train and extra else (out, extra)
    return out.astype(jnp.promote_types(out.dtype, jnp.float32)), extra


def classifier(model, tx: optax.GradientTransformation, *, image: str = 'image', label: str = 'label',
               smoothing: float = 0.0, **kwargs) -> Task:
    """Softmax cross-entropy of `model(batch[image], train=...)` -> logits [batch, classes].

    batch: image [batch, ...], label int [batch] or probabilities [batch, classes], optional 'mask' [batch].
    Metrics: loss, accuracy.  `smoothing` mixes the labels with the uniform distribution, in training only
    (Szegedy et al. 2016, section 7).  kwargs go to `gradient_task`.
    """
    def loss_fn(params, extra, batch, key, train):
        logits, extra = _apply(model, params, extra, batch[image], key, train)
        y = batch[label]
        hard = y if y.ndim == 1 else jnp.argmax(y, -1)
        soft = jax.nn.one_hot(y, logits.shape[-1]) if y.ndim == 1 else y.astype(logits.dtype)
        if smoothing and train:
            soft = optax.smooth_labels(soft, smoothing)
        loss = M.mean(optax.softmax_cross_entropy(logits, soft), batch.get('mask'))
        hit = M.mean(jnp.argmax(logits, -1) == hard, batch.get('mask'))
        return loss, (extra, {'loss': loss, 'accuracy': hit})

    return gradient_task(_init_params(model, image), loss_fn, tx, **kwargs)


def regressor(model, tx: optax.GradientTransformation, *, x: str = 'x', y: str = 'y', **kwargs) -> Task:
    """Mean squared error of `model(batch[x], train=...)` -> [batch, ...] against batch[y] of the same shape.

    Metrics: loss (the mean squared error).  kwargs go to `gradient_task`.
    """
    def loss_fn(params, extra, batch, key, train):
        out, extra = _apply(model, params, extra, batch[x], key, train)
        if out.shape != batch[y].shape:
            raise ValueError(f'{y}: expected the shape of the output {out.shape}, found {batch[y].shape}')
        loss = M.mean(jnp.square(out - batch[y]), batch.get('mask'))
        return loss, (extra, {'loss': loss})

    return gradient_task(_init_params(model, x), loss_fn, tx, **kwargs)
