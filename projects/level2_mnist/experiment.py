"""Trains the network, compares it with two classical baselines, and draws what it got wrong."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from common import data, datasets, experiment, optim, plots, records, results, tasks
from common.runs import Run, read_metrics
from common.wrappers import with_augment, with_ema, with_transform
from levels.level2_neural.dnn import DNN
from levels.level2_neural.mlp import MLP
from levels.level3_vision.lenet import LeNet5, LeNet5Original
from projects.level2_mnist import config as config_lib

MODELS = {
    'mlp': lambda c: MLP(hidden=c.hidden, n_out=10, dropout=c.dropout, dtype=jnp.dtype(c.dtype)),
    'dnn': lambda c: DNN(width=c.width, depth=c.depth, n_out=10, residual=c.residual, norm=c.norm, dropout=c.dropout,
                         dtype=jnp.dtype(c.dtype)),
    'lenet': lambda c: LeNet5(dropout=c.dropout, dtype=jnp.dtype(c.dtype)),
    'lenet_original': lambda c: LeNet5Original(dtype=jnp.dtype(c.dtype)),
}
TITLES = {'mlp': 'MLP', 'dnn': 'DNN', 'lenet': 'LeNet-5', 'lenet_original': 'LeNet-5 of 1998'}


def scaled(c, batch: dict) -> dict:
    """Pixels 0..255 as the network wants them: 0..1, or as in 1998, with white at -0.1 and black at 1.175."""
    low, high = (-0.1, 1.175) if c.model == 'lenet_original' else (0.0, 1.0)
    return {**batch, 'image': low + (high - low) / 255 * batch['image'].astype(jnp.float32)}


def wiggle(key, image):
    """A random shift (up to 2 pixels), turn (up to 12 degrees) and scaling (up to 10 %) of one image [h, w, 1]."""
    shift_key, turn_key, scale_key = jax.random.split(key, 3)
    middle = (np.array(image.shape[:2]) - 1) / 2
    angle = jax.random.uniform(turn_key, (), minval=-0.21, maxval=0.21)
    scale = jax.random.uniform(scale_key, (), minval=0.9, maxval=1.1)
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]) / scale
    offset = middle - turn @ middle + jax.random.uniform(shift_key, (2,), minval=-2, maxval=2)
    grid = jnp.stack(jnp.meshgrid(*(jnp.arange(float(n)) for n in image.shape[:2]), indexing='ij'))
    where = jnp.tensordot(turn, grid, 1) + offset[:, None, None]
    return jax.scipy.ndimage.map_coordinates(image[..., 0].astype(jnp.float32), list(where), order=1)[..., None]


def build(c):
    """(model, task) of a config."""
    model = MODELS[c.model](c)
    rate = optax.warmup_cosine_decay_schedule(0.0, c.rate, c.warmup, c.steps, end_value=c.rate / 100)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=c.weight_decay))
    task = tasks.classifier(model, tx, smoothing=c.smoothing, accum=c.accum, policy=optim.Policy(jnp.dtype(c.dtype)))
    task = with_transform(with_ema(task, c.ema), functools.partial(scaled, c))
    return model, with_augment(task, wiggle) if c.augment else task


def source(c, train: dict, seed: int) -> data.Source:
    """The training batches of one seed, in either form."""
    order = data.Order(len(train['label']), c.batch_size, seed=seed)
    return data.resident(train, order) if c.source == 'resident' else data.stream(records.from_arrays(train), order)


def baselines(train: dict, test: dict, rows: int) -> dict[str, float]:
    """Test accuracy of logistic regression and of an RBF support vector machine on the raw pixels of `rows` images."""
    if not rows:
        return {}
    pick = data.permutation(len(train['label']), 0, 0)[:rows]
    flat = lambda d, i=slice(None): d['image'][i].reshape(len(d['image'][i]), -1) / 255
    models = {'logistic regression': LogisticRegression(max_iter=200), 'RBF SVM': SVC(C=5)}
    return {name: float(m.fit(flat(train, pick), train['label'][pick]).score(flat(test), test['label']))
            for name, m in models.items()}


def main(run: Run) -> None:
    c = run.config
    if c.study != 'train':
        from projects.level2_mnist import ablation, tuning  # they build on this file
        return {'ablation': ablation, 'tuning': tuning}[c.study].main(run)
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    train, test = dataset.train, dataset.test
    model, task = build(c)
    trained = experiment.train(run, task, lambda seed: source(c, train, seed), evaluate=test,
                               vmap_helps=c.model in ('mlp', 'dnn'))     # convolutions gain nothing from it on a CPU
    base = baselines(train, test, c.baseline_rows)
    if run.writes:
        draw(run, model, trained, test, base)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base)


def draw(run: Run, model, trained: experiment.Trained, test: dict, base: dict[str, float]) -> None:
    """Curves over training, the confusion matrix and the worst mistakes of the first seed."""
    c, name = run.config, TITLES[run.config.model]
    score = jax.jit(lambda v, batch: jax.nn.softmax(model.apply(v, scaled(c, batch)['image'])))
    state = trained.carries[0].state
    p = np.asarray(score({'params': state.ema, **state.inner.extra}, test))
    guess, truth, names = p.argmax(1), test['label'], [str(i) for i in range(10)]
    plots.save(plots.curves(read_metrics(run.dir), [('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy')],
                            f'{name} on {c.data}', {'accuracy': base}), run.plots / 'curves.png')
    plots.save(plots.confusion(truth, guess, names, f'{name} on {c.data}, seed {c.seed}'), run.plots / 'confusion.png')
    bad = plots.worst(p, truth, 32)
    text = [f'{truth[i]} as {guess[i]} ({p[i, guess[i]]:.0%})' for i in bad]
    plots.save(plots.images(test['image'][bad], text, f'{name}: its {len(bad)} most confident mistakes'),
               run.plots / 'mistakes.png')
