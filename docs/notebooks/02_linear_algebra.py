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
# # Linear algebra
#
# What a matrix does to a plane, in pictures that move; then the mathematics; then the components of
# `levels/level0_foundations/linear_algebra`; exercises at the end. Topics: vectors and projections, products of
# matrices, linear maps and determinants, eigenvalues and singular values.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from sklearn.datasets import load_sample_image

from common.plots import COLORS
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.mathematics import linear_algebra_exercises
from levels.level0_foundations.lessons.show import moving
from levels.level0_foundations.linear_algebra.factor import cholesky, householder_qr, lu
from levels.level0_foundations.linear_algebra.grid import animate_grid, grid_lines
from levels.level0_foundations.linear_algebra.iterations import inverse_iteration, power_iteration, rayleigh_iteration
from levels.level0_foundations.linear_algebra.spectral import eigh, subspace_angle, svd
from levels.level0_foundations.linear_algebra.systems import linear_solve, lstsq
from levels.level0_foundations.linear_algebra.transforms import (
    change_basis,
    compose,
    determinant,
    homogeneous,
    image_volume,
    inverse,
    linear,
    reflection,
    rotation,
    shear,
    translation,
)
from levels.level0_foundations.linear_algebra.vectors import gram_schmidt, project

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.grid': True, 'grid.alpha': 0.25,
                     'axes.titlesize': 11, 'font.size': 10, 'legend.fontsize': 9,
                     'axes.prop_cycle': plt.cycler(color=COLORS)})


def grid_moves(map_):
    """The plane on its way from where it is to where a map takes it."""
    with plt.rc_context(plt.rcParamsDefault):
        return moving(animate_grid(map_, Path(tempfile.mkdtemp()) / 'grid.gif', steps=18, hold=0), rest=1.5)


# %% [markdown]
# ## The idea
#
# ### A matrix moves the plane
#
# Watch the two arrows: red is the first unit vector, green the second. Where they go is all one has to know, for they
# take the grid with them: lines stay lines, parallels stay parallel, the origin stays. The number above is the area of
# the orange square. A **shear** pushes the plane like a pack of cards, and no area changes.

# %%
grid_moves(shear(2, 0, 1, 1.0))

# %% [markdown]
# A **mirror** turns the plane over: on the way the area shrinks to nothing, and comes back with a minus sign. That is
# what the sign of a determinant means.

# %%
grid_moves(reflection(jnp.array([1.0, -1.0])))

# %% [markdown]
# This map is not of full **rank**: everything falls onto a line, the area is 0, and no map brings back what has
# fallen on top of each other.

# %%
grid_moves(linear(jnp.array([[1.0, 0.5], [1.0, 0.5]])))

# %% [markdown]
# ### Two directions that do not turn
#
# A symmetric matrix takes a circle of arrows with it. Nearly all of them turn; four, on two lines, only get longer or
# shorter. These lines are the **eigenvectors**, and the factors are the eigenvalues. Watch how the others lean towards
# the longer one.

# %%
S = np.array([[1.5, 0.7], [0.7, 0.9]])
angles = np.deg2rad(np.arange(0, 360, 15))
arrows = np.stack([np.cos(angles), np.sin(angles)])
own = np.linalg.eigh(S)[1]
figure, ax = plt.subplots(figsize=(4, 4), dpi=80)
ax.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect='equal')
for direction in own.T:
    ax.plot(*np.outer(direction, [-3, 3]), '--', color='0.6', lw=1)
spikes = [ax.plot([], [], color=BLUE, lw=1.2)[0] for _ in angles]
special = [ax.plot([], [], color=RED, lw=3)[0] for _ in range(4)]
rim = ax.plot([], [], color=YELLOW, lw=2)[0]


