"""Weights of a network in other libraries' names and layouts, from and to memory and files, bit for bit.

Strict: every layer of the model must get its weights, in its shape, and nothing may be left over. The counters
`num_batches_tracked` of torch's batch norms are no weights: they are not asked for, and written as 0. `image` is the
size (height, width, channels) of the images that the model is for, where it is not 227, 227, 3.

Names and shapes do not say how a network pads, nor which epsilon its norms have, so what loads may still compute
something else. The model has to be made as the library has it: `EfficientNet(convention=)` 'torch' for torchvision,
'timm' for timm, 'tf' for Hugging Face and timm's `tf_efficientnet_`; `MobileNetV3(norm_epsilon=1e-5)` for timm, and the
padding 'SAME' for its `tf_`; `MobileNetV2(padding='SAME', norm_epsilon=1e-3)` for Hugging Face; `report.py` names the
first layer that differs.

Example:
    variables = bridge.load(model, 'model.safetensors', 'huggingface')     # {'params': ..., 'batch_stats': ...}
    state = bridge.to_names(model, variables, 'torchvision')               # {'conv1.weight': array, ...}
    net.load_state_dict({name: torch.tensor(x) for name, x in state.items()})
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common import torch_files, trees
from levels.level3_vision.weights.tables import Rule, table

_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
_COUNTER = 'num_batches_tracked'
Image = tuple[int, int, int]
# Colours, as every published network takes them; the size matters to AlexNet's original alone, whose size this is
IMAGE = (227, 227, 3)


@functools.lru_cache(maxsize=8)      # tracing a deep network takes seconds
def shapes_of(model: nn.Module, image: Image = IMAGE) -> dict[tuple[str, ...], Any]:
    """('params', 'head', 'kernel') -> shape and type of each array of the model; nothing is computed."""
    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    made = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), x)
    return {path: leaf for path, leaf in traverse.flatten_dict(made).items() if path[0] in ('params', 'batch_stats')}


def names(model: nn.Module, library: str, *, image: Image = IMAGE) -> dict[str, str]:
    """Our layer paths ('stage1_0/conv1') -> the library's ('layer1.0.conv1'), in the order of our paths.

    Raises ValueError where the library has no such network.
    """
    return {layer: theirs for layer, (theirs, _) in _layers(model, library, shapes_of(model, image)).items()}


def to_names(model: nn.Module, variables: Mapping[str, Any], library: str, *, image: Image = IMAGE
             ) -> dict[str, np.ndarray]:
    """Variables of the model -> {their name: array in their layout}, counters of batch norms included.

    Raises ValueError for variables that are not the model's.
    """
    flat = {path: np.asarray(x) for path, x in traverse.flatten_dict(dict(variables)).items()
            if path[0] in ('params', 'batch_stats')}
    shapes = shapes_of(model, image)
    if problems := trees.shape_difference({'/'.join(p): x.shape for p, x in flat.items()},
                                {'/'.join(p): x.shape for p, x in shapes.items()}):
        raise ValueError(f'variables: {problems}')
    layers, state = _layers(model, library, shapes), {}
    for path, x in flat.items():
        theirs, rule = layers['/'.join(path[1:-1])]
        state[f'{theirs}.{_LEAVES[path[-1]]}'] = np.ascontiguousarray(_there(x, rule, flat, path))
        if path[-1] == 'var':
            state[f'{theirs}.{_COUNTER}'] = np.zeros((), np.int64)
    return state


def from_names(model: nn.Module, state: Mapping[str, np.ndarray], library: str, *, image: Image = IMAGE
               ) -> dict[str, Any]:
    """{their name: array in their layout} -> variables of the model; the same bits and types.

    Raises ValueError with every name that is missing or left over, every shape that is not the model's, and for types
    that JAX would not keep (float64 without jax_enable_x64).
    """
    given = {name: np.asarray(x) for name, x in state.items() if not name.endswith(f'.{_COUNTER}')}
    shapes = shapes_of(model, image)
    layers = _layers(model, library, shapes)
    fake = {path: np.broadcast_to(np.zeros((), np.int8), leaf.shape) for path, leaf in shapes.items()}
    at, expected = {}, {}
    for path in shapes:
        theirs, rule = layers['/'.join(path[1:-1])]
        name = f'{theirs}.{_LEAVES[path[-1]]}'
        at[name], expected[name] = (path, rule), _there(fake[path], rule, fake, path).shape
    if problems := trees.shape_difference({name: x.shape for name, x in given.items()}, expected):
        raise ValueError(f'state: {problems}')
    for name, x in given.items():
        if (kept := jnp.asarray(x).dtype) != x.dtype:
            raise ValueError(f'{name}: expected a type that JAX keeps, found {x.dtype}, kept as {kept}')
    flat = {path: jnp.asarray(_here(given[name], rule, fake[path].shape, fake)) for name, (path, rule) in at.items()}
    return traverse.unflatten_dict(flat)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a .safetensors file, or of a state_dict that torch.save wrote (see `common.torch_files`).

    Raises ValueError for a file that cannot be read as either.
    """
    if Path(path).suffix != '.safetensors':
        return torch_files.state_dict(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error


def load(model: nn.Module, path: str | Path, library: str, *, image: Image = IMAGE) -> dict[str, Any]:
    """Variables of the model from a file with the library's names; ValueError as `read` and `from_names`."""
    state = read(path)
    try:
        return from_names(model, state, library, image=image)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def save(path: str | Path, model: nn.Module, variables: Mapping[str, Any], library: str, *, image: Image = IMAGE
         ) -> None:
    """Writes a .safetensors file with the library's names; ValueError as `to_names`."""
    save_file(to_names(model, variables, library, image=image), path, metadata={'format': 'pt'})


def _layers(model: nn.Module, library: str, shapes: Mapping[tuple, Any]) -> dict[str, tuple[str, Rule]]:
    """Our layer -> (their layer, the rule that says so)."""
    rules = table(model, library)
    layers = sorted({'/'.join(path[1:-1]) for path in shapes}, key=_numbers)
    blocks = sorted({tuple(map(int, found.groups())) for found in map(_BLOCK.match, layers) if found})
    counts = {'m': len({first for first, _ in blocks}), 'n': len(blocks)}
    return {layer: _named(layer, rules, set(layers), blocks, counts) for layer in layers}


_BLOCK = re.compile(r'[a-z]+(\d+)_(\d+)')


def _named(layer: str, rules: tuple[Rule, ...], layers: set[str], blocks: list, counts: dict) -> tuple[str, Rule]:
    found = _BLOCK.match(layer)
    if found:
        counts = counts | {'n': blocks.index(tuple(map(int, found.groups())))}
    for rule in rules:
        fits = re.fullmatch(re.sub(r'\{(\w)\}', r'(?P<\1>\\d+)', rule.ours), layer)
        if not fits:
            continue
        letters = counts | {letter: int(value) for letter, value in fits.groupdict().items()}
        home = layer.partition('/')[0]
        needs = [_fill(need[1:], letters) if need[0] == '/' else f'{home}/{need}' for need in rule.given]
        if layers.issuperset(needs):
            return _fill(rule.theirs, letters), rule
    raise ValueError(f'model: expected layers of the table; found {layer}')


def _fill(text: str, letters: Mapping[str, int]) -> str:
    """'features.{3n+g-1}' with n = 2 and g = 1 -> 'features.6'."""
    def value(found: re.Match) -> str:
        terms = re.findall(r'([+-]?)(\d*)([a-z]?)', found[1])
        return str(sum((-1 if sign == '-' else 1) * int(number or 1) * (letters[letter] if letter else 1)
                       for sign, number, letter in terms if number or letter))

    return re.sub(r'\{([^}]+)\}', value, text)


def _numbers(layer: str) -> list:
    """Sorts 'stage10_0' behind 'stage2_0'."""
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', layer)]


def _channels(flat: Mapping[tuple, Any]) -> int:
    """How many channels the image has that a `flatten` rule is about: those of the last numbered convolution."""
    last = max((path[1] for path in flat if re.match(r'conv\d', path[1])), key=_numbers)
    return flat['params', last, 'kernel'].shape[-1]


def _there(x: np.ndarray, rule: Rule, flat: Mapping[tuple, Any], path: tuple) -> np.ndarray:
    """Our array in their layout."""
    if path[-1] != 'kernel':
        return x
    if x.ndim == 4:
        return x.transpose(3, 2, 0, 1)
    if rule.form in ('flatten', 'window'):
        channels = _channels(flat)
        side = round((x.shape[0] / channels) ** 0.5)
        x = x.reshape(side, side, channels, -1).transpose(3, 2, 0, 1)
        return x if rule.form == 'window' else x.reshape(len(x), -1)
    return x.T[:, :, None, None] if rule.form == 'pixel' else x.T


def _here(x: np.ndarray, rule: Rule, shape: tuple, flat: Mapping[tuple, Any]) -> np.ndarray:
    """Their array in our layout, of our shape: the inverse of `_there`."""
    if len(shape) == 4:
        return x.transpose(2, 3, 1, 0)
    if len(shape) == 2 and rule.form in ('flatten', 'window'):
        channels = _channels(flat)
        side = round((shape[0] / channels) ** 0.5)
        return x.reshape(len(x), channels, side, side).transpose(2, 3, 1, 0).reshape(shape)
    return x.reshape(shape[::-1]).T if len(shape) == 2 else x
