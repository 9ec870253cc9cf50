"""GPT-2's weights under the names that Hugging Face's `GPT2LMHeadModel` has, in safetensors, and back bit for bit.

Paper: Radford et al. 2019 (see gpt.py). torch and transformers need not be installed.

| here                           | there (below `transformer.`)    | shape             |
| `wte/embedding`                | `wte.weight`                    | [vocab, width]    |
| `wpe/embedding`                | `wpe.weight`                    | [context, width]  |
| `block_<i>/norm_1`, `norm_2`   | `h.<i>.ln_1`, `ln_2`            | [width]           |
| `block_<i>/attention/qkv`      | `h.<i>.attn.c_attn`             | [width, 3 width]  |
| `block_<i>/attention/out`      | `h.<i>.attn.c_proj`             | [width, width]    |
| `block_<i>/up`, `down`         | `h.<i>.mlp.c_fc`, `c_proj`      | [width, 4 width]  |
| `norm_f`                       | `ln_f`                          | [width]           |

Kernels are [in, out] on both sides. The head is tied to `wte` and not written; files that have it must agree with it.
Accepted on reading, because published files have them: names without `transformer.`, and the causal masks
`attn.bias`, `attn.masked_bias`, which are no weights.

Example:
    from levels.level5_transformers import gpt_weights
    gpt_weights.save('folder', model, params)           # model.safetensors and config.json: from_pretrained reads them
    model, params = gpt_weights.load('folder')
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from levels.level5_transformers.gpt import GPT

_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'embedding': 'weight', 'bias': 'bias'}
_PARTS = {'norm_1': 'ln_1', 'norm_2': 'ln_2', 'attention/qkv': 'attn.c_attn', 'attention/out': 'attn.c_proj',
          'up': 'mlp.c_fc', 'down': 'mlp.c_proj', 'norm_f': 'ln_f', 'wte': 'wte', 'wpe': 'wpe'}
_NO_WEIGHT = re.compile(r'h\.\d+\.attn\.(masked_)?bias$')
_HEAD = 'lm_head.weight'


def _require_gpt2(model: GPT) -> None:
    """ValueError for options that GPT-2 does not have."""
    plain = {'bias': True, 'norm': 'layer_norm', 'activation': 'gelu_tanh', 'positions': 'learned', 'qk_norm': False}
    if other := {name: getattr(model, name) for name, value in plain.items() if getattr(model, name) != value}:
        raise ValueError(f'model: expected the options of GPT-2, {plain}; found {other}')


def _shapes(model: GPT) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of each parameter."""
    _require_gpt2(model)
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))['params']
    return {path: leaf.shape for path, leaf in traverse.flatten_dict(made).items()}


def _name(path: tuple[str, ...]) -> str:
    """('block_0', 'up', 'kernel') -> 'h.0.mlp.c_fc.weight'."""
    *where, leaf = path
    block = re.fullmatch(r'block_(\d+)', where[0])
    part = _PARTS['/'.join(where[1:] if block else where)]
    return (f'h.{block[1]}.' if block else '') + f'{part}.{_LEAVES[leaf]}'


