"""Structured negatives against torch_geometric's and against chance; hard ones against a search of all candidates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_ledger import compare
from scipy.stats import chisquare
from torch_geometric.utils import structured_negative_sampling

from levels.level7_advanced.graphs.links import candidates, canonical, known_ids
from levels.level7_advanced.graphs.negatives import draw_hard, draw_structured

FEW = settings(max_examples=12, deadline=None)
NODES, DRAWS = 9, 20_000
PEER = 'torch_geometric.utils.structured_negative_sampling'


def some_links(many, seed, nodes=NODES):
    """Nodes 0 and 1 are always linked; node 0 is never linked to the last."""
    pairs = np.stack(np.triu_indices(nodes, 1), axis=1)
    first, never = (pairs == (0, 1)).all(1), (pairs == (0, nodes - 1)).all(1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~first & ~never))
    return canonical(np.concatenate([pairs[first], pairs[order[:many - 1]]]))


graphs = st.builds(some_links, st.sampled_from([8, 20]), st.integers(0, 99))     # few shapes: each compiles anew
structured = jax.jit(draw_structured, static_argnums=3, static_argnames=('keep', 'loops', 'tries'))


def inputs(links):
    return jnp.asarray(links, jnp.int32), jnp.asarray(known_ids(links, NODES))


def neighbours(links):
    table = np.zeros((NODES, NODES), bool)
    table[tuple(np.concatenate([links, links[:, ::-1]]).T)] = True
    return table


def drawn_from(source, links, loops, keep='source'):
    """How often each node (keep='either': each [kept, other]) was drawn for one link of `source`, in many draws."""
    link = links[(links == source).any(1)][0]
    link = link if link[0] == source else link[::-1]
    row, known = jnp.tile(jnp.asarray(link, jnp.int32)[None], (DRAWS, 1)), inputs(links)[1]
    pairs, found = structured(jax.random.key(5), row, known, NODES, keep=keep, loops=loops)
    assert found.mean() > 0.95
    count = np.zeros((NODES, NODES), int)
    np.add.at(count, tuple(np.asarray(pairs)[found].T), 1)
    return link, count


@pytest.mark.parametrize('loops', [False, True])
@pytest.mark.parametrize('source', [0, 3, 5])
def test_targets_are_those_of_pyg_as_often(source, loops):
    links = some_links(14, 1)
    _, count = drawn_from(source, links, loops)
    assert count.sum() == count[source].sum(), 'the source is kept'
    both = torch.tensor(np.concatenate([links, links[:, ::-1]]).T.copy())
    torch.manual_seed(0)
    often = torch.cat([both, both[:, both[0] == source][:, :1].repeat(1, DRAWS)], dim=1)    # an edge, many times over
    many = structured_negative_sampling(often, NODES, contains_neg_self_loops=loops)[2][-DRAWS:].numpy()
    theirs = np.bincount(many, minlength=NODES)
    name = f'source {source}, {"with" if loops else "without"} loops'
    compare('draw_structured', PEER, f'admissible targets, {name}', count[source] > 0, theirs > 0, 0)
    compare('draw_structured', PEER, f'share of each target in {DRAWS:,} draws, {name}', count[source] / count.sum(),
            theirs / DRAWS, 0.02)       # over four deviations of the difference of two such shares near 1/4


@pytest.mark.parametrize('loops', [False, True])
@pytest.mark.parametrize('source', [0, 3, 5])
def test_targets_are_uniform_over_what_is_admissible(source, loops):
    links = some_links(14, 1)
    _, count = drawn_from(source, links, loops)
    allowed = ~neighbours(links)[source]
    allowed[source] = loops
    assert 2 <= allowed.sum() < NODES - 1 and not count[source][~allowed].any()
    assert chisquare(count[source][allowed]).pvalue > 1e-3


def test_either_end_is_kept_and_pairs_are_uniform():
    """Over the free partners of both ends together: the end with more of them is kept more often."""
    links = some_links(14, 1)
    link, count = drawn_from(0, links, False, 'either')
    allowed = np.zeros((NODES, NODES), bool)
    allowed[link] = ~neighbours(links)[link]
    allowed[link, link] = False
    assert len(set(allowed.sum(1)[link])) == 2, 'the two ends have unequal many'
    assert not count[~allowed].any() and chisquare(count[allowed]).pvalue > 1e-3


@FEW
@given(links=graphs, keep=st.sampled_from(['source', 'either']), loops=st.booleans(), seed=st.integers(0, 99))
def test_never_a_known_link_nor_a_loop_unless_asked(links, keep, loops, seed):
    table, (positive, known) = neighbours(links), inputs(links)
    pairs, found = map(np.asarray, structured(jax.random.key(seed), positive, known, NODES, keep=keep, loops=loops,
                                              tries=64))
    assert pairs.shape == links.shape and pairs.min() >= 0 and pairs.max() < NODES
    assert found[~table.all(1)[links[:, 0]] & (table.sum(1)[links[:, 0]] < NODES - 2)].all()
    assert not table[tuple(pairs[found].T)].any()
    assert loops or (pairs[found, 0] != pairs[found, 1]).all()
    kept = (pairs[:, :1] == links) if keep == 'either' else pairs[:, :1] == links[:, :1]
    assert kept.any(1).all()


def test_loops_come_only_where_they_are_asked_for():
    positive, known = inputs(some_links(14, 1))
    drawn = [np.concatenate([structured(jax.random.key(i), positive, known, NODES, loops=loops)[0] for i in range(20)])
             for loops in (False, True)]
    assert [(p[:, 0] == p[:, 1]).any() for p in drawn] == [False, True]


def test_a_draw_belongs_to_its_key():
    positive, known = inputs(some_links(8, 1))
    a, b, c = (structured(jax.random.key(i), positive, known, NODES)[0] for i in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_a_node_that_is_linked_to_all_goes_without():
    links = canonical(np.array([(0, v) for v in range(1, NODES)]))
    positive, known = inputs(links)
    score = lambda pairs: jnp.zeros(len(pairs))
    for pairs, found in (structured(jax.random.key(0), positive, known, NODES),
                         draw_hard(jax.random.key(0), score, positive, known, NODES, keep='source')):
        assert not found.any() and pairs.shape == links.shape


TABLE = np.random.default_rng(0).permutation(NODES * NODES).reshape(NODES, NODES).astype('float32')


def by_table(pairs):
    """A model: every ordered pair has a score of its own."""
    return jnp.asarray(TABLE)[pairs[:, 0], pairs[:, 1]]


hard = jax.jit(lambda key, positive, known, keep, tries: draw_hard(key, by_table, positive, known, NODES, keep=keep,
                                                                   tries=tries), static_argnums=(3, 4))


@FEW
@given(links=graphs, keep=st.sampled_from(['none', 'source', 'either']), tries=st.sampled_from([1, 6]),
       seed=st.integers(0, 99))
def test_hard_ones_are_the_best_scored_of_the_free_candidates(links, keep, tries, seed):
    positive, known = inputs(links)
    pairs, found = map(np.asarray, hard(jax.random.key(seed), positive, known, keep, tries))
    offered = np.asarray(candidates(jax.random.key(seed), positive, known, NODES, keep=keep, tries=tries)[0])
    linked = neighbours(links)
    for row, (pair, ok) in enumerate(zip(pairs, found)):
        free = [p for p in offered[row] if p[0] != p[1] and not linked[tuple(p)]]
        assert bool(free) == ok
        if free:
            assert TABLE[tuple(pair)] == max(TABLE[tuple(p)] for p in free)
            assert not linked[tuple(pair)] and pair[0] != pair[1]
    if keep != 'none':
        assert ((pairs[:, :1] == links) if keep == 'either' else pairs[:, :1] == links[:, :1]).any(1).all()


@FEW
@given(links=graphs, seed=st.integers(0, 99))
def test_with_every_pair_among_the_candidates_they_are_the_hardest_of_all(links, seed):
    positive, known = inputs(links)
    free = ~neighbours(links) & ~np.eye(NODES, dtype=bool)
    pairs, found = map(np.asarray, hard(jax.random.key(seed), positive, known, 'source', 200))
    for (u, _), (kept, other), ok in zip(links, pairs, found):
        assert ok == free[u].any() and kept == u
        assert not ok or other == np.where(free[u], TABLE[u], -1).argmax()
    most = np.where(free, TABLE, -1).max()
    pairs, found = map(np.asarray, hard(jax.random.key(seed), positive, known, 'none', 1000))
    assert found.all() and (TABLE[tuple(pairs.T)] == most).all()


def test_one_candidate_is_a_random_one_and_more_are_harder():
    positive, known = inputs(some_links(12, 2))
    one = hard(jax.random.key(3), positive, known, 'either', 1)
    same = structured(jax.random.key(3), positive, known, NODES, keep='either', tries=1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same)) and not one[1].all()
    means = []
    for tries in (2, 8, 64):
        pairs, found = zip(*(map(np.asarray, hard(jax.random.key(i), positive, known, 'either', tries))
                             for i in range(20)))
        pairs = np.concatenate(pairs)[np.concatenate(found)]
        means.append(TABLE[tuple(pairs.T)].mean())
    assert means[0] + 5 < means[1] < means[2] - 5


def test_an_unknown_end_to_keep_is_refused():
    positive, known = inputs(some_links(12, 2))
    with pytest.raises(ValueError, match=r"keep: expected 'none', 'either' or 'source', found 'target'"):
        draw_structured(jax.random.key(0), positive, known, NODES, keep='target')
