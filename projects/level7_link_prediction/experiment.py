"""Trains a graph auto-encoder on a graph's links, a random split for each seed, and compares it with two heuristics."""
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from common import data, experiment, graph_data, results
from common.errors import UsageError
from common.runs import Run
from common.task import Carry
from levels.level7_advanced.graphs.graph import Bag, from_edges
from levels.level7_advanced.graphs.link_metrics import average_precision, hits_at, mrr, roc_auc
from levels.level7_advanced.graphs.link_prediction import decode, encode
from levels.level7_advanced.graphs.links import LinkSplit, known_ids, split_links
from projects.level7_link_prediction import config as config_lib
from projects.level7_link_prediction import heuristics, pictures
from projects.level7_link_prediction.model import build


def splits(c, graph: graph_data.GraphData, seeds: int) -> list[LinkSplit]:
    """One split for each seed of the run.  Hard negatives depend on the model, so those to be scored are uniform."""
    return [split_links(graph.link, graph.nodes, val=c.val_share, test=c.test_share, disjoint=c.disjoint,
                        structured=c.negatives == 'structured', seed=c.seed + i) for i in range(seeds)]


def resident(c, graph: graph_data.GraphData, parts: list[LinkSplit]) -> dict:
    """What training sees: the features, and for each seed its messages, its links and the ids of both."""
    stack = lambda get: np.stack([get(p.train) for p in parts]).astype(np.int32)
    trained = lambda p: np.concatenate([p.message.T, p.positive])
    return {'features': bag(graph), 'message': stack(lambda p: p.message), 'positive': stack(lambda p: p.positive),
            'known': stack(lambda p: known_ids(np.unique(np.sort(trained(p), 1), axis=0), graph.nodes))}


def bag(graph: graph_data.GraphData) -> Bag:
    return Bag(graph.row, graph.column, np.ones(len(graph.row), np.float32), (graph.nodes, graph.words))


def source(c, stacked: dict, seed: int) -> data.Source:
    """Batches of one seed: rows of its training links.  All seeds share what is on the device (`data.for_seeds` asks
    for that), so the seed crosses beside each row and picks its part there."""
    order = data.Order(stacked['positive'].shape[1], c.batch_size, seed=seed)

    def host(step, rows):
        at = order(step)[rows].astype(np.int32)
        return {'row': at, 'seed': np.full(len(at), seed, np.int32)}

    def batch(stacked, host):
        mine = {k: stacked[k][host['seed'][0] - c.seed] for k in ('message', 'positive', 'known')}
        return {'graph': graph_of(stacked['features'], mine['message']), 'positive': mine['positive'][host['row']],
                'known': mine['known'], 'seed': host['seed'][0]}

    return data.Source(host, batch, stacked, c.batch_size)


def graph_of(features: Bag, message: Int[Array, '2 messages']):
    """The graph of a part's messages, on the device: `from_edges` without its checks, which need values."""
    empty = from_edges(np.zeros((2, 0), int), features)
    return empty._replace(senders=message[0], receivers=message[1],
                          n_edge=jnp.full(1, message.shape[1], jnp.int32))


def scorer(c, encoder, decoder, features: Bag, parts: list[LinkSplit]):
    """(carry -> test metrics, of one seed or [seeds]); (state of one seed, part) -> (nodes, logits of its pairs)."""
    def look(state, features, part):
        params = state.inner.params
        z = encode(encoder, params, graph_of(features, part.message), variational=c.model == 'vgae')
        return z, decode(decoder, params, z, part.positive), decode(decoder, params, z, part.negative)

    def one(state, features, stacked):
        mine = jax.tree.map(lambda x: x[state.seed - c.seed], stacked)
        _, yes, no = look(state, features, mine.test)
        _, val_yes, val_no = look(state, features, mine.val)
        return {'auc': roc_auc(yes, no), 'ap': average_precision(yes, no), 'hits_50': hits_at(yes, no, k=50),
                'mrr': mrr(yes, jnp.tile(no[None], (len(yes), 1))), 'validation_auc': roc_auc(val_yes, val_no)}

    stacked = jax.tree.map(lambda *xs: np.stack(xs).astype(np.int32), *(p._replace(train=None) for p in parts))
    run = jax.jit(lambda carry, *more: (jax.vmap(one, (0, None, None)) if carry.key.ndim else one)(carry.state, *more))
    return lambda carry: jax.tree.map(np.asarray, run(carry, features, stacked)), jax.jit(look)


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction=ordered cuts a batch into parts, and a graph has none; use --reduction=fast')
    graph = graph_data.load(c.data, data_dir=args.data_dir or None)
    parts = splits(c, graph, args.seeds)
    encoder, decoder, task = build(c)
    stacked, (evaluate, look) = resident(c, graph, parts), scorer(c, encoder, decoder, bag(graph), parts)
    trained = experiment.train(run, task, lambda seed: source(c, stacked, seed), evaluate=evaluate)
    base, guesses = heuristics.baselines(parts, graph.nodes)
    if run.writes:
        first: Carry = trained.carries[0]
        pictures.draw(run, graph, parts[0].test, *map(np.asarray, look(first.state, bag(graph), parts[0].test)),
                      base, guesses)
    sizes = {'train': len(parts[0].train.positive), 'test': len(parts[0].test.positive)}
    results.finish(run, trained, data=graph.describe(**sizes), expected=config_lib.expected(c),
                   baseline={f'{name}, {metric}': v for metric, row in base.items() for name, v in row.items()})
