# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A multi-layer perceptron from scratch
#
# What a layer does to its inputs and how blame finds its way back, in pictures first; then the formulas, each turned
# into a line of NumPy; then the components of `levels/level2_neural`, and real digits; exercises at the end. No
# derivative is taken by a machine until the very end, where one checks ours. Topics: forward and backward propagation,
# activations, the multi-layer perceptron.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

from common import datasets
from common.plots import COLORS
from common.task import train_fn
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.show import moving
from levels.level0_foundations.optimisers import sgd
from levels.level2_neural.activations import ACTIVATIONS
from levels.level2_neural.backprop import activation, chain, dense, dropout, softmax_cross_entropy_head
from levels.level2_neural.backprop_norms import batch_norm
from levels.level2_neural.backprop_slopes import SLOPES
from levels.level2_neural.backprop_task import chain_task
from levels.level2_neural.exercises import backprop_exercises

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.grid': True, 'grid.alpha': 0.25,
                     'axes.titlesize': 11, 'font.size': 10, 'legend.fontsize': 9,
                     'axes.prop_cycle': plt.cycler(color=COLORS)})

# %% [markdown]
# ## The idea
#
# ### A unit folds the plane along a line; a layer adds folds up
#
# A unit weighs its two inputs, adds them up and passes on what is above zero: the plane stays flat on one side of a
# line (white) and rises on the other. Three such folds, taken away from a constant, leave a hill that no straight line
# could cut out. More units, more folds: any shape can be put together.

# %%
X, Y = np.meshgrid(np.linspace(-2, 2, 160), np.linspace(-2, 2, 160))
folds = [(1.6, 0.9, -0.4), (-1.5, 1.2, 0.1), (0.1, -1.8, 0.2)]
rises = [np.maximum(a * X + b * Y + c, 0) for a, b, c in folds]
figure, axes = plt.subplots(1, 4, figsize=(12, 3))
for ax, rise, (a, b, c), number in zip(axes, rises, folds, range(1, 4)):
    ax.contourf(X, Y, rise, 12, cmap='Blues')
    ax.contour(X, Y, a * X + b * Y + c, [0], colors=RED, linewidths=1.5)
    ax.set(title=f'unit {number}: flat, then rising')
