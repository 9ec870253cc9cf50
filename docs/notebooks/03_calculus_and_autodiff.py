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
# # Calculus and automatic differentiation
#
# What a slope is, in pictures first; then the mathematics; then the components of `levels/level0_foundations/calculus`;
# exercises at the end. Topics: derivatives and gradients, the chain rule, partial derivatives, and what a machine does
# when it "takes the gradient".

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.animation import FuncAnimation

from common.plots import COLORS
from levels.level0_foundations.calculus import tape
from levels.level0_foundations.calculus.chain import chain_rule, clip_gradient, log1pexp
from levels.level0_foundations.calculus.derivative import METHODS, derivative, side_by_side
from levels.level0_foundations.calculus.functions import KINKS
from levels.level0_foundations.calculus.gradients import gradient, hessian, hvp, jacobian, jvp, vjp
from levels.level0_foundations.calculus.implicit import fixed_point
from levels.level0_foundations.calculus.partial import partial_derivative, total_derivative
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.mathematics import calculus_exercises
from levels.level0_foundations.lessons.show import moving

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.grid': True, 'grid.alpha': 0.25,
                     'axes.titlesize': 11, 'font.size': 10, 'legend.fontsize': 9,
                     'axes.prop_cycle': plt.cycler(color=COLORS)})

# %% [markdown]
# ## The idea
#
# ### Close up, every smooth curve is a straight line
#
# The same point of the same curve, three times as close in every picture. What is left at the end is a line, and its
# slope is the **derivative** there. The last curve has a corner: however close, it stays a corner, and has no slope.

# %%
curve, slope_of = (lambda x: np.exp(-x * x) * np.sin(5 * x)), (
    lambda x: np.exp(-x * x) * (5 * np.cos(5 * x) - 2 * x * np.sin(5 * x)))
at = 0.42
figure, axes = plt.subplots(1, 5, figsize=(12, 2.7))
for ax, reach in zip(axes, (1.5, 0.5, 0.17, 0.06)):
    x = np.linspace(at - reach, at + reach, 200)
    ax.plot(x, curve(x), color=BLUE, lw=2)
    ax.plot(x, curve(at) + slope_of(at) * (x - at), color=RED, lw=1)
    ax.plot(at, curve(at), 'o', color=RED)
    ax.set(title=f'width {2 * reach:.2f}', ylim=(curve(at) - 1.1 * reach, curve(at) + 1.1 * reach))
x = np.linspace(-0.06, 0.06, 201)
axes[4].plot(x, np.abs(x), color=YELLOW, lw=2)
axes[4].set(title='a corner: width 0.12', ylim=(-0.066, 0.066))
plt.show()

# %% [markdown]
# ### The slope is a function too
#
# The tangent slides along the curve, and its slope is drawn below. Where the curve is flat the slope crosses zero: that
# is how one finds hills and valleys, and all of training rests on it.

# %%
x = np.linspace(-2, 2, 300)
stops = np.linspace(-1.9, 1.9, 36)
figure, (top, low) = plt.subplots(2, 1, figsize=(6, 4.2), dpi=80, sharex=True)
top.plot(x, curve(x), color=BLUE)
tangent, touch = top.plot([], [], color=RED, lw=2)[0], top.plot([], [], 'o', color=RED)[0]
below, head = low.plot([], [], color=GREEN)[0], low.plot([], [], 'o', color=RED)[0]
low.axhline(0, color='0.6', lw=0.8)
top.set(ylim=(-1.3, 1.3), title='a curve and its tangent', ylabel='value')
low.set(xlim=(-2, 2), ylim=(-4.5, 5.8), ylabel='slope', xlabel='x')


def slide(i):
    here, m = stops[i], slope_of(stops[i])
    half = 0.5 / np.hypot(1, m / 2)
    tangent.set_data([here - half, here + half], [curve(here) - m * half, curve(here) + m * half])
    touch.set_data([here], [curve(here)])
    past = x[x <= here]
    below.set_data(past, slope_of(past))
    head.set_data([here], [m])


moving(FuncAnimation(figure, slide, frames=len(stops)), fps=12)

# %% [markdown]
# ### In two dimensions a slope is an arrow
#
# The **gradient** points where the ground rises fastest, is longer where it is steeper, and stands at right angles to
# the lines of equal height. Whoever walks against it comes down.

