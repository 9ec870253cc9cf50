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
# # Optimisation
#
# How to walk downhill in fog: first as pictures that move, then the mathematics of how fast each way is, then the
# components (`optimisers.py` and `optimisation/` of `levels/level0_foundations`), and exercises at the end.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.animation import FuncAnimation
from matplotlib.colors import ListedColormap

from common.plots import COLORS
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.mathematics import optimisation_exercises
from levels.level0_foundations.lessons.show import moving
from levels.level0_foundations.optimisation.convexity import KINDS, classify, hessian_test, secant_test
from levels.level0_foundations.optimisation.landscapes import basin_map, gallery
from levels.level0_foundations.optimisation.line_search import backtracking, wolfe
from levels.level0_foundations.optimisation.minimise import gradient_descent, lbfgs, newton
from levels.level0_foundations.optimisation.quadratics import METHODS, best_rates, contraction
from levels.level0_foundations.optimisers import adam, adamw, rmsprop, sgd

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 70, 'figure.constrained_layout.use': True, 'axes.titlesize': 11, 'font.size': 10,
                     'legend.fontsize': 9, 'axes.prop_cycle': plt.cycler(color=COLORS)})
LANDSCAPES = gallery()


def path(tx, fun, start, steps):
    """[steps + 1, 2]: where an optimiser goes from a start."""
    def step(carry, _):
        p, state = carry
        updates, state = tx.update(jax.grad(fun)(p), state, p)
        p = optax.apply_updates(p, updates)
        return (p, state), p

    start = jnp.asarray(start)
    return np.concatenate([start[None], jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=steps)[1])(start)])


def levels(ax, fun, low, high, n=14):
    """Level lines, closer together near the bottom."""
    x, y = (np.linspace(a, b, 121) for a, b in zip(low, high))
    z = np.asarray(jax.jit(jax.vmap(jax.vmap(fun)))(jnp.stack(jnp.meshgrid(x, y), -1)))
    at = z.min() + np.ptp(z) * np.linspace(0.015, 1, n) ** 2.5
    ax.contour(x, y, z, levels=at, colors='0.55', linewidths=0.6)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


# %% [markdown]
# ## The idea
#
# ### Four walkers in the fog
#
# Each knows only the slope under its feet. On the left a long bowl, 30 times steeper across than along; on the right
# a valley that bends. *Gradient descent* takes the steepest way down, which is across the valley, not along it.
# *Momentum* keeps rolling: sideways swings cancel, the way along adds up. *Nesterov* looks where the momentum will
# take it before it judges the slope. *Adam* measures every coordinate by its own history, so that steep and flat ones
# take steps of the same length.

# %%
bowl = lambda p: 0.5 * (p[0] ** 2 + 30 * p[1] ** 2)
valley = LANDSCAPES['rosenbrock'].fun
plans = {name: best_rates(1.0, 30.0, method=name) for name in METHODS}
_, ball, ahead = plans.values()
walkers = {
    'gradient descent': (sgd(plans['gradient descent'].rate), sgd(0.001)),
    'momentum': (sgd(ball.rate, momentum=ball.momentum), sgd(0.001, momentum=0.9)),
    'Nesterov': (sgd(ahead.rate, momentum=ahead.momentum, nesterov=True), sgd(0.001, momentum=0.9, nesterov=True)),
    'Adam': (adam(0.3), adam(0.05))}
places = ((bowl, (-5.0, -2.6), (1.5, 2.6), (-4.5, 1.2), 36), (valley, (-1.8, -0.6), (1.6, 2.4), (-1.4, 2.0), 360))
routes = [[path(pair[i], fun, start, steps) for pair in walkers.values()]
          for i, (fun, _, _, start, steps) in enumerate(places)]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
