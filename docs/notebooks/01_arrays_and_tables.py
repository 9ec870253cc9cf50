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
# # Arrays and tables
#
# Numbers in a row of memory and ways to look at them; tables of text that become typed columns. First pictures, then
# the mathematics, then the components that rest on it, and at the end the exercises of four lessons: Python, NumPy,
# pandas, Matplotlib.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.animation import FuncAnimation
from matplotlib.colors import ListedColormap
from sklearn.datasets import load_digits

from common.plots import COLORS
from levels.level0_foundations.lessons.colours import VISIONS, brightness, closest
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.numpy_arrays import numpy_lesson
from levels.level0_foundations.lessons.plots import APART, plot_lesson
from levels.level0_foundations.lessons.python_basics import python_lesson
from levels.level0_foundations.lessons.show import moving
from levels.level0_foundations.lessons.tables import KINDS, MONTHS, made_up_orders, pandas_lesson
from levels.level0_foundations.linear_algebra.products import matmul, product_cost, significant_bits
from levels.level0_foundations.linear_algebra.vectors import norm

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.titlesize': 11, 'font.size': 10,
                     'legend.fontsize': 9, 'axes.prop_cycle': plt.cycler(color=COLORS)})

# %% [markdown]
# ## The idea
#
# ### A picture is an array, and an array can be looked at in many ways
#
# A handwritten three, eight rows of eight numbers. Reversed, thinned out and transposed it is still the *same* numbers
# in memory: these are views, and writing into one of them would change the others.

# %%
three = load_digits().images[3].astype(np.uint8)
views = {'x': three, 'x[::-1]\nrows reversed': three[::-1], 'x[:, ::2]\nevery second column': three[:, ::2],
         'x.T\naxes swapped': three.T}
figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), width_ratios=(8, 8, 5, 8))
for ax, (name, view) in zip(axes, views.items()):
    ax.imshow(view, cmap='Greys', vmax=22)
    for (i, j), value in np.ndenumerate(view):
        ax.text(j, i, value, ha='center', va='center', fontsize=8, color='white' if value > 11 else 'black')
    ax.set(title=name, xticks=range(view.shape[1]), yticks=range(view.shape[0]))
plt.show()
print('all in one memory:', all(np.shares_memory(three, view) for view in views.values()))

# %% [markdown]
# ### Memory is one row; shape and strides say how to read it
#
# Below each table is the row of memory that it reads, in the same colours; what a view does not read is pale. In
# row-major order neighbours in a row stand side by side. The transposed view reads the same row in steps of four. A
# stride of **zero** reads one number again and again: that is how an array is stretched without a copy.


# %%
def memory(ax, view, base, name):
    """A table in colours, and below it the memory that it looks at."""
    start = base.__array_interface__['data'][0]
    place = (view.__array_interface__['data'][0] - start) // base.itemsize
    steps = [s // base.itemsize for s in view.strides]
    hue, read = plt.get_cmap('viridis'), set()
    for (i, j), value in np.ndenumerate(view):
        at = place + i * steps[0] + j * steps[1]
        read.add(at)
        ax.add_patch(plt.Rectangle((j, -i), 0.92, 0.92, color=hue(at / base.size)))
        ax.text(j + 0.46, 0.46 - i, value, ha='center', va='center', color='white' if at < 8 else 'black')
    for at in range(base.size):
        alpha = 1 if at in read else 0.12
        ax.add_patch(plt.Rectangle((at / 2, -5), 0.46, 0.92, color=hue(at / base.size), alpha=alpha))
    ax.text(0, -3.7, 'memory', fontsize=9)
    ax.set(xlim=(-0.2, 6.2), ylim=(-5.2, 1.2), aspect='equal', title=f'{name}\nstrides {tuple(steps)}, in numbers')
    ax.axis('off')


base = np.arange(12)
table = base.reshape(3, 4)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.6))
memory(axes[0], table, base, 'x = arange(12).reshape(3, 4)')
memory(axes[1], table.T, base, 'x.T')
memory(axes[2], table[::-1, 1::2], base, 'x[::-1, 1::2]')
memory(axes[3], np.broadcast_to(table[0], (3, 4)), base, 'broadcast_to(x[0], (3, 4))')
plt.show()

# %% [markdown]
# ### Broadcasting: small arrays stretch to meet each other
#
# A column of four and a row of six make a table of 24: every number of one meets every number of the other. Most loops
# over pairs disappear this way.