axes[3].contourf(X, Y, 1.5 - sum(rises), 14, cmap='RdBu_r', vmin=-5, vmax=5)
axes[3].contour(X, Y, 1.5 - sum(rises), [0], colors='black', linewidths=1.5)
axes[3].set(title='1.5 minus all three: a hill')
for ax in axes:
    ax.set(aspect='equal', xlabel='input 1', xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    ax.grid(visible=False)
axes[0].set_ylabel('input 2')
plt.show()

# %% [markdown]
# ### Learning moves the folds
#
# Two spirals, one blue and one red, and a network of two hidden layers. Every frame is some steps of training further
# on. The folds begin anywhere; each mistake pulls at the lines near it, and in the end the border winds between the
# spirals. What follows is about that pull: how each weight learns in which direction to go.

# %%
rng = np.random.default_rng(0)
turn = np.sqrt(rng.uniform(size=300)) * 3 * np.pi
arm = np.arange(300) % 2
spirals = np.stack([np.cos(turn + np.pi * arm), np.sin(turn + np.pi * arm)], 1) * turn[:, None] / 5
spirals = (spirals + 0.06 * rng.normal(size=spirals.shape)).astype(np.float32)
net = chain(dense(32), activation('relu'), dense(32), activation('relu'), dense(2), head=softmax_cross_entropy_head())
task = chain_task(net, sgd(0.05, momentum=0.9))
batch = {'x': spirals, 'y': arm.astype(np.int32)}
grid = jnp.asarray(np.stack([X.ravel(), Y.ravel()], 1))
marks = [0, 10, 20, 40, 70, 100, 150, 200, 300, 400, 550, 700, 900, 1200, 1600, 2000]
start = jax.jit(lambda key: task.init(key, batch))(jax.random.key(3))
walk = jax.jit(lambda state, count: jax.lax.fori_loop(0, count, lambda i, s: task.step(None, s, batch)[0], state))
height = jax.jit(lambda params: jnp.diff(net.forward(params, {n: {} for n in net.names}, grid)[0], axis=1)[:, 0])
states, now = [], start
for before, after in zip([0, *marks], marks):
    now = walk(now, after - before)
    states.append(now)
maps = [np.asarray(height(s.params)).reshape(X.shape) for s in states]
figure, ax = plt.subplots(figsize=(5.2, 5), dpi=70)


def frame(i):
    ax.clear()
    ax.contourf(X, Y, np.tanh(maps[i] / 2), np.linspace(-1, 1, 11), cmap='RdBu_r', alpha=0.5)
    ax.contour(X, Y, maps[i], [0], colors='black', linewidths=1)
    ax.scatter(*spirals.T, c=np.where(arm, RED, BLUE), s=14, edgecolors='white', linewidths=0.5)
    ax.set(title=f'after {marks[i]} steps', xlabel='input 1', ylabel='input 2', aspect='equal', xlim=(-2, 2),
           ylim=(-2, 2))
    ax.grid(visible=False)


moving(FuncAnimation(figure, frame, frames=len(marks)), fps=3, rest=2.0)

# %% [markdown]
# ### Values go forwards, blame comes back
#
# A small network reads two numbers and says how likely each of three classes is. Blue, forwards: what every unit gives.
# Red, backwards: by how much the loss would grow if what that unit adds up were a little more. At the end blame is easy
# to find: the right class should have been likelier, so its number is negative, the others are positive. From there it
# goes back along the same lines, weighed by the same weights; a unit that gave 0 is flat there, and takes no blame.

# %%
small = chain(dense(4), activation('relu'), dense(3), head=softmax_cross_entropy_head())
params, stats = small.init(jax.random.key(12), features=2)
one, right = jnp.array([[1.0, -0.6]]), jnp.array([1])
seen = jax.device_get(small.passes(params, stats, one, right))
columns = [('input', one[0], seen.input_slope[0]), ('hidden', seen.values['1 relu'][0], seen.slopes['0 dense'][0]),
           ('logits', seen.output[0], seen.slopes['2 dense'][0])]
place = [np.linspace(1, -1, len(v)) * (0.55 if len(v) == 2 else 1) for _, v, _ in columns]
figure, ax = plt.subplots(figsize=(8.6, 4.2))
for i, name in enumerate(('0 dense', '2 dense')):
    W = np.asarray(params[name]['kernel'])
    for a, b in np.ndindex(W.shape):
        ax.plot([i + 0.13, i + 0.87], [place[i][a], place[i + 1][b]], color=GREEN if W[a, b] > 0 else YELLOW, zorder=0,
                lw=0.4 + 1.6 * abs(W[a, b]))
for i, (name, values, slopes) in enumerate(columns):
    for value, slope, y in zip(values, slopes, place[i]):
        ax.add_patch(plt.Rectangle((i - 0.13, y - 0.16), 0.26, 0.32, color='white', ec='0.6'))
        ax.text(i, y + 0.07, f'{float(value):.2f}', ha='center', va='center', color=BLUE)
        ax.text(i, y - 0.07, f'{float(slope) + 0.0:.2f}', ha='center', va='center', color=RED)
    ax.text(i, 1.3, name, ha='center', weight='bold')
ax.text(2.18, place[2][1], 'the right class', va='center')
ax.set(xlim=(-0.3, 2.6), ylim=(-1.25, 1.45))
ax.set_title('values forwards (blue), slopes of the loss backwards (red); lines: weights above (green) and below 0')
ax.axis('off')
plt.show()

# %% [markdown]
# ## The mathematics
#
# **Forwards.** A row $x$ goes through a layer as
#
# $$h = f(z), \qquad z = x W + b ,$$
#
# and the last layer has no $f$: its $z$ are the **logits**, and their softmax $p_k = e^{z_k} / \sum_j e^{z_j}$ are the
# probabilities. The loss of a row with class $y$ is $L = -\log p_y = \log \sum_j e^{z_j} - z_y$.
#
# **The first slope.** Of the two terms one gives $p$ and the other a 1 at the right class:
#
# $$\frac{\partial L}{\partial z_k} = p_k - [k = y] .$$
#
# **Backwards.** With $g = \partial L / \partial z$ of a layer at hand, everything else follows from $z = x W + b$:
#
# $$\frac{\partial L}{\partial W} = x^\top g, \qquad \frac{\partial L}{\partial b} = \sum_{\text{rows}} g, \qquad
#   \frac{\partial L}{\partial x} = g\, W^\top ,$$
#
# and through the activation of the layer before: $g \leftarrow (\partial L / \partial x) \odot f'(z)$. That is all of
# backpropagation. In NumPy, with a rectifier, line by line:

# %%
def forwards(x, layers):
    """Values of every layer; the last are the logits."""
    values = [x]
    for i, (W, b) in enumerate(layers):
        z = values[-1] @ W + b
        values.append(np.maximum(z, 0) if i < len(layers) - 1 else z)
    return values


def backwards(values, labels, layers):
    """[(dW, db) of every layer] for the mean loss."""
    p = np.exp(values[-1] - values[-1].max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    g = (p - np.eye(p.shape[1])[labels]) / len(labels)
    found = []
    for i in reversed(range(len(layers))):
        found.append((values[i].T @ g, g.sum(0)))
        g = (g @ layers[i][0].T) * (values[i] > 0)       # the rectifier of the layer before lets blame through or not
    return found[::-1]


def loss_of(x, labels, layers):
    z = forwards(x, layers)[-1]
    return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels])