def stretch(i):
    A = (1 - i / 17) * np.eye(2) + i / 17 * S
    for spike, end in zip(spikes, (A @ arrows).T):
        spike.set_data([0, end[0]], [0, end[1]])
    for spike, end in zip(special, (A @ np.hstack([own, -own])).T):
        spike.set_data([0, end[0]], [0, end[1]])
    t = np.linspace(0, 2 * np.pi, 100)
    rim.set_data(*(A @ np.stack([np.cos(t), np.sin(t)])))
    ax.set_title('a circle becomes an ellipse')


moving(FuncAnimation(figure, stretch, frames=18), fps=15, rest=1.5)

# %% [markdown]
# ### The nearest point
#
# To **project** a point onto a line is to let it fall straight down: what is left over stands at a right angle to the
# line. Fitting a straight line to data is the same picture in a space with as many dimensions as there are data points:
# the fitted values are the shadow of the data.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
direction, point = np.array([2.0, 1.0]), np.array([1.0, 2.2])
shadow = direction * (point @ direction) / (direction @ direction)
left.axline((0, 0), slope=0.5, color='0.6', lw=1)
for end, color, name in ((point, BLUE, 'b'), (shadow, GREEN, 'its shadow')):
    left.annotate('', end, (0, 0), arrowprops={'arrowstyle': '->', 'color': color, 'lw': 2})
    left.text(end[0] + 0.08, end[1] + 0.08, name, color=color)
left.plot(*np.stack([point, shadow]).T, '--', color=RED, label='what is left over')
left.set(xlim=(-0.3, 3), ylim=(-0.3, 2.6), aspect='equal', title='falling onto a line')
left.legend(loc='lower right')
rng = np.random.default_rng(2)
x = np.linspace(0, 3, 12)
y = 0.5 + 0.8 * x + 0.35 * rng.normal(size=12)
slope, start = np.polyfit(x, y, 1)
right.vlines(x, y, start + slope * x, color=RED, linestyle='--', label='what is left over')
right.plot(x, y, 'o', color=BLUE, label='data')
right.plot(x, start + slope * x, '.-', color=GREEN, label='their shadow')
right.set(title='a straight line through twelve points: one fall in 12 dimensions', xlabel='x', ylabel='y')
right.legend()
plt.show()

# %% [markdown]
# ### A picture as a sum of simple pictures
#
# Each of the simple pictures is a column times a row: stripes. The **singular value decomposition** finds the best
# stripes first. Thirty of them are enough to see a flower, though the photograph would need 160.