# %%
hills = lambda x, y: np.sin(1.3 * x) * np.cos(y) + 0.12 * (x**2 + y**2)
X, Y = np.meshgrid(np.linspace(-2.6, 2.6, 120), np.linspace(-2, 2, 100))
P, Q = np.meshgrid(np.linspace(-2.3, 2.3, 12), np.linspace(-1.7, 1.7, 9))
dx = 1.3 * np.cos(1.3 * P) * np.cos(Q) + 0.24 * P
dy = -np.sin(1.3 * P) * np.sin(Q) + 0.24 * Q
figure, ax = plt.subplots(figsize=(6.4, 4.4))
filled = ax.contourf(X, Y, hills(X, Y), 18, cmap='Blues')
ax.contour(X, Y, hills(X, Y), 18, colors='white', linewidths=0.6)
ax.quiver(P, Q, dx, dy, color=RED, width=0.004)
ax.set(aspect='equal', xlabel='x', ylabel='y', title='height (dark is high) and its gradient')
ax.grid(visible=False)
figure.colorbar(filled, shrink=0.8)
plt.show()

# %% [markdown]
# ### Slopes along a chain multiply
#
# A computation is a chain of small steps. Forwards the values are worked out (blue). Backwards every step asks: if my
# result changed by a little, by how much more or less would the *end* change? It takes the answer of the step after it
# (red) and multiplies by its own slope (on the arrow). Where two arrows leave a number, as at $x$, the two answers add
# up. This is **reverse mode**, or backpropagation, and there is nothing more to it.

# %%
a, b = 0.6, 1.5
u = a * b
v, w = np.sin(a), np.exp(u)
nodes = {'x': (0, 0, a), 'y': (0, 2, b), 'x y': (2, 2, u), 'exp': (4, 2, w), 'sin': (2, 0, v), 'sum': (6, 1, v + w)}
nodes['squared'] = (8, 1, (v + w)**2 / 5)
local = {('x', 'x y'): b, ('y', 'x y'): a, ('x y', 'exp'): w, ('x', 'sin'): np.cos(a), ('exp', 'sum'): 1.0,
         ('sin', 'sum'): 1.0, ('sum', 'squared'): 2 * (v + w) / 5}
back = {'squared': 1.0}
for name in ('sum', 'exp', 'sin', 'x y', 'y', 'x'):
    back[name] = sum(back[later] * m for (first, later), m in local.items() if first == name)
figure, ax = plt.subplots(figsize=(11, 3.8))
for (first, later), m in local.items():
    (x0, y0, _), (x1, y1, _) = nodes[first], nodes[later]
    ax.annotate('', (x1 - 0.55, y1 + 0.3 * np.sign(y0 - y1)), (x0 + 0.55, y0 + 0.3 * np.sign(y1 - y0)),
                arrowprops={'arrowstyle': '->', 'color': '0.5'})
    share = 0.3 if (first, later) == ('x', 'x y') else 0.5
    ax.text(x0 + share * (x1 - x0), y0 + share * (y1 - y0) + 0.12, f'{m:.2f}', color='0.35', fontsize=9, ha='center')
for name, (px, py, value) in nodes.items():
    ax.text(px, py + 0.17, name if name != 'squared' else 'square / 5', ha='center', weight='bold')
    ax.text(px, py - 0.1, f'{value:.2f}', ha='center', color=BLUE)
    ax.text(px, py - 0.38, f'{back[name]:.2f}', ha='center', color=RED)
    ax.add_patch(plt.Rectangle((px - 0.52, py - 0.48), 1.04, 0.95, fill=False, color='0.7'))
ax.set(xlim=(-0.8, 8.8), ylim=(-0.8, 2.8), title='values forwards (blue), slopes of the end backwards (red)')
ax.axis('off')
plt.show()
through = [back[name] * local['x', name] for name in ('x y', 'sin')]
print(f'the slope at x: {through[0]:.2f} through x y, and {through[1]:.2f} through sin, is {back["x"]:.2f}')