# %% [markdown]
# **Is it right?** Push one weight a little up and a little down, and see how the loss changes. The difference has an
# error of its own: for large steps the bend of the loss (it falls with the square of the step), for small ones rounding
# (it grows as the step shrinks). If the formula is right, the gap to it has the shape of a V; if it is wrong, the gap
# stays where it is, as for the gradient with a wrong factor (yellow). The jump on the right is the rectifier's: so long
# a step carries some unit over its corner, where there is no slope.

# %%
rng = np.random.default_rng(1)
layers = [(rng.normal(size=(2, 16)), np.zeros(16)), (rng.normal(size=(16, 2)) / 4, np.zeros(2))]
x, labels = spirals[:64].astype(float), arm[:64]
true = backwards(forwards(x, layers), labels, layers)
wrong = [(true[0][0] * np.linspace(0.9, 1.1, 16), true[0][1]), true[1]]
sizes, gaps = np.logspace(-9, -1, 33), {'ours': [], 'wrong': []}
direction = [tuple(rng.normal(size=v.shape) for v in layer) for layer in layers]
for h in sizes:
    moved = [loss_of(x, labels, [tuple(v + s * h * d for v, d in zip(layer, step))
                                 for layer, step in zip(layers, direction)]) for s in (1, -1)]
    difference = (moved[0] - moved[1]) / (2 * h)
    for name, grads in (('ours', true), ('wrong', wrong)):
        slope = sum(np.sum(d * g) for step, grad in zip(direction, grads) for d, g in zip(step, grad))
        gaps[name].append(abs(difference - slope))
figure, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(sizes, gaps['ours'], 'o-', color=BLUE, ms=4, label='the formulas above')
ax.plot(sizes, gaps['wrong'], 's-', color=YELLOW, ms=4, label='a wrong factor in one layer')
ax.set(xscale='log', yscale='log', xlabel='step h of the difference', ylabel='gap to the difference',
       title='a right gradient shows a V')
ax.legend()
plt.show()

# %% [markdown]
# ## The component
#
# `levels/level2_neural/backprop.py` holds the same lines as layers: each with a `forward` that says what it keeps, and
# a `backward`. Tests compare every one with autodiff, to $10^{-10}$ in float64.
#
# ### Every activation and its slope
#
# What a layer is multiplied by on its way back. Where the slope is near 0 no blame gets through: on both sides of the
# sigmoid and of the hyperbolic tangent, left of the rectifier. The smooth ones keep a little everywhere.