# %%
photo = load_sample_image('flower.jpg')[:400:2, 160:480:2].mean(-1) / 255
figure, axes = plt.subplots(1, 5, figsize=(12, 3.2))
U, s, Vt = np.linalg.svd(photo, full_matrices=False)
for ax, rank in zip(axes, (1, 5, 12, 30, 160)):
    ax.imshow((U[:, :rank] * s[:rank]) @ Vt[:rank], cmap='gray', vmin=0, vmax=1)
    ax.set(title=f'{rank} column{"s" * (rank > 1)} times row{"s" * (rank > 1)}', xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The mathematics
#
# **Linear map.** $A(x + y) = Ax + Ay$ and $A(cx) = cAx$. The columns of $A$ are the images of the unit vectors, and
# one map after the other is the product $AB$. In another basis (the columns of $B$) the same map has the matrix
#
# $$A' = B^{-1} A B .$$
#
# **Determinant.** The factor of all areas or volumes, negative where the orientation turns over, so that
#
# $$\det(AB) = \det A \, \det B, \qquad \det A = 0 \iff A \text{ has no inverse.}$$
#
# **Projection.** The nearest point $p = Ax$ of the span of the columns of $A$ leaves a rest $b - p$ that is orthogonal
# to all of them:
#
# $$A^\top (b - A x) = 0 \quad\Longleftrightarrow\quad x \text{ minimises } \lVert A x - b \rVert .$$
#
# With orthonormal columns, $A = QR$ and $Q^\top Q = I$, this is $p = Q Q^\top b$ and needs no inverse.
#
# **Eigenvectors.** $A v = \lambda v$. A symmetric $A$ has $n$ orthogonal ones, and in their basis it only stretches:
#
# $$A = V \operatorname{diag}(\lambda_1, \dots, \lambda_n) V^\top .$$
#
# Multiplying again and again lets the largest win, because the others shrink beside it as
# $\lvert \lambda_2 / \lambda_1 \rvert^t$.
#
# **Singular values.** *Every* matrix is a turn, a stretch along axes, and another turn, and its best approximation of
# rank $r$ keeps the $r$ longest axes (Eckart and Young):
#
# $$A = U \operatorname{diag}(s_1 \ge s_2 \ge \dots) V^\top, \qquad
#   \min_{\operatorname{rank} B = r} \lVert A - B \rVert_2 = s_{r+1} .$$
#
# **Condition.** Of $A x = b$ the solution is off by at most $\kappa$ times the relative error of the data,
#
# $$\kappa(A) = \lVert A \rVert \, \lVert A^{-1} \rVert = s_1 / s_n \quad\text{(2-norm)}.$$
#
# Lines that cross at a small angle show why: move one of them a little, and the crossing moves far.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.4))
for ax, slope, name in zip(axes, (-1.0, 0.88), ('lines that cross well', 'lines that nearly agree')):
    A = np.array([[-1.0, 1.0], [-slope, 1.0]])
    rng, u = np.random.default_rng(0), np.linspace(-2.5, 2.5, 2)
    for _ in range(40):
        b = 0.05 * rng.normal(size=2)
        ax.plot(u, u + b[0], color=BLUE, lw=0.4, alpha=0.4)
        ax.plot(u, slope * u + b[1], color=GREEN, lw=0.4, alpha=0.4)
        ax.plot(*np.linalg.solve(A, b), '.', color=RED, ms=5)
    ax.set(title=f'{name}: condition {np.linalg.cond(A):.0f}', xlim=(-2, 2), ylim=(-1.3, 1.3), xlabel='first unknown',
           ylabel='second unknown')
plt.show()

# %% [markdown]
# ## The component
#
# Everything below is written out in `levels/level0_foundations/linear_algebra`, runs under `jit` and `vmap`, takes any
# number of leading batch axes, and is compared with NumPy, SciPy and torch by tests.
#
# ### Maps: compose, invert, see in another basis
#
# `compose(turn, move)` moves first; the other order gives another map. As homogeneous matrices composing is
# multiplying.

# %%
turn, move = rotation(jnp.pi / 3), translation(jnp.array([2.0, 0.0]))
house = jnp.array([[0.0, 0], [1, 0], [1, 1], [0.5, 1.6], [0, 1], [0, 0], [1, 1], [0, 1], [1, 0]])
figure, ax = plt.subplots(figsize=(6, 3.6))
for map_, color, name in ((linear(jnp.eye(2)), '0.6', 'as it was'), (compose(turn, move), BLUE, 'moved, then turned'),
                          (compose(move, turn), RED, 'turned, then moved')):
    ax.plot(*(house @ map_.matrix.T + map_.shift[None]).T, color=color, label=name)
ax.set(aspect='equal', title='maps do not commute', xlabel='x', ylabel='y', xlim=(-1, 5.5))
ax.legend()
plt.show()
product = homogeneous(turn) @ homogeneous(move)
print('as a product of homogeneous matrices:', bool(jnp.allclose(homogeneous(compose(turn, move)), product, atol=1e-6)))
print('undone by the inverse:', bool(jnp.allclose(compose(inverse(turn), turn).matrix, jnp.eye(2), atol=1e-6)))

# %% [markdown]
# In the basis of its eigenvectors the symmetric map from above is diagonal: the grid of that basis, in red, is
# stretched and stays at right angles, while the usual grid is bent.

# %%
found = eigh(jnp.asarray(S))
print('in the basis of its eigenvectors:\n', np.round(change_basis(jnp.asarray(S), found.vectors), 5) + 0.0)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.9), sharex=True, sharey=True)
for ax, A, name in ((axes[0], np.eye(2), 'before'), (axes[1], S, 'after')):
    for line in grid_lines(lines=9, reach=1.0):
        ax.plot(*(A @ line.T), color=BLUE, lw=0.6)
        ax.plot(*(A @ np.asarray(found.vectors) @ line.T), color=RED, lw=1)
    ax.set(aspect='equal', title=name)