# %% [markdown]
# ## The mathematics
#
# **Derivative.** The slope of the line that a curve becomes:
#
# $$f'(x) = \lim_{h \to 0} \frac{f(x + h) - f(x)}{h} .$$
#
# A machine cannot let $h$ go to 0: the difference of two nearly equal numbers loses digits. A central difference is off
# by the curve's bend and by rounding,
#
# $$\Big| \frac{f(x + h) - f(x - h)}{2h} - f'(x) \Big| \lesssim \frac{h^2}{6} \lvert f'''(x) \rvert
#   + \frac{\varepsilon \lvert f(x) \rvert}{h}, \qquad h_{\text{best}} \sim \varepsilon^{1/3} .$$
#
# A step into the complex plane subtracts nothing, so $h$ may be as small as $10^{-20}$:
#
# $$f'(x) \approx \operatorname{Im} f(x + ih) / h .$$
#
# **Chain rule.** Derivatives of maps are matrices (Jacobians), those of a composition their product,
#
# $$J = J_k \cdots J_2 J_1, \qquad (J_i)_{ab} = \partial y_a / \partial x_b .$$
#
# A product can be multiplied from either end. **Forward mode** pushes a direction, $J v$; **reverse mode** pulls a
# weight of the outputs, $u^\top J$. With $n$ inputs and one output, reverse needs one pass where forward needs $n$:
# that is why networks with millions of parameters can be trained.
#
# **Second derivatives.** The Hessian $H_{ij} = \partial^2 f / \partial x_i \partial x_j$ is the Jacobian of the
# gradient. Its product with a vector needs no Hessian, only forward over reverse:
#
# $$H v = \frac{\mathrm d}{\mathrm dt} \nabla f(x + t v) \Big|_{t = 0} .$$
#
# **Partial and total.** If $u$ depends on $t$ too, a partial derivative is only a part:
#
# $$\frac{\mathrm d}{\mathrm dt} f(t, u(t)) = \frac{\partial f}{\partial t} + \frac{\partial f}{\partial u} \, u'(t) .$$
#
# **What is only implied.** A fixed point $x^* = f(\theta, x^*)$ has a derivative although nobody wrote down a formula
# for it, and it does not matter how many steps were made to find it:
#
# $$\frac{\mathrm d x^*}{\mathrm d\theta} = \Big( I - \frac{\partial f}{\partial x} \Big)^{-1}
#   \frac{\partial f}{\partial \theta} .$$

# %% [markdown]
# ## The component
#
# All are written out in `levels/level0_foundations/calculus` and compared with torch, JAX and closed forms by tests.
#
# ### `derivative`: one slope in four ways
#
# The error of each over the size of the step, in float32. The central difference has its best step where both errors
# meet (dashed: the bound from above), and even there it has only half of the digits. The complex step, and the two
# modes of automatic differentiation, which know no step, are right to rounding.

# %%
fn = lambda x: jnp.exp(-x * x) * jnp.sin(5 * x)
points = jnp.linspace(-1.5, 1.5, 41)
exact = slope_of(np.asarray(points, float))
error = lambda found: float(np.sqrt(np.mean((np.asarray(found) - exact) ** 2)))
steps = np.logspace(-7, -0.5, 40)
figure, ax = plt.subplots(figsize=(7.4, 3.6))
ax.plot(steps, [error(derivative(fn, points, method='central', step=h)) for h in steps], 'o', color=RED, ms=4,
        label='central difference')
ax.plot(steps, [error(derivative(fn, points, method='complex', step=h)) for h in steps], '.', color=GREEN,
        label='complex step')
ax.axhline(error(derivative(fn, points, method='reverse')), color=BLUE, label='reverse mode')
third = np.gradient(np.gradient(slope_of(np.linspace(-1.5, 1.5, 2001)), 0.0015), 0.0015)
bound = steps**2 / 6 * np.sqrt(np.mean(third**2)) + 2.0**-24 * np.abs(fn(points)).mean() / steps
ax.plot(steps, bound, '--', color='0.4', label='the formula')
ax.set(xscale='log', yscale='log', xlabel='step h', ylabel='error of the slope', ylim=(1e-8, 10),
       title='too large a step bends, too small a step rounds')
ax.legend(loc='lower right', fontsize=8)
plt.show()
print({method: f'{error(derivative(fn, points, method=method)):.0e}' for method in METHODS})

