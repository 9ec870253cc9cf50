"""Which pictures are for what: the source task, growing sets of cats and dogs, and what a step's batch is made of."""
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from common import animals, data, datasets
from common.errors import ConfigError

PETS = ('cat', 'dog')


class Problem(NamedTuple):
    """`pictures` are all that may be learned from; `label` is 0 or 1 for cats and dogs, else the number among the other
    animals. `source` and `pets` (of each kind) are rows of it."""

    pictures: dict[str, np.ndarray]
    source: Int[np.ndarray, ' n']
    pets: tuple[Int[np.ndarray, ' n'], Int[np.ndarray, ' n']]
    test: dict[str, np.ndarray]
    source_test: dict[str, np.ndarray]
    classes: int        # of the source task


def build(c, dataset: datasets.Dataset) -> Problem:
    """The problem of a config.  Raises ConfigError when there are fewer pictures than the largest size asks for."""
    names = animals.NAMES if c.data == 'animals' else animals.PETS
    others = [i for i, name in enumerate(names) if name not in PETS]
    local = np.zeros(len(names), np.int32)
    local[others] = np.arange(len(others))
    local[[names.index(pet) for pet in PETS]] = 0, 1

    def cut(part: dict[str, np.ndarray]):
        """(pictures with local labels, rows of the source task)."""
        of_pet = np.isin(part['label'], [names.index(pet) for pet in PETS])
        learned = np.flatnonzero(~of_pet if others else of_pet)     # turns of photographs need no other animals
        return {'image': part['image'], 'label': local[part['label']]}, learned, of_pet

    pictures, source, of_pet = cut(dataset.train)
    held, held_source, held_pets = cut(dataset.test)
    pets = tuple(np.flatnonzero(of_pet & (pictures['label'] == k)) for k in (0, 1))
    if max(c.sizes) > (most := 2 * min(map(len, pets))):
        raise ConfigError(f'sizes: expected at most {most} (there are no more pictures of cats and dogs), '
                          f'found {max(c.sizes)}')
    pick = lambda rows: {k: v[rows] for k, v in held.items()}
    classes = 4 if c.pretext == 'turns' else len(others)
    return Problem(pictures, source, pets, pick(held_pets), pick(held_source), classes)


def chosen(problem: Problem, seed: int, size: int) -> Int[np.ndarray, ' size']:
    """The cats and dogs that a seed learns from, alternately; those of a smaller size are the first of a larger one."""
    halves = [rows[data.permutation(len(rows), seed, 2**32 + k)][:size // 2] for k, rows in enumerate(problem.pets)]
    return np.stack(halves, 1).reshape(-1)


def source(c, problem: Problem, seed: int) -> data.Source:
    """Batches of one seed, each with `size` (the number of the set, -1 in the source task) and `first`."""
    order = data.Order(len(problem.source), c.batch_size, seed=seed)
    each = (c.steps - c.source_steps) // len(c.sizes)
    pool = chosen(problem, seed, max(c.sizes))

    def host(step: int, rows: slice) -> dict[str, np.ndarray]:
        if step < c.source_steps:
            index, size, first = problem.source[order(step)], -1, 0
        else:
            size, at = divmod(step - c.source_steps, each)
            index, first = pool[drawn(c.sizes[size], at, c.batch_size, seed)], int(at == 0)
        index = index[rows].astype(np.int32)
        whole = lambda number: np.full(len(index), number, np.int32)
        return {'index': index, 'size': whole(size), 'first': whole(first)}

    return data.Source(host, batch, problem.pictures, c.batch_size)


def drawn(n: int, step: int, batch_size: int, seed: int) -> Int[np.ndarray, ' batch']:
    """Which of n things a step sees, when all are shuffled anew as soon as all were seen; n may be below the batch."""
    at = step * batch_size + np.arange(batch_size)
    return np.concatenate([data.permutation(n, seed, epoch)[at[at // n == epoch] % n] for epoch in np.unique(at // n)])


def batch(pictures: dict[str, Array], host: dict[str, Array]) -> dict[str, Array]:
    """The pictures of a step, out of what lies on the device."""
    take = lambda v: jnp.take(jnp.asarray(v), host['index'], axis=0, mode='clip')
    return {**{k: take(v) for k, v in pictures.items()}, 'size': host['size'], 'first': host['first']}