lines = []
for ax, (fun, low, high, *_), bottom, title in zip(axes, places, ((0, 0), (1, 1)), (
        'a long bowl: 36 steps', "Rosenbrock's valley: 360 steps")):
    levels(ax, fun, low, high)
    ax.plot(*bottom, 'k*', ms=11)
    lines += [[ax.plot([], [], '-', color=color, lw=1.5, label=name)[0] for name, color in zip(walkers, COLORS)],
              [ax.plot([], [], 'o', color=color, ms=7, mec='black')[0] for color in COLORS]]
    ax.set_title(title)
axes[1].legend(loc='lower center', ncols=2)
figure.draw_without_rendering()
figure.set_layout_engine('none')         # the layout is found once, not in every frame


def frame(i):
    for (tails, heads), walks in zip((lines[:2], lines[2:]), routes):
        for tail, head, walk in zip(tails, heads, walks):
            now = walk[:1 + min(i, 36) * (len(walk) - 1) // 36]
            tail.set_data(*now.T)
            head.set_data(*now[-1:].T)


moving(FuncAnimation(figure, frame, frames=48), fps=7)

# %% [markdown]
# ### How long a step?
#
# A parabola with curvature 1. At rate 0.1 the walker creeps, at 1 it is there at once, at 1.9 it swings from side to
# side and still arrives; above 2 every step ends higher than it began. With many coordinates the steepest one sets
# this limit, and the flattest one has to live with it.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 2.6), sharey=True)
x = np.linspace(-2.6, 2.6, 100)
for ax, rate in zip(axes, (0.1, 1.0, 1.9, 2.1)):
    walk = -2 * (1 - rate) ** np.arange(12.0)
    walk = walk[np.abs(walk) < 3.3]
    ax.plot(x, x ** 2 / 2, color='0.6')
    ax.plot(walk, walk ** 2 / 2, 'o-', color=RED if rate > 2 else BLUE, ms=4, lw=1)
    ax.set(title=f'rate {rate}', xlabel='x', xlim=(-2.7, 2.7), ylim=(-0.2, 3.4))
axes[0].set_ylabel('f(x)')
plt.show()

# %% [markdown]
# ### Where the slope is zero
#
# At a minimum the ground rises all around, at a saddle it rises one way and falls the other, and a monkey saddle has
# room for a tail as well. All three are flat under the feet: the slope alone cannot tell them apart, the curvature
# can (except for the third, where it is zero too).

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), subplot_kw={'projection': '3d'})
for ax, name in zip(axes, ('bowl', 'saddle', 'monkey saddle')):
    here, ax.computed_zorder = LANDSCAPES[name], False
    x, y = np.meshgrid(np.linspace(-1, 1, 31), np.linspace(-1, 1, 31))
    ax.plot_surface(x, y, np.asarray(here.fun(np.stack([x, y]))), cmap='viridis')
    ax.scatter(0, 0, float(here.fun(jnp.zeros(2))), color=RED, s=40, depthshade=False, ec='white', zorder=5)
    ax.set(title=f'{name}: {KINDS[classify(here.fun, jnp.zeros(2))]}', xticks=[], yticks=[], zticks=[])
plt.show()

