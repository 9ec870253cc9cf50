"""Feature maps: what any layer of a Linen model puts out, its gradient there, and how much of the image it sees.

Nothing has to be written into the model for it: calls of its modules are intercepted (`flax.linen.intercept_methods`)
and their outputs sown beside the path of the module. What has no module of its own (an activation, a pooling) is seen
when the model sows it.

Formula: output i of a stack of windows sees the inputs start + i jump ... start + i jump + size - 1; through one more
    window of size k, stride s, dilation d and p pads before: size += d (k - 1) jump, start -= p jump, jump *= s.
Paper: Araujo, Norris, Sim 2019, Computing receptive fields of convolutional neural networks, Distill; Luo, Li, Urtasun,
    Zemel 2016, Understanding the effective receptive field in deep convolutional neural networks.
Shapes: x [batch, height, width, channels]; maps as the layers make them.

Example:
    from levels.level3_vision.features import feature_maps, layer_shapes
    layer_shapes(model, variables, x)                                # {'block_0/conv': (8, 28, 28, 16), ...}
    output, maps = feature_maps(model, variables, x, layers=['block_0', 'block_1'])
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Float, Int

_MAPS = 'feature_maps'      # the collection; Linen's own name for an output, so that no submodule can have it
_CALL = '__call__'


def _apply(model: nn.Module, variables: Mapping[str, Any], x: Array, edit: Callable[[str, Array], Array]):
    """(output, sown collections) of the model in evaluation, edit(name, output) in place of each module's output."""
    inside: set[tuple[str, ...]] = set()    # a module that calls its base class's __call__ is one layer, not two

    def intercept(call, args, kwargs, context):
        path = context.module.path
        if context.method_name != _CALL or not path or path in inside:
            return call(*args, **kwargs)
        inside.add(path)
        y = call(*args, **kwargs)
        inside.discard(path)
        y = edit('/'.join(path), y)
        context.module.sow(_MAPS, _CALL, y)
        return y

    kept = {k: v for k, v in variables.items() if k != 'intermediates'}
    with nn.intercept_methods(intercept):
        return model.apply(kept, x, mutable=[_MAPS, 'intermediates'])


def _named(sown: Mapping[str, Any]) -> dict[str, Array]:
    """Everything sown, by path; the second output of a layer that is called twice is `name#1`."""
    found = {}
    for collection in (_MAPS, 'intermediates'):
        for path, values in traverse_util.flatten_dict(dict(sown.get(collection, {}))).items():
            name = '/'.join(p for p in path if p != _CALL)
            for i, value in enumerate(values if isinstance(values, tuple) else (values,)):
                found[f'{name}#{i}' if i else name] = value
    return found


def _known(layer: str, names: Mapping[str, Any]) -> None:
    if layer not in names:
        raise ValueError(f'layers: expected some of {", ".join(names)}; found {layer!r}')


def layer_shapes(model: nn.Module, variables: Mapping[str, Any], x: Array) -> dict[str, tuple[int, ...]]:
    """The name of every layer that `feature_maps` can capture, and its shape for this x; nothing is computed."""
    sown = jax.eval_shape(lambda v, x: _apply(model, v, x, lambda _, y: y)[1], variables, x)
    return {name: leaf.shape for name, leaf in _named(sown).items() if hasattr(leaf, 'shape')}


def feature_maps(
    model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], *, layers: Sequence[str] | None = None
) -> tuple[Array, dict[str, Array]]:
    """The output of a model in evaluation, and what the named layers put out on the way.

    Formula: (f(x), {layer: h_layer(x)}).
    Paper: Zeiler, Fergus 2014, Visualizing and understanding convolutional networks, section 2 (which looks at them).
    Shapes: x as the model wants it -> (output, {name: map}). A name is the path of a module, 'block_0/conv', or of what
        the model sows; `layers=None` gives all. The second output of a layer that is called twice is 'name#1'.
    Errors: ValueError for a name that is not there, with those that are.
    Example:
        model, x = nn.Sequential([nn.Conv(4, (3, 3)), nn.relu, nn.Conv(2, (3, 3))]), jnp.ones((1, 8, 8, 3))
        variables = model.init(jax.random.key(0), x)
        y, maps = feature_maps(model, variables, x, layers=['layers_0'])
        assert maps['layers_0'].shape == (1, 8, 8, 4)
        assert (feature_maps(model, variables, x)[1]['layers_2'] == y).all()
    """
    output, sown = _apply(model, variables, x, lambda _, y: y)
    found = _named(sown)
    for name in layers or ():
        _known(name, found)
    return output, found if layers is None else {name: found[name] for name in layers}


class Tapped(NamedTuple):
    """Logits, one layer's maps, and the gradient of each example's score with respect to them."""

    logits: Float[Array, 'b n']
    maps: Float[Array, 'b h w k']
    gradients: Float[Array, 'b h w k']