# %%
column, row = np.array([0, 10, 20, 30])[:, None], np.arange(6)[None]
figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), width_ratios=(1.5, 0.5, 6, 0.5, 6))
for ax, part in zip(axes[::2], (column, row, column + row)):
    ax.imshow(part, cmap='Blues', vmin=-5, vmax=55)
    for (i, j), value in np.ndenumerate(part):
        ax.text(j, i, value, ha='center', va='center')
    ax.set(xticks=[], yticks=[], title=f'[{part.shape[0]}, {part.shape[1]}]')
for ax, sign in zip(axes[1::2], '+='):
    ax.text(0.5, 0.5, sign, fontsize=22, ha='center', va='center')
    ax.axis('off')
plt.show()

# %% [markdown]
# ### A window that slides
#
# All windows of a signal are another view: a table in which neighbouring rows overlap. Its means, row by row, are a
# smoother signal, shorter by one window less one.

# %%
rng = np.random.default_rng(0)
signal = np.sin(np.linspace(0, 7, 90)) + 0.35 * rng.normal(size=90)
width = 15
windows = np.lib.stride_tricks.sliding_window_view(signal, width)
smooth, centre = windows.mean(1), np.arange(len(windows)) + width // 2
figure, ax = plt.subplots(figsize=(7, 3), dpi=80)
ax.plot(signal, '.', color='0.6')
line, dot = ax.plot([], [], color=BLUE, lw=2)[0], ax.plot([], [], 'o', color=RED)[0]
window = ax.axvspan(0, width - 1, color=YELLOW, alpha=0.35)
ax.set(xlabel='place', ylabel='value', title=f'a window of {width}, and its mean')


def slide(i):
    window.set_x(i)
    line.set_data(centre[:i + 1], smooth[:i + 1])
    dot.set_data(centre[i:i + 1], smooth[i:i + 1])


moving(FuncAnimation(figure, slide, frames=range(0, len(windows), 2)), colours=128)

# %% [markdown]
# ### A table as it comes
#
# Orders as people type them (made up, the same every time): every column is text, in three spellings, with gaps in
# three spellings, and some rows came twice.

# %%
orders = made_up_orders(0, 200)
orders.raw.head(8)

# %% [markdown]
# The same orders as typed columns: text, dates, categories, numbers, and integers that may be missing. What is missing
# is now missing to the machine too.

# %%
orders.clean.head(8)

# %%
orders.clean.dtypes.to_frame('dtype').T

# %% [markdown]
# On the left the gaps, one line for each order: they are spread evenly and not in certain rows only, which is the first
# thing to look at. In the middle the prices by kind, on an axis of ratios: on a plain one the few large ones would
# squeeze all others into a line. On the right what was sold, month by month.

# %%
clean = orders.clean
sold = clean['price'] * clean['count'].astype(float)
turnover = (clean.assign(month=clean['day'].dt.to_period('M'), turnover=sold)
            .pivot_table(index='month', columns='kind', values='turnover', aggfunc='sum', observed=False))
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), width_ratios=(2, 3, 4))
axes[0].imshow(clean.isna(), aspect='auto', interpolation='nearest', cmap=ListedColormap(['0.92', RED]))
axes[0].set(xticks=range(5), ylabel='order', title='missing values (dark)')
axes[0].set_xticks(range(5), clean.columns, rotation=45)
sns.boxplot(clean, x='kind', y='price', log_scale=True, showfliers=False, fill=False, color='0.5', ax=axes[1])
for code, color in enumerate(COLORS):
    prices = clean['price'][clean['kind'].cat.codes == code].dropna()
    axes[1].plot(code + rng.uniform(-0.2, 0.2, len(prices)), prices, '.', color=color)
axes[1].set(title='prices', xlabel='')
(turnover.astype(float) / 1000).plot.bar(stacked=True, ax=axes[2], color=COLORS, width=0.8)
axes[2].set(title='turnover', ylabel='thousands', xlabel='')
axes[2].tick_params(axis='x', rotation=0)
plt.show()