# %% [markdown]
# ## The mathematics
#
# **Quadratics.** Near a minimum $f(x) \approx \frac12 (x - x^*)^\top H (x - x^*)$. Gradient descent $x_{t+1} = x_t -
# \eta f'(x_t)$ multiplies the error along an eigenvector of curvature $\lambda$ by $1 - \eta\lambda$. With curvatures
# between $m$ and $L$, $\kappa = L/m$:
# $$\text{it converges} \iff \eta < \frac2L, \qquad
#   \min_\eta \max_\lambda |1 - \eta\lambda| = \frac{\kappa - 1}{\kappa + 1} \;\text{ at }\; \eta = \frac2{m + L}.$$
#
# **Momentum.** $v_{t+1} = \mu v_t + f'(x_t)$, $x_{t+1} = x_t - \eta v_{t+1}$. Two steps along one eigenvector obey
# $z^2 - (1 + \mu - \eta\lambda) z + \mu = 0$, and the larger root is the factor. At the best $\eta$ and $\mu$ it is
# $$\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1} :$$
# the *square root* of the condition, which for $\kappa = 10^4$ is a hundred times fewer steps. The limit moves out to
# $\eta < 2(1 + \mu)/L$. Nesterov's method, with the gradient at $x_t - \eta\mu v_t$, reaches $1 - 1/\sqrt\kappa$.
#
# **Adam** divides a running mean of gradients by the root of a running mean of their squares,
# $x_{t+1} = x_t - \eta\,\hat m_t/(\sqrt{\hat v_t} + \epsilon)$: multiplying $f$ by 1000 changes nothing. AdamW takes
# weight decay out of that quotient: $-\eta\,w\,x_t$ beside it.
#
# **Line search.** Along a direction $d$ of descent, $\phi(a) = f(x + a d)$. *Armijo*: $\phi(a) \le \phi(0) + c_1 a
# \phi'(0)$, it went down enough. *Strong Wolfe* asks in addition $|\phi'(a)| \le c_2 |\phi'(0)|$, so that the step is
# not too short either.
#
# **Newton.** $x_{t+1} = x_t - H^{-1} f'(x_t)$ squares the error in every step near a minimum, whatever the condition.
# Far away $H$ may have negative eigenvalues, and then it runs *towards* saddles; with $|H|$ it does not. **L-BFGS**
# builds an approximation of $H^{-1}$ from the last few changes of the gradient and never stores a matrix.
#
# **Convexity.** $f(ta + (1-t)b) \le t f(a) + (1-t) f(b)$, for smooth $f$ the same as $f''(x) \succeq 0$ everywhere.
# Then every stationary point is a global minimum. In general a point with $f' = 0$ is a minimum, a saddle or a
# maximum by the signs of the eigenvalues of $f''$, and the starts from which descent reaches a minimum are its
# *basin*.

# %% [markdown]
# ## The component
#
# ### Optimisers
#
# `sgd`, `adam`, `adamw`, `rmsprop` are factories of optax transformations: a pair of pure functions `init` and
# `update`. They work wherever optax's own do, and the rate may be a number, a traced number, or a schedule.

# %%
params = {'w': jnp.array([1.0, -2.0]), 'b': jnp.array(0.5)}
grads = {'w': jnp.array([0.1, 1000.0]), 'b': jnp.array(-3.0)}
for name, tx in {'sgd': sgd(0.1), 'adam': adam(0.1), 'rmsprop': rmsprop(0.1),
                 'adamw': adamw(0.1, weight_decay=0.5)}.items():
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params)
    print(f'{name:8s} first step of w {updates["w"]}, of b {updates["b"]:.3f}')
try:
    sgd(0.1, momentum=1.0)
except ValueError as error:
    print('refused:', error)

# %% [markdown]
# ### The rates that theory gives
#
# One quadratic with curvatures from 1 to 30, and 45 rates in one `vmap`. Lines: `contraction`, the largest root.
# Dots: by what the error of the real optimiser shrinks in each step. Below the grey line it converges. Gradient
# descent crosses it at 2 / 30 (dashed), the heavy ball later, Nesterov earlier. The lowest point of each is what
# `best_rates` gives (Nesterov's is a safe choice and not the very best).

# %%
curvatures = np.array([1.0, 4.0, 11.0, 30.0])
rates = np.linspace(0.002, 0.125, 45)


def measured(rate, momentum, nesterov):
    """By what the error shrinks in each step, from step 200 to step 600."""
    tx = sgd(rate, momentum=momentum, nesterov=nesterov) if momentum else sgd(rate)

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(curvatures * x, state)
        return (optax.apply_updates(x, updates), state), jnp.log(jnp.linalg.norm(x))

    start = jnp.ones_like(curvatures)
    logs = jax.lax.scan(step, (start, tx.init(start)), length=600)[1]
    return jnp.exp((logs[-1] - logs[199]) / 400)