def map_gradients(
    model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], *, labels: Int[Array, ' b'], layer: str
) -> Tapped:
    """One layer's maps, and the gradient of the logit of `labels` with respect to them.

    Formula: g = d logit_label / d h_layer, of each example by itself (the model runs in evaluation).
    Paper: Selvaraju et al. 2017, Grad-CAM, equation 1.
    Shapes: x [b, h, w, c], labels [b] -> logits [b, n], maps and gradients as the layer's output.
    Errors: ValueError for a layer that is not there or is no module, with those that are.
    Example:
        model, x = nn.Sequential([nn.Conv(4, (3, 3)), nn.relu, lambda x: x.mean((1, 2))]), jnp.ones((2, 8, 8, 3))
        variables = model.init(jax.random.key(0), x)
        found = map_gradients(model, variables, x, labels=jnp.array([0, 3]), layer='layers_0')
        assert found.maps.shape == found.gradients.shape == (2, 8, 8, 4)
        assert (found.gradients[0, :, :, 1:] == 0).all()
    """
    shapes = layer_shapes(model, variables, x)
    _known(layer, shapes)

    def score(shift):
        logits, sown = _apply(model, variables, x, lambda name, y: y + shift if name == layer else y)
        chosen = jnp.take_along_axis(logits, labels[:, None], axis=1, mode='fill')
        return jnp.sum(chosen), (logits, _named(sown)[layer])

    dtype = jax.eval_shape(lambda v, x: _named(_apply(model, v, x, lambda _, y: y)[1])[layer], variables, x).dtype
    shift = jnp.zeros(shapes[layer], dtype)
    gradients, (logits, maps) = jax.grad(score, has_aux=True)(shift)
    return Tapped(logits, maps, gradients)


class Window(NamedTuple):
    """A convolution's or pooling's window on one axis or both: an integer is for both. `before`: the first pads."""

    size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    before: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1


class Field(NamedTuple):
    """Output (i, j) sees rows start[0] + i jump[0] ... + size[0] - 1, and columns likewise; below 0 is padding."""

    size: tuple[int, int]
    jump: tuple[int, int]
    start: tuple[int, int]

    def box(self, at: tuple[int, int], shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """((first row, behind the last), (first column, behind the last)) that output `at` sees of an image.

        At a border it is a bound where windows have a dilation: the first pixels inside may fall into a gap.
        """
        first = [s + i * j for s, i, j in zip(self.start, at, self.jump)]
        return tuple((max(f, 0), min(f + n, whole)) for f, n, whole in zip(first, self.size, shape))


def receptive_field(windows: Sequence[Window]) -> Field:
    """How much of the image one output of a stack of convolutions and poolings can depend on.

    Formula: size += d (k - 1) jump; start -= p jump; jump *= s; from size = jump = 1, start = 0, window by window.
    Paper: Araujo, Norris, Sim 2019, Computing receptive fields of convolutional neural networks, equations 1 to 4.
    Shapes: windows in the order of the layers -> Field(size, jump, start), each (rows, columns). Of parallel branches
        take the largest.
    Errors: ValueError for sizes, strides or dilations below 1, or pads below 0.
    Example:
        field = receptive_field([Window(3, 1, 1), Window(2, 2), Window(3, 1, 1)])
        assert field == ((8, 8), (2, 2), (-3, -3))
        assert field.box((0, 0), (28, 28)) == ((0, 5), (0, 5))
        assert receptive_field([Window(3)] * 3).size == receptive_field([Window(7)]).size
    """
    size, jump, start = [1, 1], [1, 1], [0, 0]
    for window in windows:
        axes = [(v, v) if isinstance(v, int) else tuple(v) for v in window]
        if min(*axes[0], *axes[1], *axes[3]) < 1 or min(axes[2]) < 0:
            raise ValueError(f'windows: expected sizes, strides, dilations >= 1 and pads >= 0; found {window}')
        for i, (k, s, before, d) in enumerate(zip(*axes)):
            size[i] += d * (k - 1) * jump[i]
            start[i] -= before * jump[i]
            jump[i] *= s
    return Field(tuple(size), tuple(jump), tuple(start))


def measured_field(
    fn: Callable[[Array], Array], shape: tuple[int, int, int], *, at: tuple[int, int], draws: int = 16, seed: int = 0
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The smallest box of pixels on which one output of `fn` depends, by its gradient at random images.

    Formula: the box of {(r, c): d (sum over k, and images, of |y[i, j, k]|) / d x[r, c] != 0}.
    Paper: Luo et al. 2016, Understanding the effective receptive field in deep convolutional neural networks.
    Shapes: fn: [b, h, w, c] -> [b, h', w', k]; shape (h, w, c); at (i, j) -> as `Field.box`. A maximum passes the
        gradient of one entry alone: `draws` images find all of a window that are often enough the largest.
    Errors: ValueError when no pixel has a gradient.
    Example:
        kernel = jnp.ones((3, 3, 1, 1))
        dims = ('NHWC', 'HWIO', 'NHWC')
        fn = lambda x: jax.lax.conv_general_dilated(x, kernel, (2, 2), 'VALID', dimension_numbers=dims)
        box = measured_field(fn, (9, 9, 1), at=(1, 2))
        assert box == ((2, 5), (4, 7))
        assert box == receptive_field([Window(3, 2)]).box((1, 2), (9, 9))
    """
    x = jax.random.normal(jax.random.key(seed), (draws, *shape))
    seen = jax.grad(lambda x: jnp.sum(jnp.abs(fn(x)[:, at[0], at[1]])))(x)
    seen = np.asarray((seen != 0).any(axis=(0, 3)))
    if not seen.any():
        raise ValueError(f'fn: expected an output {at} that depends on the image; found no gradient')
    lines = [np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0)]
    return tuple((int(line[0]), int(line[-1]) + 1) for line in lines)