plt.show()

# %% [markdown]
# ### The determinant is a volume
#
# `image_volume` knows nothing of determinants: it throws points at the image of the unit cube and counts. `determinant`
# comes from LU. Thirty random matrices of each of two sizes; bars are two standard errors.

# %%
figure, ax = plt.subplots(figsize=(5.5, 4))
for n, color in ((2, BLUE), (3, RED)):
    matrices = jax.random.normal(jax.random.key(n), (30, n, n))
    volumes = jax.vmap(lambda key, A: image_volume(key, A, points=4000))(
        jax.random.split(jax.random.key(0), 30), matrices)
    exact = jnp.abs(determinant(matrices))
    ax.errorbar(exact, volumes.value, 2 * volumes.error, fmt='.', color=color, lw=0.8, label=f'{n} x {n}')
    off = jnp.abs(volumes.value - exact) / volumes.error
    print(f'{n} x {n}: {int(jnp.sum(off < 2))} of 30 within two standard errors, {int(jnp.sum(off < 4))} within four')
ax.axline((1, 1), slope=1, color='0.6', lw=0.8)
ax.set(xscale='log', yscale='log', xlabel='|det A|', ylabel='volume by throwing points', title='determinant and volume')
ax.legend()
plt.show()

# %% [markdown]
# ### Orthonormal columns: what rounding does to Gram-Schmidt
#
# All three give $A = QR$. As soon as columns are nearly dependent they disagree about how orthogonal $Q$ is: one pass
# of Gram-Schmidt loses as many digits as the condition has, a second pass or Householder's reflections lose none.

# %%
kappas = np.logspace(0, 4.5, 10)
left, right = (np.linalg.qr(np.random.default_rng(i).normal(size=(30, 8)))[0] for i in (0, 1))
stack = jnp.asarray(np.stack([left * np.logspace(0, -np.log10(k), 8) @ right[:8].T for k in kappas]), jnp.float32)
departure = lambda Q: np.asarray(jnp.max(jnp.abs(Q.mT @ Q - jnp.eye(8)[None]), (1, 2)))
figure, ax = plt.subplots(figsize=(7, 3.4))
for name, Q, mark in (('Gram-Schmidt, one pass', gram_schmidt(stack, passes=1).Q, 'o-'),
                      ('Gram-Schmidt, two passes', gram_schmidt(stack).Q, 's-'),
                      ('Householder', householder_qr(stack).Q, '^--')):
    ax.plot(kappas, departure(Q), mark, label=name, ms=4)
ax.set(xscale='log', yscale='log', xlabel='condition of A', ylabel=r"largest entry of $Q^\top Q - I$",
       title='orthogonality in float32')
ax.legend()
plt.show()

# %% [markdown]
# ### Solve, and know how good the solution is
#
# `linear_solve` says with every solution how far off it can be. The systems below get worse to the right; dots are the
# true errors, the line is the bound that it reported without knowing the truth. It has to hold in the worst case, so it
# is cautious; where it is above 1 the component says that it vouches for no digit. `lstsq` takes any shape and rank.

# %%
rng = np.random.default_rng(3)
conditions, errors, bounds = [], [], []
for k in np.logspace(0.5, 6.5, 25):
    P, Q = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in range(2))
    A = jnp.asarray((P * np.logspace(0, -np.log10(k), 12)) @ Q, jnp.float32)
    b = jnp.asarray(rng.normal(size=12), jnp.float32)
    exact = np.linalg.solve(np.asarray(A, float), np.asarray(b, float))
    solved = linear_solve(A, b)
    conditions.append(solved.condition)
    errors.append(np.abs(solved.x - exact).sum() / np.abs(exact).sum())
    bounds.append(solved.bound)