figure, ax = plt.subplots(figsize=(8, 4))
for (name, plan), color in zip(plans.items(), COLORS):
    m, nesterov = plan.momentum, name == 'nesterov'
    theory = lambda rate, m=m, n=nesterov: contraction(curvatures, rate, momentum=m, nesterov=n)
    with jax.enable_x64(True):          # errors become as small as 1e-90, which float32 cannot tell from 0
        found = jax.jit(jax.vmap(lambda rate, m=m, n=nesterov: measured(rate, m, n)))(rates)
    ax.plot(rates, theory(rates), color=color, label=name)
    ax.plot(rates, found, 'o', ms=4, color=color)
    ax.plot(plan.rate, theory(plan.rate), '*', ms=15, color=color, mec='black')
ax.axhline(1, color='0.5')
ax.axvline(2 / 30, color=BLUE, ls='--', lw=1)
ax.set(ylim=(0.6, 1.25), xlabel='rate', ylabel='error after a step / before',
       title='lines: theory; dots: measured; stars: best_rates')
ax.legend(loc='lower left')
plt.show()
print('steps for one more digit    condition 10   1,000   100,000')
for name in METHODS:
    print(f'{name:26s}', *(f'{-1 / np.log10(best_rates(1.0, k, method=name).factor):12.0f}' for k in (10.0, 1e3, 1e5)))

# %% [markdown]
# ### Line search
#
# Along one direction, how long a step? Below the dashed line (Armijo) the function went down enough; between the
# green marks the slope is flat enough as well (Wolfe, here with $c_2 = 0.4$). `backtracking` halves until the first
# point below the line, `wolfe` looks for a point in the green part.

# %%
bumpy = lambda x: 0.06 * (x[0] - 6) ** 2 + 0.5 * jnp.cos(1.7 * x[0])
x, d = jnp.array([0.0]), jnp.array([1.0])
phi, slope = jax.vmap(lambda a: bumpy(x + a * d)), jax.vmap(jax.grad(lambda a: bumpy(x + a * d)))
a = jnp.linspace(0.0, 13.0, 800)
first, steep = float(phi(jnp.zeros(1))[0]), float(slope(jnp.zeros(1))[0])
good = (phi(a) <= first + 1e-1 * a * steep) & (jnp.abs(slope(a)) <= 0.4 * abs(steep))
figure, ax = plt.subplots(figsize=(8, 3.6))
ax.plot(a, phi(a), color=BLUE)
ax.plot(a, first + 1e-1 * a * steep, '--', color='0.4', label='Armijo, $c_1 = 0.1$')
ax.plot(a, jnp.where(good, phi(a), jnp.nan), color=GREEN, lw=6, alpha=0.5, label='strong Wolfe')
for found, mark, name in ((backtracking(bumpy, x, d, start=12.0, c1=0.1), 's', 'backtracking from 12'),
                          (wolfe(bumpy, x, d, start=1.0, c1=0.1, c2=0.4), 'D', 'wolfe from 1')):
    ax.plot(found.size, found.value, mark, color=RED, ms=9, mec='black',
            label=f'{name}: {found.size:.2f}, {found.evaluations} evaluations')
ax.set(xlabel='length of the step', ylabel='f along the direction')
ax.legend()
plt.show()

# %% [markdown]
# ### Newton and L-BFGS
#
# The same bent valley from 200 starts at once, each until the gradient is below $3 \cdot 10^{-4}$. How many steps it
# took: thousands for gradient descent that looks for its own rate, a few dozen with curvature from gradients
# (L-BFGS), a dozen or two with the whole Hessian (Newton). A step of Newton costs $d^3$, though, and one of L-BFGS
# only $d$.

# %%
starts = jax.random.uniform(jax.random.key(0), (200, 2), minval=-2.0, maxval=2.0)
figure, ax = plt.subplots(figsize=(8, 3.2))
for (name, method), color in zip({'Newton': newton, 'L-BFGS': lbfgs, 'gradient descent': gradient_descent}.items(),
                                 COLORS):
    found = jax.jit(jax.vmap(lambda s, method=method: method(valley, s)))(starts)
    ax.hist(found.steps, bins=np.logspace(0, 4.2, 60), color=color, alpha=0.7, label=name)
    print(f'{name:17s} median {int(jnp.median(found.steps)):5d} steps, all converged: {bool(found.converged.all())}, '
          f'farthest from (1, 1): {float(jnp.abs(found.x - 1).max()):.0e}')