# %% [markdown]
# ### At a corner
#
# Here there is no slope, and each way says something else. Between the slopes from the left and from the right lies
# everything that a rule may say; which one it is depends on how the function was *written*. `side_by_side` finds such
# points: `smooth` is False.

# %%
rows = {}
for kink in KINKS[:6]:
    found = side_by_side(kink.fn, jnp.array([kink.at]))
    rows[kink.name] = [f'{float(v[0]):.1f}' for v in found[:6]] + [bool(found.smooth[0])]
pd.DataFrame(rows, index=['forward', 'reverse', 'central', 'complex step', 'left', 'right', 'smooth']).T

# %% [markdown]
# ### Trees of parameters: gradient, Jacobian, Hessian
#
# A small network with its parameters in a dictionary. The Jacobian of its four outputs, and the Hessian of its loss,
# dense and in the order of the leaves. The Hessian is symmetric, and `hvp` multiplies by it without making it.

# %%
keys = jax.random.split(jax.random.key(0), 4)
params = {'W': 0.6 * jax.random.normal(keys[0], (3, 5)), 'V': 0.6 * jax.random.normal(keys[1], (5, 4))}
inputs = jax.random.normal(keys[2], (3,))
net = lambda p: jnp.tanh(inputs @ p['W']) @ p['V']
loss = lambda p: jnp.sum((net(p) - 1.0) ** 2) / 2
J, H = jacobian(net, params, dense=True), hessian(loss, params, dense=True)
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), width_ratios=(3, 3))
for ax, matrix, name in zip(axes, (J, H), ('Jacobian [4, 35]', 'Hessian [35, 35]')):
    size = float(jnp.max(jnp.abs(matrix)))
    image = ax.imshow(matrix, cmap='RdBu', vmin=-size, vmax=size, aspect='auto' if len(matrix) == 4 else 'equal')
    ax.set(title=name, xlabel='parameter', ylabel='output' if len(matrix) == 4 else 'parameter')
    ax.set_yticks(range(0, len(matrix), 1 if len(matrix) == 4 else 5))
    ax.grid(visible=False)
    figure.colorbar(image, shrink=0.8)
plt.show()
along = jax.tree.map(jnp.ones_like, params)
flat = jnp.concatenate([x.ravel() for x in jax.tree.leaves(hvp(loss, params, v=along))])
print('hvp is the Hessian times the vector:', bool(jnp.allclose(flat, H @ jnp.ones(35), atol=1e-4)))
print('vjp of the rest is the gradient:', bool(jnp.allclose(
    vjp(net, params, u=net(params) - 1.0)[1]['W'], gradient(loss, params)['W'], atol=1e-5)))
print('jvp is the Jacobian times the vector:', bool(jnp.allclose(
    jvp(net, params, v=along)[1], J @ jnp.ones(35), atol=1e-4)))

# %% [markdown]
# ### `chain_rule`: the same product from either end
#
# A network from $n$ inputs through three layers of 64 to one output. Multiplying the Jacobians from the output's side
# costs thousands of multiplications, from the input's side up to millions; the result is the same.

# %%
layers = lambda n: [lambda x, W=W: jnp.tanh(W @ x) for W in (
    jax.random.normal(key, shape) / shape[1] ** 0.5
    for key, shape in zip(keys, [(64, n), (64, 64), (64, 64), (1, 64)]))]
sizes, counts = (1, 16, 256), {'forward': [], 'reverse': []}
for n in sizes:
    both = {order: chain_rule(layers(n), 0.1 * jnp.ones(n), order=order) for order in counts}
    print(f'{n:4d} inputs, same Jacobian:',
          bool(jnp.allclose(both['forward'].jacobian, both['reverse'].jacobian, atol=1e-5)))
    for order, numbers in counts.items():
        numbers.append(both[order].multiplications)
figure, ax = plt.subplots(figsize=(6.4, 3.2))
for k, (order, numbers) in enumerate(counts.items()):
    bars = ax.bar(np.arange(len(sizes)) + 0.4 * k - 0.2, numbers, 0.38, color=(RED, BLUE)[k], label=order)
    ax.bar_label(bars, [f'{v:,}' for v in numbers], fontsize=8)