# %%
x = jnp.linspace(-5, 5, 401)
figure, axes = plt.subplots(2, 4, figsize=(12, 4.6), sharex=True)
for ax, name in zip(axes.flat, ('sigmoid', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu_erf', 'mish', 'hard_swish')):
    y = ACTIVATIONS[name](x)
    ax.plot(x, y, color=BLUE, lw=2, label='value')
    ax.plot(x, SLOPES[name](x, y), color=RED, lw=1.5, label='slope')
    ax.set(title=name, ylim=(-1.4, 3))
axes[0, 0].legend(loc='upper left')
for ax in axes[1]:
    ax.set_xlabel('z')
plt.show()

# %% [markdown]
# ### A chain: our NumPy lines once more
#
# The same weights in `chain`: the gradients are those of the NumPy lines above. `passes` gives every value and every
# slope by name, so nothing needs to be guessed when a network does not learn.

# %%
two = chain(dense(16), activation('relu'), dense(2), head=softmax_cross_entropy_head())
x = jnp.asarray(spirals[:64])
params = {n: {'kernel': jnp.float32(W), 'bias': jnp.float32(b)} for n, (W, b) in zip(('0 dense', '2 dense'), layers)}
params['1 relu'] = {}
seen = two.passes(params, {n: {} for n in two.names}, x, jnp.asarray(labels))
for name, (dW, db) in zip(('0 dense', '2 dense'), true):
    gap = max(np.abs(seen.grads[name]['kernel'] / 64 - dW).max(), np.abs(seen.grads[name]['bias'] / 64 - db).max())
    print(f'{name}: equal to the NumPy lines to {"1e-6" if gap < 1e-6 else gap}')
print({name: value.shape for name, value in seen.values.items()})

# %% [markdown]
# ### Digits
#
# 4,000 images of handwritten digits, two hidden layers with batch norm and dropout. `chain_task` makes the chain a task
# of the core, which the same loop trains that trains everything here; its steps hold nothing but the lines above. For
# comparison the same network, the same images, the same dropout, with gradients by `jax.grad`: the two curves lie on
# each other.

# %%
digits = datasets.load('mnist_5k')
image = lambda rows: ((rows['image'].reshape(len(rows['image']), -1) / 255 - 0.13) / 0.31).astype(np.float32)
train, test = ({'x': image(rows), 'y': rows['label']} for rows in (digits.train, digits.test))
steps, size = 1000, 100
epochs = np.concatenate([np.random.default_rng(i).permutation(4000) for i in range(steps * size // 4000)])
resident = {**{k: jnp.asarray(v) for k, v in train.items()}, 'order': jnp.asarray(epochs.reshape(steps, size))}
batches = lambda data, i: {k: data[k][data['order'][i]] for k in ('x', 'y')}
net = chain(dense(128), batch_norm(), activation('relu'), dropout(0.2), dense(64), batch_norm(), activation('relu'),
            dense(10), head=softmax_cross_entropy_head())
rate = lambda count: 0.05 * (1 + jnp.cos(jnp.pi * count / steps))
task = chain_task(net, sgd(rate, momentum=0.9))


def by_autodiff(key, fit, batch):
    def loss(params):
        output, _, _, stats = net.forward(params, fit.extra, batch['x'], train=True, key=key)
        return net.head.value(output, batch['y']).mean(), stats

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(fit.params)
    updates, opt = sgd(rate, momentum=0.9).update(grads, fit.opt, fit.params)
    return fit._replace(params=jax.tree.map(jnp.add, fit.params, updates), extra=stats, opt=opt), {'loss': value}


by_hand, shown = jax.jit(train_fn(task, steps, batches))(jax.random.key(0), resident)
automatic, other = jax.jit(train_fn(task._replace(step=by_autodiff), steps, batches))(jax.random.key(0), resident)
smooth = lambda v: np.convolve(v, np.ones(20) / 20, 'valid')
figure, (left, right_) = plt.subplots(1, 2, figsize=(11, 3.4))
left.plot(smooth(np.asarray(shown['loss'].value)), color=BLUE, lw=4, alpha=0.5, label='by hand')
left.plot(smooth(np.asarray(other['loss'])), color=RED, lw=1, label='by autodiff')
left.set(yscale='log', xlabel='training step', ylabel='cross-entropy (nats), mean of 20 steps', title='the same curve')
left.legend()
gap = np.abs(np.asarray(shown['loss'].value) - np.asarray(other['loss']))
right_.plot(gap, '.', ms=3, color=GREEN)
right_.set(yscale='log', ylim=(1e-9, 1), xlabel='training step', ylabel='difference of the two losses',
           title='rounding, and no more')
plt.show()
score = jax.jit(lambda fit: net.forward(fit.params, fit.extra, jnp.asarray(test['x']))[0])
logits = np.asarray(score(by_hand.state))
print(f'{np.mean(logits.argmax(1) == test["y"]):.3f} of the test images are read rightly')

# %% [markdown]
# ### Looking inside
#
# On the left what each layer gives, on the right how large the slope of the loss is there, for 500 images, on a
# logarithmic scale. Batch norm puts its values around 0 with spread 1; the rectifier cuts off one half. At the logits
# most slopes are tiny: those images are read rightly already, and there is nobody to blame. Behind the batch norms,
# which tie the images of a batch together, all have a share of what the others got wrong, and from there to the first
# layer blame neither fades nor blows up.

# %%
seen = jax.device_get(jax.jit(lambda fit, x, y: net.passes(fit.params, fit.extra, x, y, train=True,
                                                           key=jax.random.key(1)))(
    by_hand.state, train['x'][:500], train['y'][:500]))
figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
for ax, tensors, color in zip(axes, (seen.values, seen.slopes), (BLUE, RED)):
    numbers = [np.asarray(tensors[name]).ravel() for name in net.names]
    if color == RED:
        numbers = [np.log10(np.abs(v[v != 0])) for v in numbers]
    parts = ax.violinplot(numbers, range(len(numbers)), orientation='horizontal', showextrema=False, widths=0.85)
    for body in parts['bodies']:
        body.set(facecolor=color, alpha=0.45)
    ax.plot([np.median(v) for v in numbers], range(len(numbers)), 'o', color=color, ms=4)
    ax.set(yticks=range(len(numbers)), yticklabels=net.names)
axes[0].invert_yaxis()
axes[0].set(title='values, forwards', xlabel='value')
axes[1].set(title='slopes of the loss, backwards (zeros left out)', xlabel='log10 of |slope|')
plt.show()

# %% [markdown]
# ### What it got wrong
#
# The test images that were given to a wrong class with the most confidence: the truth, the guess, its probability. Some
# of them a person would have to think about as well.

# %%
p = np.asarray(jax.nn.softmax(logits))
guess = p.argmax(1)
worst = np.argsort(np.where(guess == test['y'], 0, -p.max(1)), kind='stable')[:16]
figure, axes = plt.subplots(2, 8, figsize=(11, 3.2))
for ax, i in zip(axes.flat, worst):
    ax.imshow(digits.test['image'][i, ..., 0], cmap='gray_r')
    ax.set_title(f'{test["y"][i]} as {guess[i]} ({p[i].max():.0%})', fontsize=9)
    ax.axis('off')
plt.show()

# %% [markdown]
# ## Exercises
#
# Each checks itself on many inputs and says what is not right yet. Replace `todo` by your answer and run the cell.
# `hint(exercises['dense_back'], 1)` gives the first of three hints.

# %%
exercises = {e.name: e for e in backprop_exercises()}
hint(exercises['dense_back'], 1)

# %%
print(exercises['dense_back'].task)


def dense_back(x, W, dy):
    return todo(x, W, dy)


attempt(exercises['dense_back'], dense_back);

# %%
print(exercises['head_slope'].task)


def head_slope(logits, labels):
    return todo(logits, labels)


attempt(exercises['head_slope'], head_slope);

# %%
print(exercises['two_layers'].task)


def two_layers(x, labels, W, V):
    return todo(x, labels, W, V)


attempt(exercises['two_layers'], two_layers);