ax.set(xscale='log', xlabel='steps', ylabel='starts')
ax.legend()
plt.show()

# %% [markdown]
# ### Is it convex?
#
# `secant_test` draws chords and `hessian_test` looks at curvatures. Either can find a *witness* against convexity
# that anybody can check: a chord with the function above it, or a place and a direction in which it bends down. To
# find none is evidence and no proof. On the right the two parts of the plane where Rosenbrock's valley bends up and
# down.

# %%
box = (-2 * jnp.ones(2), 2 * jnp.ones(2))
points = jax.random.uniform(jax.random.key(1), (300, 2), minval=-2.0, maxval=2.0)
for name, fun in {'log of sum of exps': jax.nn.logsumexp, 'sum of |x|': lambda x: jnp.sum(jnp.abs(x)),
                  'x y': lambda x: x[0] * x[1], 'rosenbrock': valley}.items():
    chord, bend = secant_test(jax.random.key(0), fun, *box), jax.jit(lambda p, f=fun: hessian_test(f, p))(points)
    print(f'{name:19s} chords: {"convex" if chord.convex else "NOT convex":10s}  least curvature {bend.least:8.2g}')

line = lambda x: 0.1 * x[0] ** 2 + jnp.sin(x[0])
chord = secant_test(jax.random.key(0), line, jnp.array([-5.0]), jnp.array([5.0]))
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
x = jnp.linspace(-5.0, 5.0, 300)
left.plot(x, jax.vmap(line)(x[:, None]), color=BLUE)
ends = np.array([float(chord.a[0]), float(chord.b[0])])
heights = np.array([float(line(chord.a)), float(line(chord.b))])
middle = ends[0] + float(chord.t) * (ends[1] - ends[0])
left.plot(ends, heights, 'o--', color=RED, label='a chord below the function')
under = heights[0] + float(chord.t) * (heights[1] - heights[0])
left.vlines(middle, under, under + float(chord.excess), color=RED, lw=3, label=f'by {chord.excess:.2f}')
left.set(xlabel='x', ylabel='f(x)', title='the witness of secant_test')
left.legend(loc='upper center')
x = jnp.linspace(-2.0, 2.0, 121)
least = jax.jit(jax.vmap(jax.vmap(lambda p: jnp.linalg.eigvalsh(jax.hessian(valley)(p))[0])))(
    jnp.stack(jnp.meshgrid(x, x), -1))
right.contourf(x, x, least, levels=[-1e4, 0, 1e4], colors=['#f3c9ce', '#cfe6d1'])
levels(right, valley, (-2, -2), (2, 2))
right.plot(1, 1, 'k*', ms=11)
right.set(title='red: bends down in some direction', xlabel='x', ylabel='y')
plt.show()

# %% [markdown]
# ### A gallery
#
# Nine landscapes with all their stationary points, known in advance; `classify` tells from the Hessian what each is.
# Dots are minima, crosses saddles, triangles maxima, squares degenerate. Where a function rises on all sides, the
# number of minima and maxima less that of saddles is 1: count them (Himmelblau: 4 - 4 + 1).

# %%
marks = {'minimum': ('o', GREEN), 'saddle': ('X', RED), 'maximum': ('^', YELLOW), 'degenerate': ('s', '0.3')}
figure, axes = plt.subplots(3, 3, figsize=(10, 8.6))
for ax, here in zip(axes.flat, LANDSCAPES.values()):
    levels(ax, here.fun, here.low, here.high)
    found = jax.jit(jax.vmap(lambda p, f=here.fun: classify(f, p)))(jnp.array(here.points))
    for point, kind in zip(here.points, np.asarray(found)):
        mark, color = marks[KINDS[kind]]
        ax.plot(*point, mark, color=color, mec='black', ms=8)
    ax.set_title(here.name)
    ax.set_xlabel(', '.join(f'{k} {here.kinds.count(k)}' for k in marks if k in here.kinds), fontsize=9)