ax.set_xticks(range(len(sizes)), sizes)
ax.set(yscale='log', xlabel='inputs', ylim=(1e3, 2e7), ylabel='multiplications',
       title='one output: reverse wins as soon as inputs are many')
ax.legend(loc='upper left')
plt.show()

# %% [markdown]
# ### `tape`: reverse mode from nothing but NumPy
#
# 244 lines that write down what was computed and read it backwards, as in the picture of the chain. Here they train a
# network with two hidden layers on twenty points, and agree with `jax.grad`.

# %%
rng = np.random.default_rng(0)
x = np.linspace(-2, 2, 20)[:, None]
y = curve(x)
weights = {'W1': rng.normal(size=(1, 24)) * 2, 'b1': rng.normal(size=24), 'W2': rng.normal(size=(24, 24)) / 4,
           'b2': np.zeros(24), 'W3': rng.normal(size=(24, 1)) / 5}
hidden = lambda p, x: tape.tanh(tape.tanh(x @ p['W1'] + p['b1']) @ p['W2'] + p['b2'])
misfit = lambda p: tape.mean((hidden(p, x) @ p['W3'] - y) ** 2)
same = lambda p: jnp.mean((jnp.tanh(jnp.tanh(x @ p['W1'] + p['b1']) @ p['W2'] + p['b2']) @ p['W3'] - y) ** 2)
ours, theirs = tape.grad(misfit)(weights), jax.grad(same)(jax.tree.map(jnp.float32, weights))
print('the tape and jax.grad agree:', all(np.allclose(a, b, atol=1e-5) for a, b in zip(
    jax.tree.leaves(ours), jax.tree.leaves(theirs))))
losses, speed, frames = [], jax.tree.map(np.zeros_like, weights), {}
grid = np.linspace(-2, 2, 200)[:, None]
for step in range(1501):
    value, slopes = tape.value_and_grad(misfit)(weights)
    losses.append(value)
    if step in (0, 100, 1500):
        frames[step] = hidden(weights, grid) @ weights['W3']
    speed = jax.tree.map(lambda v, g: 0.9 * v - 0.03 * g, speed, slopes)
    weights = jax.tree.map(np.add, weights, speed)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
left.plot(losses, color=BLUE)
left.set(yscale='log', xlabel='step', ylabel='mean squared error', title='training with the tape')
right.plot(x, y, 'o', color='0.4', label='data')
for (step, values), color in zip(frames.items(), (YELLOW, GREEN, BLUE)):
    right.plot(grid, values, color=color, label=f'after {step} steps')
right.set(xlabel='x', ylabel='y', title='what the network says', ylim=(-1.6, 1.6))
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ### A rule of one's own
#
# $\log(1 + e^x)$, as it is written, is infinite from $x = 89$ on in float32, and its derivative `inf / inf`; just below
# it is 0, as $1 / (1 + e^x)$ underflows. `log1pexp` has a better formula and its own derivative. `clip_gradient` lies
# on purpose: values go through it unchanged, slopes are cut.

# %%
x = jnp.linspace(-20, 120, 281)
plain = lambda x: jnp.log(1 + jnp.exp(x))
naive = jax.vmap(jax.grad(plain))(x)
figure, ax = plt.subplots(figsize=(7, 2.8))
ax.plot(x, naive, color=RED, lw=4, alpha=0.5, label='derivative of log(1 + exp(x)), as written')
ax.plot(x, jax.vmap(jax.grad(log1pexp))(x), '--', color=BLUE, label='derivative of log1pexp')
first = float(x[jnp.argmax(jnp.isnan(naive))])
ax.axvspan(first, 120, color='0.9', label='here the first is NaN')
ax.set(xlabel='x', ylabel='slope', title='a formula that is right, and its derivative that is not there')
ax.legend(loc='center')
plt.show()
steep = lambda x: 100 * clip_gradient(x, 1.0)
print('value and slope through clip_gradient:', *(float(v) for v in jax.value_and_grad(steep)(2.0)))

# %% [markdown]
# ### Parts and the whole
#
# `total_derivative` takes apart how $f(t, u(t))$ changes: directly, and through $u$. With $u = t^2$ and $f = t \, u$
# the whole is $3 t^2$.