def to_hf(model: GPT, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Params -> {'transformer.wte.weight': ...}; the same bits. ValueError for a model that is not a GPT-2."""
    flat, shapes = traverse.flatten_dict(dict(params)), _shapes(model)
    if set(flat) != set(shapes):
        other = sorted('/'.join(path) for path in flat.keys() ^ shapes.keys())
        raise ValueError(f'params: expected those of the model; found a difference in {", ".join(other)}')
    return {f'transformer.{_name(path)}': np.asarray(flat[path]) for path in shapes}


def from_hf(model: GPT, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """{'transformer.wte.weight': ...} -> params of `model`; the same bits and types.

    Raises ValueError, naming every tensor, for missing or left-over names, shapes that are not the model's, float64
    without jax_enable_x64, a head that is not the embedding, a model that is not a GPT-2.
    """
    shapes = {_name(path): (path, shape) for path, shape in _shapes(model).items()}
    given = {name.removeprefix('transformer.'): value for name, value in tensors.items()}
    given = {name: value for name, value in given.items() if not _NO_WEIGHT.match(name)}
    head = given.pop(_HEAD, None)
    problems = []
    if missing := sorted(shapes.keys() - given.keys()):
        problems.append(f'missing: {", ".join(missing)}')
    if extra := sorted(given.keys() - shapes.keys()):
        problems.append(f'left over: {", ".join(extra)}')
    for name in sorted(shapes.keys() & given.keys()):
        if given[name].shape != shapes[name][1]:
            problems.append(f'{name}: expected shape {shapes[name][1]}, found {tuple(given[name].shape)}')
        if (kept := jnp.asarray(given[name]).dtype) != given[name].dtype:
            problems.append(f'{name}: expected a type that JAX keeps, found {given[name].dtype}, kept as {kept}')
    if head is not None and 'wte.weight' in given and not np.array_equal(head, given['wte.weight']):
        problems.append(f'{_HEAD}: expected the embedding wte.weight, found another matrix')
    if problems:
        raise ValueError(f'tensors: {"; ".join(problems)}')
    return traverse.unflatten_dict({path: jnp.asarray(given[name]) for name, (path, _) in shapes.items()})


def config_to_hf(model: GPT) -> dict[str, Any]:
    """The content of Hugging Face's config.json. ValueError for a model that is not a GPT-2."""
    _require_gpt2(model)
    rate = model.dropout
    return {'architectures': ['GPT2LMHeadModel'], 'model_type': 'gpt2', 'activation_function': 'gelu_new',
            'vocab_size': model.vocab_size, 'n_positions': model.context, 'n_embd': model.width,
            'n_layer': model.layers, 'n_head': model.heads, 'n_inner': None, 'layer_norm_epsilon': model.norm_epsilon,
            'embd_pdrop': rate, 'attn_pdrop': rate, 'resid_pdrop': rate, 'tie_word_embeddings': True,
            'scale_attn_weights': True, 'scale_attn_by_inverse_layer_idx': False, 'bos_token_id': None,
            'eos_token_id': None}


def config_from_hf(config: Mapping[str, Any]) -> GPT:
    """The model that a config.json describes, without dropout. ValueError where it is none of ours.

    The file's dropout rates (0.1 if it says nothing) are for training and stay behind; `clone(dropout=...)` sets one.
    """
    need = {'model_type': ('gpt2',), 'activation_function': ('gelu_new', 'gelu_pytorch_tanh'), 'scale_attn_weights':
            (True,), 'scale_attn_by_inverse_layer_idx': (False,), 'add_cross_attention': (False,),
            'tie_word_embeddings': (True,), 'n_inner': (None, 4 * config.get('n_embd', 768))}
    for name, allowed in need.items():
        if (found := config.get(name, allowed[0])) not in allowed:
            raise ValueError(f'{name}: expected {" or ".join(map(repr, allowed))}; found {found!r}')
    return GPT(vocab_size=config.get('vocab_size', 50257), context=config.get('n_positions', 1024),
               layers=config.get('n_layer', 12), heads=config.get('n_head', 12), width=config.get('n_embd', 768),
               norm_epsilon=config.get('layer_norm_epsilon', 1e-5))


def save(folder: str | Path, model: GPT, params: Mapping[str, Any]) -> None:
    """Writes model.safetensors and config.json, as `GPT2LMHeadModel.from_pretrained` reads them."""
    tensors = {name: np.ascontiguousarray(value) for name, value in to_hf(model, params).items()}
    config = json.dumps(config_to_hf(model), indent=2)
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file(tensors, Path(folder, 'model.safetensors'), metadata={'format': 'pt'})
    Path(folder, 'config.json').write_text(config + '\n', encoding='utf-8')


def load(folder: str | Path) -> tuple[GPT, dict[str, Any]]:
    """(model, params) from a folder with model.safetensors and config.json.

    Raises ValueError for files that are missing, damaged or not a GPT-2's, as `from_hf` does.
    """
    where = Path(folder, 'config.json')
    try:
        model = config_from_hf(json.loads(where.read_text(encoding='utf-8')))
        where = Path(folder, 'model.safetensors')
        tensors = load_file(where)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f'{where}: cannot be read ({error})') from error
    try:
        return model, from_hf(model, tensors)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