figure, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(conditions, errors, 'o', color=BLUE, label='true error', ms=4)
ax.plot(conditions, bounds, color=RED, label='reported bound')
ax.set(xscale='log', yscale='log', xlabel='condition number (1-norm)', ylabel='relative error',
       title='solutions of 12 equations in float32')
ax.legend()
plt.show()
print('the bound holds for all of them:', all(e <= b for e, b in zip(errors, bounds)))

# %% [markdown]
# The same projection three ways: by least squares, by `project`, and by the orthonormal columns. And the factorisations
# that other methods are made of.

# %%
A = jnp.stack([jnp.ones(12), jnp.asarray(x, jnp.float32)], 1)
b = jnp.asarray(y, jnp.float32)
fit, Q = lstsq(A, b), householder_qr(A).Q
shadows = [A @ fit.x, project(b, A), Q @ (Q.T @ b)]
print('start and slope:', np.round(fit.x, 3), ' rank:', fit.rank, f' condition: {fit.condition:.2f}')
print('the three shadows agree:', all(bool(jnp.allclose(s, shadows[0], atol=1e-5)) for s in shadows))
print('the rest is orthogonal:', bool(jnp.allclose(A.T @ (b - shadows[0]), 0, atol=1e-4)))
G, factors = A.T @ A, lu(A.T @ A)
print('LU:', bool(jnp.allclose(factors.L @ factors.U, G[factors.order], atol=1e-3)),
      ' Cholesky:', bool(jnp.allclose(cholesky(G) @ cholesky(G).T, G, atol=1e-3)))

# %% [markdown]
# ### Eigenvalues, one at a time
#
# **Power iteration** in the plane: every multiplication turns the arrow further towards the long axis.

# %%
A = jnp.array([[1.6, 0.6], [0.6, 0.8]])
v = np.array([-0.5, 1.0]) / np.hypot(0.5, 1)
trail = [v]
for _ in range(12):
    v = np.asarray(A) @ v
    trail.append(v / np.linalg.norm(v))
    v = trail[-1]
axis = np.asarray(eigh(A).vectors[:, 1])
figure, ax = plt.subplots(figsize=(4, 4), dpi=80)
t = np.linspace(0, 2 * np.pi, 100)
ax.plot(np.cos(t), np.sin(t), color='0.8', lw=1)
ax.plot(*np.outer(axis, [-1.6, 1.6]), '--', color=GREEN, label='eigenvector')
path, arrow = ax.plot([], [], '.', color='0.6')[0], ax.plot([], [], color=BLUE, lw=3)[0]
ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect='equal')
ax.legend(loc='lower left')


def multiply(i):
    path.set_data(*np.stack(trail[:i + 1]).T)
    arrow.set_data([0, trail[i][0]], [0, trail[i][1]])
    ax.set_title(f'after {i} multiplications')


moving(FuncAnimation(figure, multiply, frames=len(trail)), fps=3)

# %% [markdown]
# How fast? The gap decides: the error of power iteration falls by $|\lambda_2 / \lambda_1|$ per step. Inverse iteration
# with a good shift divides by a nearly singular matrix and is much faster, and Rayleigh's iteration improves the shift
# in every step: its correct digits triple.

# %%
rng = np.random.default_rng(4)
Q = np.linalg.qr(rng.normal(size=(20, 20)))[0]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
ratios, steps = (0.5, 0.8, 0.95), np.arange(1, 41)
M = jnp.asarray(np.stack([Q * np.concatenate([[1, r], np.linspace(0.3, 0.01, 18)]) @ Q.T for r in ratios]), jnp.float32)
v, vectors = jax.random.normal(jax.random.key(1), (3, 20)), []
for _ in steps:         # one step of all three at a time, to see the way
    v = power_iteration(jax.random.key(0), M, start=v, max_steps=1).vector
    vectors.append(v)