# %%
parts = total_derivative(lambda t, u: t * u, [lambda t: t**2], jnp.array(2.0))
print(f'direct {parts.direct:.0f} + through u {parts.through[0]:.0f} = {parts.total:.0f}')
print('partial derivatives of x y^2 at (3, 2):', *(
    float(partial_derivative(lambda x: x[0] * x[1] ** 2, jnp.array([3.0, 2.0]), index=i)) for i in (0, 1)))

# %% [markdown]
# ### What is only implied: a fixed point and its slope
#
# Iterating $x \leftarrow \cos(a x)$ goes up to the curve, over to the diagonal, up to the curve again: the cobweb winds
# into the point where both meet.

# %%
a, web, here = 1.1, [(0.1, 0.0)], 0.1
for _ in range(14):
    web += [(here, np.cos(a * here)), (np.cos(a * here), np.cos(a * here))]
    here = np.cos(a * here)
web = np.array(web)
figure, ax = plt.subplots(figsize=(4.2, 4), dpi=80)
u = np.linspace(0, 1.1, 100)
ax.plot(u, np.cos(a * u), color=BLUE, label='cos(a x)')
ax.plot(u, u, color='0.6', lw=1, label='x')
thread = ax.plot([], [], color=RED, lw=1.2)[0]
ax.set(xlim=(0, 1.1), ylim=(0, 1.1), aspect='equal', xlabel='x', ylabel='next x')
ax.legend(loc='lower left')


def wind(i):
    thread.set_data(*web[:2 * i + 2].T)
    ax.set_title(f'after {i} steps: {web[min(2 * i + 1, len(web) - 1), 0]:.4f}')


moving(FuncAnimation(figure, wind, frames=15), fps=3)

# %% [markdown]
# `fixed_point` finds it, says how far off it can be, and has the derivative with respect to $a$ without a look at the
# steps. The short lines are these derivatives: they lie on the curve of the fixed points. On the right the error after
# so many steps, and the bound that was reported.

# %%
find = lambda a: fixed_point(lambda a, x: jnp.cos(a * x), a, jnp.array(0.7))
values = np.linspace(0.2, 1.25, 43)
solved = jax.jit(jax.vmap(find))(jnp.asarray(values, jnp.float32))
some = jnp.asarray(values[6::10], jnp.float32)
points, slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda a: find(a).x)))(some)
best = 0.7
for _ in range(400):
    best = np.cos(1.1 * best)
limits = np.arange(2, 40, 2)
runs = [fixed_point(lambda a, x: jnp.cos(a * x), jnp.array(1.1), jnp.array(0.7), max_steps=int(n)) for n in limits[::3]]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
left.plot(values, solved.x, color=BLUE, lw=6, alpha=0.35, label='fixed point of cos(a x)')
for i in range(len(some)):
    ends = np.array([-0.15, 0.15])
    left.plot(some[i] + ends, points[i] + slopes[i] * ends, color=RED, label='its derivative' if i == 0 else None)
    left.plot(some[i], points[i], 'o', color=RED, ms=4)
left.set(xlabel='a', ylabel='x', title='a function that has no formula')
left.legend()
right.plot(limits[::3], [abs(float(run.x) - best) for run in runs], 'o', color=BLUE, label='error')
right.plot(limits[::3], [run.bound for run in runs], color=RED, label='reported bound')
right.set(yscale='log', xlabel='steps', ylabel='distance from the fixed point', title='a = 1.1')
right.legend()
plt.show()

# %% [markdown]
# ## Exercises
#
# Each checks itself on many inputs and says what is not right yet. Replace `todo` by your answer and run the cell.
# `hint(exercises['softplus'], 1)` gives the first of three hints.

# %%
exercises = {e.name: e for e in calculus_exercises()}
hint(exercises['softplus'], 1)

# %%
print(exercises['along'].task)


def along(fn, x, v):
    return todo(fn, x, v)


attempt(exercises['along'], along);

# %%
print(exercises['softplus'].task)


def softplus(x):
    return todo(x)


attempt(exercises['softplus'], softplus);

# %%
print(exercises['root'].task)


def root(fn, x, steps):
    return todo(fn, x, steps)


attempt(exercises['root'], root);
