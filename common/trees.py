"""Names, signatures and hashes of pytrees: what checkpoints, results and error messages say about a state.

A leaf's path is its key path joined by '/', as in `state/params/Dense_0/kernel`.  Typed PRNG keys count as
their raw data, with a dtype name of their own (`key<fry>`), so that they can be stored and compared.

    >>> from common import trees
    >>> trees.signature({'w': np.zeros((2, 3), np.float32)})
    {'w': ([2, 3], 'float32')}
"""
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def is_key(x) -> bool:
    """True for a typed PRNG key array."""
    return hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def path_name(path) -> str:
    """`(GetAttrKey('params'), DictKey('w'))` -> 'params/w'."""
    return jax.tree_util.keystr(path, simple=True, separator='/')


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by path.  Raises ValueError when two leaves share a path (a key that contains '/')."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    out = {path_name(p): x for p, x in pairs}
    if len(out) != len(pairs):
        raise ValueError("tree: expected every leaf to have a path of its own, found two alike (a key with '/' in it?)")
    return out


def map_named(fn, tree: PyTree) -> PyTree:
    """`jax.tree.map` whose function also gets the leaf's path: fn(path, leaf)."""
    return jax.tree_util.tree_map_with_path(lambda p, x: fn(path_name(p), x), tree)


def dtype_name(x) -> str:
    return str(x.dtype) if hasattr(x, 'dtype') else str(np.asarray(x).dtype)


def signature(tree: PyTree) -> dict[str, tuple[list[int], str]]:
    """path -> (shape, dtype name) of every leaf; works on arrays and on `jax.ShapeDtypeStruct`s."""
    return {name: (list(np.shape(x)), dtype_name(x)) for name, x in named_leaves(tree).items()}


def difference(expected: dict, found: dict) -> list[str]:
    """One line per leaf in which two signatures differ; empty when they agree."""
    show = lambda s: f'{s[1]}{list(s[0])}'
    lines = [f'{p}: missing, expected {show(expected[p])}' for p in expected if p not in found]
    lines += [f'{p}: unexpected, found {show(found[p])}' for p in found if p not in expected]
    lines += [f'{p}: expected {show(expected[p])}, found {show(found[p])}' for p in expected
              if p in found and (list(expected[p][0]), expected[p][1]) != (list(found[p][0]), found[p][1])]
    return lines


def shape_difference(found: dict[str, tuple], expected: dict[str, tuple]) -> str:
    """'' when the shapes by name agree, else every name that is missing, left over or of another shape."""
    problems = []
    if missing := sorted(expected.keys() - found.keys()):
        problems.append(f'missing: {", ".join(missing)}')
    if extra := sorted(found.keys() - expected.keys()):
        problems.append(f'left over: {", ".join(extra)}')
    problems += [f'{name}: expected shape {expected[name]}, found {found[name]}'
                 for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]]
    return '; '.join(problems)


def raw(x):
    """A typed key as its uint32 data; anything else as it is."""
    return jax.random.key_data(x) if is_key(x) else x


def like(x, example):
    """The inverse of `raw`: uint32 data becomes a typed key where `example` is one."""
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(example)) if is_key(example) else x


def to_host(tree: PyTree) -> PyTree:
    """Every leaf as a NumPy array (keys as raw data).  Every process must be able to see every leaf."""
    return jax.device_get(jax.tree.map(raw, tree))


def leaf_sha256(tree: PyTree) -> dict[str, str]:
    """path -> SHA-256 of dtype, shape and bytes (C order) of every leaf."""
    host, names = to_host(tree), signature(tree)
    out = {}
    for name, x in named_leaves(host).items():
        x = np.ascontiguousarray(x)
        head = f'{names[name][1]}{list(x.shape)}'.encode()
        out[name] = hashlib.sha256(head + b'\0' + x.tobytes()).hexdigest()
    return out


def sha256(tree: PyTree) -> str:
    """One SHA-256 over paths and contents of all leaves: two states with this hash are equal bit for bit."""
    lines = [f'{name} {digest}' for name, digest in sorted(leaf_sha256(tree).items())]
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()