# %% [markdown]
# ## The mathematics
#
# **An array is an address.** With strides $s$ (in bytes) the entry $(i_1, \dots, i_k)$ stands at
#
# $$\text{address}(i) = \text{address}(0) + \sum_k i_k s_k .$$
#
# A transpose swaps strides, a reversed axis has a negative one, a stretched axis has $s_k = 0$. None of them moves a
# number. A row-major array of shape $(n_1, \dots, n_k)$ has $s_k = $ the size of one number and
# $s_j = n_{j+1} s_{j+1}$.
#
# **Broadcasting.** Shapes are aligned at their *last* axis; two lengths meet if they are equal or one of them is 1, and
# then
#
# $$(a + b)_{ij} = a_{i1} + b_{1j} \qquad \text{for } a \in \mathbb R^{n \times 1},\ b \in \mathbb R^{1 \times m}.$$
#
# **Reductions** remove an axis: the mean over axis 0 is $\bar x_j = \frac1n \sum_i x_{ij}$, and with the standard
# deviation $s_j$ the standardised columns are $z_{ij} = (x_{ij} - \bar x_j) / s_j$, by broadcasting once more.
#
# **Numbers are rounded.** float32 has 24 bits: every result carries a relative error up to
# $\varepsilon = 2^{-24} \approx 6 \cdot 10^{-8}$. Of the two formulas for a squared distance
#
# $$\sum_k (a_k - b_k)^2 \quad\text{and}\quad \lVert a \rVert^2 + \lVert b \rVert^2 - 2 a^\top b$$
#
# the second subtracts numbers of size $\lVert a \rVert^2$. Its relative error is about
# $\varepsilon \lVert a \rVert^2 / \lVert a - b \rVert^2$: far from the origin nothing is left of the answer.
#
# **Grouping is a product.** Let $H \in \{0, 1\}^{n \times k}$ have a 1 where row $i$ belongs to group $j$. Then sums,
# counts and means of a column $v$ by group are
#
# $$H^\top v, \qquad H^\top \mathbf 1, \qquad (H^\top v)_j \,/\, (H^\top \mathbf 1)_j ,$$
#
# and looking a group's number $m$ up for every row, as a join does, is $H m$.
#
# The picture checks the claim about distances: two points at distance 1 that move away from the origin. The dashed line
# is the prediction, with no constant fitted. (Where the first formula makes no error at all it is drawn at the edge.)