angle = subspace_angle(jnp.stack(vectors)[..., None], jnp.asarray(Q[:, :1], jnp.float32))
for i, (ratio, color) in enumerate(zip(ratios, (BLUE, RED, YELLOW))):
    left.plot(steps, angle[:, i], '.', color=color, label=rf'$\lambda_2 / \lambda_1 = {ratio}$')
    left.plot(steps, angle[11, i] * ratio ** (steps - 12.0), color=color, lw=0.8)
left.set(yscale='log', ylim=(4e-7, 3), xlabel='steps', ylabel='angle to the eigenvector',
         title='power iteration (dots) and its rate (lines)')
left.legend(loc='lower left')
M = jnp.asarray(Q * np.linspace(1, 20, 20) @ Q.T, jnp.float32)
start = jnp.asarray(Q[:, 4] + 0.15 * rng.normal(size=20), jnp.float32)
counts = {'power': power_iteration(jax.random.key(0), M, start=start, tol=1e-6).steps,
          'inverse, shift 5.2': inverse_iteration(jax.random.key(0), M, shift=5.2, start=start, tol=1e-6).steps,
          'Rayleigh': rayleigh_iteration(jax.random.key(0), M, start=start, tol=1e-6).steps}
bars = right.barh(list(counts), [int(v) for v in counts.values()], color=(RED, YELLOW, BLUE))
right.bar_label(bars, padding=3)
right.set(xscale='log', xlim=(1, 1000), xlabel='steps to a residual of 1e-6', title='eigenvalues 1, 2, .., 20')
right.invert_yaxis()
plt.show()

# %% [markdown]
# ### Singular values, and a photograph
#
# `svd` is one-sided Jacobi with derivatives. The dots are the errors of the approximations by that many columns times
# rows, the line the next singular value: Eckart and Young's theorem, measured.

# %%
found = svd(jnp.asarray(photo, jnp.float32), method='lapack')
ranks = np.array([1, 3, 12, 30, 80, 120])
gap = [np.linalg.norm(photo - np.asarray((found.U[:, :r] * found.s[None, :r]) @ found.Vt[:r]), 2) for r in ranks]
figure, ax = plt.subplots(figsize=(7, 3.2))
ax.plot(np.arange(160), found.s, color=RED, label=r'$s_{r+1}$')
ax.plot(ranks, gap, 'o', color=BLUE, label=r'$\Vert A - A_r \Vert_2$', ms=5)
ax.set(yscale='log', xlabel='rank r', ylabel='error', title='a photograph of 200 x 160 grey values')
ax.legend()
plt.show()
small = jnp.asarray(photo[::20, ::20], jnp.float32)
print('Jacobi and LAPACK agree:', bool(jnp.allclose(svd(small).s, svd(small, method='lapack').s, atol=1e-4)))
push, first = jax.grad(lambda A: svd(A, method='lapack').s[0])(small), svd(small)
print("the derivative of s_1 is u_1 v_1':", bool(jnp.allclose(push, jnp.outer(first.U[:, 0], first.Vt[0]), atol=1e-4)))

# %% [markdown]
# ## Exercises
#
# Each checks itself on many random matrices and says what is not right yet. Replace `todo` by your answer and run the
# cell. `hint(exercises['projector'], 1)` gives the first of three hints.

# %%
exercises = {e.name: e for e in linear_algebra_exercises()}
hint(exercises['projector'], 1)

# %%
print(exercises['projector'].task)


def projector(A):
    return todo(A)


attempt(exercises['projector'], projector);

# %%
print(exercises['map_of'].task)


def map_of(B, C):
    return todo(B, C)


attempt(exercises['map_of'], map_of);

# %%
print(exercises['spread'].task)


def spread(A, v, steps):
    return todo(A, v, steps)


attempt(exercises['spread'], spread);
