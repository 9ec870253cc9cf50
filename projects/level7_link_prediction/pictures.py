"""What a run of link prediction draws: curves over training, ROC and precision-recall, scores, the embedding."""
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from common import plots
from common.graph_data import GraphData
from common.runs import Run, read_metrics
from levels.level7_advanced.graphs.links import Part

WHAT = {'imports': 'imports between modules', 'cora': 'citations (Cora)'}
MODELS = {'gae': 'GCN', 'vgae': 'variational GCN'}
DECODERS = {'dot': 'dot product', 'cosine': 'cosine', 'mlp': 'MLP'}
Scores = Float[np.ndarray, ' m']


def draw(run: Run, graph: GraphData, part: Part, z: Float[np.ndarray, 'nodes d'], yes: Scores, no: Scores,
         base: dict, guesses: dict[str, tuple[Scores, Scores]]) -> None:
    """Four files in the run's folder of plots; all but the curves are of the first seed's test part."""
    c = run.config
    name = f'{MODELS[c.model]} with {DECODERS[c.decoder]} decoder'
    title = f'{name}, {WHAT[c.data]}'
    pages = {
        'curves': plots.curves(read_metrics(run.dir), [('loss', 'cross-entropy (nats)'), ('auc', 'ROC AUC'),
                                                       ('ap', 'average precision')], title, base),
        'roc_pr': roc_pr({name: (yes, no), **guesses}, f'{title}: {len(yes)} test links, as many other pairs'),
        'scores': histogram(yes, no, f'{title}: scores, seed {c.seed}'),
        'embedding': embedding(graph, z, part, f'{title}: nodes as the encoder places them, seed {c.seed}', c.picture),
    }
    for file, figure in pages.items():
        plots.save(figure, run.plots / f'{file}.png')


def roc_pr(scored: dict[str, tuple[Scores, Scores]], title: str) -> Figure:
    """ROC and precision-recall curves of several scorings of the same pairs."""
    figure = Figure(figsize=(10.4, 4.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for color, (name, (yes, no)) in zip(plots.COLORS, scored.items()):
        truth, score = np.repeat([1, 0], [len(yes), len(no)]), np.concatenate([yes, no])
        wrong, found, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        left.plot(wrong, found, color=color, label=f'{name}: area {auc(wrong, found):.3f}')
        right.plot(recall, precision, color=color, drawstyle='steps-post', label=name)
    left.plot([0, 1], [0, 1], color='0.6', ls=':', lw=1)
    right.axhline(0.5, color='0.6', ls=':', lw=1)
    left.set(xlabel='share of the pairs that are no links taken for links', ylabel='share of the links found',
             title='ROC')
    right.set(xlabel='recall: share of the links found', ylabel='precision: share of the finds that are links',
              title='precision and recall', ylim=(0.45, 1.02))
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8, loc='lower right' if ax is left else 'lower left')
    figure.suptitle(title, fontsize=11)
    return figure


def histogram(yes: Scores, no: Scores, title: str) -> Figure:
    """How the scores of links and of other pairs are spread; where they overlap no threshold helps."""
    figure = Figure(figsize=(7, 3.8), layout='constrained')
    ax = figure.subplots()
    both = np.concatenate([yes, no])
    bins = np.linspace(*np.quantile(both, [0.005, 0.995]), 60)
    for scores, text, color in ((no, 'pairs that are no links', plots.COLORS[1]), (yes, 'links', plots.COLORS[0])):
        ax.hist(np.clip(scores, bins[0], bins[-1]), bins, alpha=0.55, color=color, label=text)
    ax.axvline(0, color='0.3', lw=1, ls='--', label='taken for a link from here on')
    ax.set(xlabel='logit (the outermost bars hold all that is beyond)', ylabel='test pairs')
    ax.grid(alpha=0.25)
    ax.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def embedding(graph: GraphData, z: Float[np.ndarray, 'nodes d'], part: Part, title: str, how: str) -> Figure:
    """The nodes in two dimensions, coloured by class, which the model never saw; lines are test links."""
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)
    flat = PCA(2, random_state=0) if how == 'pca' else TSNE(2, init='pca', random_state=0)
    at = flat.fit_transform(z.astype(np.float64))
    figure = Figure(figsize=(8.6, 6.6), layout='constrained')
    ax = figure.subplots()
    ends = at[part.positive]
    ax.plot(ends[..., 0].T, ends[..., 1].T, color='0.5', lw=0.3, alpha=0.25, zorder=0)
    for i, name in enumerate(graph.classes):
        mine = graph.label == i
        ax.scatter(*at[mine].T, s=7, color=colormaps['tab10'](i), label=f'{name} ({mine.sum()})', lw=0)
    ax.set(xticks=[], yticks=[], xlabel={'pca': 'first principal component', 'tsne': 't-SNE of the unit vectors'}[how],
           ylabel='second' if how == 'pca' else '')
    ax.legend(fontsize=8, markerscale=2.5, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    figure.suptitle(f'{title}\ngrey lines: test links', fontsize=11)
    return figure