# %%
far = np.logspace(0, 6, 25)
rng = np.random.default_rng(1)
errors = {'subtract the points': [], 'expand the square': []}
for shift in far:
    direction = rng.normal(size=(200, 3))
    a = (shift * direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(np.float32)
    b = a + rng.normal(size=(200, 3)).astype(np.float32)
    exact = ((a.astype(float) - b.astype(float)) ** 2).sum(1)
    found = {'subtract the points': ((a - b) ** 2).sum(1), 'expand the square': (a**2).sum(1) + (b**2).sum(1)
             - 2 * (a * b).sum(1)}
    for name, values in found.items():
        errors[name].append(np.sqrt(np.mean((values / exact - 1) ** 2)))
figure, ax = plt.subplots(figsize=(7, 3.4))
for (name, values), color in zip(errors.items(), (BLUE, RED)):
    ax.plot(far, np.maximum(values, 2e-9), 'o', color=color, label=name, ms=4)
ax.plot(far, 2.0**-24 * far**2, '--', color='0.4', label=r'$\varepsilon \, |a|^2 / |a - b|^2$')
ax.axhline(1, color='0.8')
ax.set(xscale='log', yscale='log', xlabel='distance from the origin', ylabel='relative error', ylim=(1e-9, 1e7),
       title='squared distances of points one apart, in float32')
ax.legend()
plt.show()

# %% [markdown]
# ## The component
#
# ### `norm`: a sum of squares that does not overflow
#
# The largest float32 is about $3 \cdot 10^{38}$, so the square of $10^{20}$ is infinite, and that of $10^{-25}$ is
# zero. The component takes the largest entry out first: $\lVert x \rVert = s \, \lVert x / s \rVert$.

# %%
sizes = np.logspace(-37, 38, 76)
x = jnp.array([0.6, 0.8])
plain = jax.vmap(lambda s: jnp.sqrt(jnp.sum((s * x) ** 2)) / s)(jnp.asarray(sizes, jnp.float32))
safe = jax.vmap(lambda s: norm(s * x) / s)(jnp.asarray(sizes, jnp.float32))
figure, ax = plt.subplots(figsize=(7, 2.8))
ax.plot(sizes, jnp.where(jnp.isfinite(plain), plain, 1.5), color=RED, label='sqrt of the sum of squares')
ax.plot(sizes, safe, '--', color=BLUE, label='norm')
ax.set(xscale='log', xlabel='size of the vector', ylabel='length / size', ylim=(-0.1, 1.7),
       title='the first falls to 0 on the left; on the right it is infinite (drawn at 1.5)')
ax.legend(loc='center')
plt.show()

# %% [markdown]
# ### `matmul`: the same product, three ways through memory
#
# Every entry of a product is $n$ multiplications; what differs is how often numbers are fetched. The component counts
# it. A machine that can do ten operations while it fetches one byte keeps busy only above the dashed line: that is why
# nobody writes the triple loop, and why blocks exist.

# %%
A, B = jax.random.normal(jax.random.key(0), (2, 96, 96))
for method in ('naive', 'blocked', 'dot_general'):
    error = jnp.max(jnp.abs(matmul(A, B, method=method) - np.asarray(A, float) @ np.asarray(B, float)))
    print(f'{method:12s} largest error below 1e-4: {bool(error < 1e-4)}')
print('bits of a factor that count here:', {p: significant_bits(precision=p) for p in ('highest', 'bf16')})
side = 2 ** np.arange(6, 13)
figure, ax = plt.subplots(figsize=(7, 3.2))
for method, color in zip(('naive', 'blocked', 'dot_general'), (RED, YELLOW, BLUE)):
    costs = [product_cost(int(n), int(n), int(n), method=method).intensity for n in side]
    ax.plot(side, costs, 'o-', color=color, label=method, ms=4)
ax.axhline(10, color='0.5', ls='--')
ax.set(xscale='log', yscale='log', xlabel='side of the matrices', ylabel='operations per byte',
       title='what one byte from memory is good for')
ax.legend()
plt.show()

# %% [markdown]
# ### From a table to JAX
#
# Codes instead of categories, a mask instead of gaps, float32: then grouping is the product from above, runs inside
# `jit`, and agrees with pandas.

# %%
known = clean.dropna(subset=['price', 'count'])
kind = jnp.asarray(known['kind'].cat.codes.to_numpy(np.int32))
value = jnp.asarray((known['price'] * known['count'].astype(float)).to_numpy(np.float32))
H = jax.nn.one_hot(kind, len(KINDS))
by_product = jax.jit(lambda H, v: matmul(H.T, v[:, None])[:, 0])(H, value)
by_pandas = (known['price'] * known['count'].astype(float)).groupby(known['kind'], observed=False).sum()
pd.DataFrame({'H^T v in JAX': np.asarray(by_product), 'groupby in pandas': by_pandas}).round(1)

# %%
grid = turnover.reindex(MONTHS).astype(float).fillna(0) / 1000
figure, ax = plt.subplots(figsize=(6, 3.2))
image = ax.imshow(grid.T, cmap='Blues')
for (i, j), v in np.ndenumerate(grid.T.to_numpy()):
    ax.text(j, i, f'{v:.1f}', ha='center', va='center', color='white' if v > 0.6 * grid.to_numpy().max() else 'black')
ax.set(title='turnover by kind and month, thousands', xticks=range(6), yticks=range(4), yticklabels=KINDS)
ax.set_xticks(range(6), [str(m) for m in MONTHS], rotation=30)
figure.colorbar(image, shrink=0.8)
plt.show()

# %% [markdown]
# ### Colours that everybody can tell apart
#
# One man in twelve lacks a kind of cone. `closest` says how far apart the two most alike colours of a palette are, in
# units in which 2 is the least that an eye can tell; the plot lesson asks for at least 10. Red, green and brown of the
# same brightness merge; seaborn's `colorblind` does not. On the right two colour maps: one gets brighter all the way,
# the other up and down, and so draws edges where there are none.

# %%
palettes = {'colorblind': sns.color_palette('colorblind')[:4],
            'red, green, brown': [(0.8, 0.25, 0.2), (0.45, 0.5, 0.1), (0.6, 0.4, 0.2), (0.1, 0.3, 0.7)]}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
for k, (name, palette) in enumerate(palettes.items()):
    gaps = [closest(palette, vision) for vision in VISIONS]
    left.bar(np.arange(3) + 0.4 * k - 0.2, gaps, 0.38, color=(BLUE, RED)[k], label=name)
left.axhline(APART, color='0.4', ls='--')
left.set_xticks(range(3), VISIONS)
left.set(ylabel='least distance of two colours', title='how palettes look to three kinds of eyes')
left.legend()
for name, color in (('viridis', BLUE), ('jet', RED)):
    right.plot(np.linspace(0, 1, 256), brightness(name), color=color, label=name)
right.set(xlabel='value', ylabel='brightness L*', title='brightness along a colour map')
right.legend()
plt.show()

# %% [markdown]
# ## Exercises
#
# Each checks itself, on many inputs, and says what is not right yet without giving the solution away. Replace `todo` by
# your answer and run the cell. `hint(numpy['distances'], 1)` gives the first of three hints.

# %%
python, numpy, pandas, plots = ({e.name: e for e in lesson()} for lesson in (
    python_lesson, numpy_lesson, pandas_lesson, plot_lesson))
hint(numpy['distances'], 1)

# %% [markdown]
# ### Python

# %%
print(python['flatten'].task)


def flatten(items):
    return todo(items)


attempt(python['flatten'], flatten);

# %%
print(python['group'].task)


def group(pairs, into=None):
    return todo(pairs, into)


attempt(python['group'], group);

# %%
print(python['parse'].task)


def parse(text):
    return todo(text)


attempt(python['parse'], parse);

# %%
print(python['counted'].task)


def counted(fn):
    return todo(fn)


attempt(python['counted'], counted);

# %%
print(python['interval'].task)


class Interval:
    def __init__(self, low, high):
        todo(low, high)


attempt(python['interval'], Interval);

# %%
print(python['setting'].task)


def setting(table, key, value):
    return todo(table, key, value)


attempt(python['setting'], setting);
# %% [markdown]
# ### NumPy

# %%
print(numpy['distances'].task)


def distances(a, b):
    return todo(a, b)


attempt(numpy['distances'], distances);

# %%
print(numpy['standardise'].task)


def standardise(x):
    return todo(x)


attempt(numpy['standardise'], standardise);

# %%
print(numpy['moving_mean'].task)


def moving_mean(x, width):
    return todo(x, width)


attempt(numpy['moving_mean'], moving_mean);

# %%
print(numpy['one_hot'].task)


def one_hot(labels, n):
    return todo(labels, n)


attempt(numpy['one_hot'], one_hot);

# %%
print(numpy['block_means'].task)


def block_means(image, size):
    return todo(image, size)


attempt(numpy['block_means'], block_means);

# %%
print(numpy['top'].task)


def top(x, k):
    return todo(x, k)


attempt(numpy['top'], top);

# %%
print(numpy['mirrored'].task)


def mirrored(x):
    return todo(x)


attempt(numpy['mirrored'], mirrored);
# %% [markdown]
# ### pandas
#
# The tables come from `made_up_orders(seed)`: look at `.raw` and `.clean`.

# %%
print(pandas['clean'].task)


def clean(raw):
    return todo(raw)


attempt(pandas['clean'], clean);

# %%
print(pandas['fill'].task)


def fill(train, test):
    return todo(train, test)


attempt(pandas['fill'], fill);

# %%
print(pandas['monthly'].task)


def monthly(orders):
    return todo(orders)


attempt(pandas['monthly'], monthly);

# %%
print(pandas['with_region'].task)


def with_region(orders, shops):
    return todo(orders, shops)


attempt(pandas['with_region'], with_region);

# %%
print(pandas['tidy'].task)


def tidy(wide):
    return todo(wide)


attempt(pandas['tidy'], tidy);

# %%
print(pandas['to_arrays'].task)


def to_arrays(orders):
    return todo(orders)


attempt(pandas['to_arrays'], to_arrays);
# %% [markdown]
# ### Matplotlib and seaborn
#
# An answer returns a figure: `figure, ax = plt.subplots()`, draw, `return figure`.

# %%
print(plots['curves'].task)


def curves(losses):
    return todo(losses)


attempt(plots['curves'], curves);

# %%
print(plots['scaling'].task)


def scaling(n, seconds):
    return todo(n, seconds)


attempt(plots['scaling'], scaling);

# %%
print(plots['intervals'].task)


def intervals(names, values):
    return todo(names, values)


attempt(plots['intervals'], intervals);

# %%
print(plots['compare'].task)


def compare(a, b):
    return todo(a, b)


attempt(plots['compare'], compare);

# %%
print(plots['confusion'].task)


def confusion(counts, names):
    return todo(counts, names)


attempt(plots['confusion'], confusion);

# %%
print(plots['panels'].task)


def panels(table):
    return todo(table)


attempt(plots['panels'], panels);