plt.show()

# %% [markdown]
# ### Saddles hold on, but not for ever
#
# The double well has a saddle between its minima. Starts that are closer and closer to the ridge wait there longer
# and longer, by about the same number of steps for every factor of 100: the distance to the ridge grows
# exponentially. On the ridge itself gradient descent stays; Newton with $|H|$ leaves from 0.0001 beside it in a few
# steps.

# %%
wells = LANDSCAPES['double well']
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4), width_ratios=(2, 3))
levels(left, wells.fun, (-1.6, -1.0), (1.6, 1.3))
for gap, color in zip((1e-1, 1e-3, 1e-5, 0.0), ('#9ec3e6', BLUE, '#0b2d52', RED)):
    walk = path(sgd(0.05), wells.fun, (gap, 1.2), 150)
    left.plot(*walk.T, '.-', ms=3, lw=1, color=color)
    right.plot(jax.vmap(wells.fun)(walk), color=color, label=f'{gap:g} beside the ridge')
left.plot(0, 0, 'X', color=RED, mec='black', ms=9)
left.set(title='paths')
right.set(xlabel='step', ylabel='f', ylim=(-0.05, 2), title='waiting at the saddle')
right.legend()
plt.show()
found = newton(wells.fun, jnp.array([1e-4, 1.2]))
print(f'Newton from 0.0001 beside the ridge: {found.steps} steps to {np.round(np.asarray(found.x), 4) + 0.0}')

# %% [markdown]
# ### Basins
#
# Every pixel is a start, its colour the minimum (a dot) where descent from there ends: 40,000 descents in one program
# (`basin_map`). With small steps the basins are what water would do. With momentum walkers roll over ridges. With long
# steps those that start high up, at the edge, jump across. Longer still, and two of the four minima are too steep for
# the rate: it is above 2 / L there, nobody can stay, and the white starts end in none.

# %%
himmelblau = LANDSCAPES['himmelblau']
steepest = [float(np.linalg.eigvalsh(jax.hessian(himmelblau.fun)(p))[-1]) for p in jnp.asarray(himmelblau.minima())]
print('2 / L at the four minima:', *(f'{2 / c:.4f}' for c in steepest))
figure, axes = plt.subplots(1, 4, figsize=(11.5, 3.3), sharey=True)
colours = ListedColormap(['white', *plt.get_cmap('Set2').colors[:4]])
for ax, (rate, momentum) in zip(axes, ((0.005, 0.0), (0.005, 0.9), (0.0145, 0.0), (0.022, 0.0))):
    basins = basin_map(himmelblau, rate=rate, momentum=momentum, steps=400, size=200)
    ax.imshow(basins.labels, origin='lower', extent=(-5, 5, -5, 5), cmap=colours, vmin=-1.5, vmax=3.5)
    ax.plot(*himmelblau.minima().T, 'ko', ms=4)
    ax.set(title=f'rate {rate}' + f', momentum {momentum}' * (momentum > 0),
           xlabel=f'no minimum: {float((basins.labels < 0).mean()):.0%}')
plt.show()

# %% [markdown]
# ## Exercises
#
# Each checks itself on many inputs and says what is not right yet. Write your answer in place of `todo(...)` and run
# the cell. `hint(exercises['descend'], 1)` gives the first of three hints, from gentle to plain.

# %%
exercises = {e.name: e for e in optimisation_exercises()}
hint(exercises['descend'], 1)

# %%
print(exercises['descend'].task)


def descend(slope, x, rate, steps):
    return todo(slope, x, rate, steps)


attempt(exercises['descend'], descend);

# %%
print(exercises['rate_for'].task)


def rate_for(curvatures):
    return todo(curvatures)


attempt(exercises['rate_for'], rate_for);

# %%
print(exercises['backtrack'].task)


def backtrack(fn, slope, x, start):
    return todo(fn, slope, x, start)


attempt(exercises['backtrack'], backtrack);
