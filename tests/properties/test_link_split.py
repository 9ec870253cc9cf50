"""Splits of links: nothing that is asked about is told, no negative is a link, and nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.transforms import RandomLinkSplit

from levels.level7_advanced.graphs.links import (
    LARGEST,
    canonical,
    draw_negatives,
    known_ids,
    pair_ids,
    split_links,
    structured_negatives,
    uniform_negatives,
)

FEW = settings(max_examples=15, deadline=None)


def some_links(nodes, share, seed):
    low, high = np.triu_indices(nodes, 1)
    keep = np.random.default_rng(seed).random(len(low)) < share
    keep[:8] = True
    return np.stack([low, high], axis=1)[keep]


graphs = st.builds(some_links, st.integers(12, 40), st.floats(0.05, 0.4), st.integers(0, 99))
as_set = lambda pairs: set(map(tuple, np.asarray(pairs).tolist()))


@FEW
@given(links=graphs, val=st.floats(0, 0.3), test=st.floats(0, 0.3), disjoint=st.sampled_from([0.0, 0.3, 0.5]),
       structured=st.booleans(), seed=st.integers(0, 2**40))
def test_nothing_leaks_and_nothing_is_lost(links, val, test, disjoint, structured, seed):
    nodes = 50
    split = split_links(links, nodes, val=val, test=test, disjoint=disjoint, structured=structured, seed=seed)
    every, told = as_set(links), {}
    for name, part in split._asdict().items():
        message, asked = as_set(part.message.T), as_set(part.positive)
        both = asked | {(v, u) for u, v in asked}
        if name != 'train' or disjoint:
            assert not message & both, f'{name}: a link that is asked about is among the messages'
        assert message == {(v, u) for u, v in message} and len(message) == part.message.shape[1], 'both ways, once'
        assert asked <= every and len(asked) == len(part.positive) and {tuple(sorted(m)) for m in message} <= every
        assert part.negative.shape == part.positive.shape and (part.negative[:, 0] < part.negative[:, 1]).all()
        assert not as_set(part.negative) & every, f'{name}: a negative is a link'
        told[name] = {tuple(sorted(m)) for m in message}
    train, valid, tests = (as_set(part.positive) for part in split)
    assert not valid & tests and not (train | told['train']) & (valid | tests)
    assert train | told['train'] | valid | tests == every
    assert told['val'] == train | told['train'] and told['test'] == told['val'] | valid
    if not disjoint:
        assert told['train'] == train
    if not structured:
        negatives = np.concatenate([part.negative for part in split])
        assert len(as_set(negatives)) == len(negatives), 'a negative occurs twice'


@FEW
@given(links=graphs, val=st.floats(0, 0.3), test=st.floats(0, 0.3), disjoint=st.sampled_from([0.0, 0.4]))
def test_counts_are_those_of_random_link_split(links, val, test, disjoint):
    both = torch.tensor(np.concatenate([links, links[:, ::-1]]).T.copy())
    theirs = RandomLinkSplit(val, test, is_undirected=True, disjoint_train_ratio=disjoint,
                             add_negative_train_samples=False)(Data(edge_index=both, num_nodes=50))
    ours = split_links(links, 50, val=val, test=test, disjoint=disjoint)
    for mine, peer in zip(ours, theirs):
        assert mine.message.shape[1] == peer.edge_index.shape[1]
        asked = int(peer.edge_label.sum())
        assert len(mine.positive) == (asked if peer is not theirs[0] else len(ours.train.positive))
    assert ours.train.positive.shape[0] == int(theirs[0].edge_label.sum())


def test_a_split_is_a_function_of_its_seed():
    links = some_links(30, 0.3, 0)
    a, b, c = (split_links(links, 30, seed=s) for s in (1, 1, 2))
    same = lambda x, y: all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(x), jax.tree.leaves(y)))
    assert same(a, b) and not same(a, c)
    assert same(a, split_links(np.concatenate([links[::-1], links[:, ::-1], [[3, 3]]]), 30, seed=1)), 'order, loops'


@FEW
@given(links=graphs, count=st.integers(0, 400), seed=st.integers(0, 99))
def test_uniform_negatives(links, count, seed):
    free = 40 * 39 // 2 - len(links)
    found = uniform_negatives(links, 40, min(count, free), seed=seed)
    assert not as_set(found) & as_set(links) and len(as_set(found)) == min(count, free) == len(found)
    assert (found[:, 0] < found[:, 1]).all() and found.max(initial=0) < 40 and found.min(initial=0) >= 0


def test_uniform_negatives_are_uniform_and_can_be_all_there_are():
    links = np.array([(0, 1), (2, 3)])
    count = np.zeros((6, 6))
    for seed in range(2000):        # 13 pairs are free, of which 3 are drawn by rejection
        np.add.at(count, tuple(uniform_negatives(links, 6, 3, seed=seed).T), 1)
    drawn = count[np.triu_indices(6, 1)]
    assert sorted(drawn)[:2] == [0, 0] and np.abs(np.sort(drawn)[2:] / (2000 * 3 / 13) - 1).max() < 0.2
    assert len(as_set(uniform_negatives(links, 6, 13))) == 13
    with pytest.raises(ValueError, match='count: expected at most the 13 pairs'):
        uniform_negatives(links, 6, 14)


@FEW
@given(links=graphs, seed=st.integers(0, 99))
def test_structured_negatives_keep_an_end(links, seed):
    found = structured_negatives(links, links, 50, seed=seed)
    assert not as_set(found) & as_set(links)
    assert all(len({*a} & {*b}) == 1 for a, b in zip(links.tolist(), found.tolist()))


def test_structured_negatives_say_when_there_are_none():
    with pytest.raises(ValueError, match='linked to every node'):
        structured_negatives(np.array([[0, 1]]), np.array([[0, 1], [0, 2], [1, 2]]), 3)


@settings(FEW, max_examples=6)      # each compiles anew
@given(links=graphs, structured=st.booleans(), seed=st.integers(0, 99))
def test_negatives_drawn_in_a_step(links, structured, seed):
    links = links.astype(np.int32)
    found, ok = jax.jit(draw_negatives, static_argnums=3, static_argnames='structured')(
        jax.random.key(seed), jnp.asarray(links), jnp.asarray(known_ids(links, 50)), 50, structured=structured)
    found, ok = np.asarray(found), np.asarray(ok)
    assert ok.all() and found.shape == links.shape
    assert not as_set(np.sort(found, axis=1)) & as_set(links) and (found[:, 0] != found[:, 1]).all()
    if structured:
        assert all({*a} & {*b} for a, b in zip(links.tolist(), found.tolist()))
    else:
        assert len(as_set(found)) > len(found) / 2


def test_a_row_that_finds_no_negative_says_so():
    links = np.stack(np.triu_indices(4, 1), axis=1).astype(np.int32)        # all there are
    _, ok = draw_negatives(jax.random.key(0), jnp.asarray(links), jnp.asarray(known_ids(links, 4)), 4)
    assert not ok.any()


def test_ids_are_the_same_for_both_directions_and_both_libraries():
    pairs = np.array([(3, 1), (1, 3), (0, 9), (9, 9)])
    assert pair_ids(pairs, 10).tolist() == [13, 13, 9, 99] == pair_ids(jnp.asarray(pairs), 10).tolist()
    assert canonical(pairs).tolist() == [[0, 9], [1, 3]]
    assert known_ids(np.array([[LARGEST - 1, LARGEST - 2]]), LARGEST)[0] > 0
    with pytest.raises(ValueError, match='n_nodes: expected at most'):
        known_ids(pairs, LARGEST + 1)


@pytest.mark.parametrize(('kwargs', 'message'), [({'val': 0.5, 'test': 0.5}, 'val, test, disjoint'),
                                                 ({'disjoint': 1.0}, 'val, test, disjoint'),
                                                 ({'val': -0.1}, 'val, test, disjoint')])
def test_shares_without_sense(kwargs, message):
    with pytest.raises(ValueError, match=message):
        split_links(some_links(20, 0.3, 0), 20, **kwargs)


def test_too_few_links():
    with pytest.raises(ValueError, match='pairs: expected enough links'):
        split_links(np.zeros((0, 2), int), 20)
