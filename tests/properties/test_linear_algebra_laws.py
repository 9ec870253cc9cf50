"""Identities of linear algebra, honesty of its bounds, derivatives where eigenvalues repeat, what is refused."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from levels.level0_foundations.linear_algebra import products as P
from levels.level0_foundations.linear_algebra import transforms as T
from levels.level0_foundations.linear_algebra.factor import cholesky, householder_qr, lu
from levels.level0_foundations.linear_algebra.grid import animate_grid, frames, grid_lines
from levels.level0_foundations.linear_algebra.iterations import inverse_iteration, power_iteration, rayleigh_iteration
from levels.level0_foundations.linear_algebra.jacobi import rounds
from levels.level0_foundations.linear_algebra.roofline import Peaks, main, peaks, roofline
from levels.level0_foundations.linear_algebra.schur import eig
from levels.level0_foundations.linear_algebra.spectral import eigenspace_angles, eigh, subspace_angle, svd
from levels.level0_foundations.linear_algebra.symmetric import symmetric_qr
from levels.level0_foundations.linear_algebra.systems import linear_solve, lstsq, matrix_rank
from levels.level0_foundations.linear_algebra.vectors import gram_schmidt, norm, project

KEY = jax.random.key(0)
few = settings(max_examples=15, deadline=None)
# Small integers: singular, repeated and zero values come up often, and float64 products of them are exact.
squares = st.lists(st.integers(-3, 3), min_size=16, max_size=16).map(lambda v: np.reshape(v, (4, 4)).astype(float))


@pytest.fixture(autouse=True, scope='module')
def double():
    with jax.enable_x64(True):
        yield


def near(a, b, tol=1e-12):
    assert np.max(np.abs(np.asarray(a) - np.asarray(b))) <= tol * max(1, np.max(np.abs(np.asarray(b))))


@few
@given(squares)
def test_factorisations_multiply_back(x):
    eye = np.eye(4)
    for pivot in (False, True):
        Q, R, order = householder_qr(x, pivot=pivot)
        near(Q @ R, x[:, order])
        near(Q.T @ Q, eye)
        assert not np.tril(R, -1).any()
    lengths = np.abs(np.diagonal(R))
    assert (np.diff(lengths) <= 1e-12).all() and (lengths > 1e-10).sum() == np.linalg.matrix_rank(x)
    L, U, order, parity = lu(x)
    near(L @ U, x[order])
    assert np.abs(L).max() <= 1 and not np.tril(U, -1).any() and not np.triu(L, 1).any()
    near(parity * np.prod(np.diagonal(U)), np.linalg.det(x), 1e-10)
    Q, R = gram_schmidt(x)
    near(Q @ R, x)
    kept = np.diagonal(R) > 0
    near(Q.T @ Q, np.diag(kept))
    assert kept.sum() == np.linalg.matrix_rank(x)


@few
@given(squares)
def test_spectra_multiply_back(x):
    s = x + x.T
    qr, jacobi = eigh(s, method='qr'), eigh(s, method='jacobi')
    for values, V, residual in (qr, jacobi):
        near((V * values[None]) @ V.T, s)
        near(V.T @ V, np.eye(4))
        assert residual < 1e-13 and (np.diff(values) >= 0).all()
    near(eigenspace_angles(qr.values, qr.vectors, jacobi.vectors, tol=1e-6), np.zeros(4), 1e-6)
    U, s, Vt, residual = svd(x)
    near((U * s[None]) @ Vt, x)
    near(U.T @ U, np.eye(4))        # also where singular values are zero
    near(Vt @ Vt.T, np.eye(4))
    assert (np.diff(s) <= 0).all() and residual < 1e-13
    found = eig(x)
    near(jnp.prod(found.values).real, np.linalg.det(x), 1e-9)
    assert found.converged and found.residual < 1e-7


@few
@given(squares, squares)
def test_maps_keep_their_laws(x, y):
    near(T.determinant(x @ y), T.determinant(x) * T.determinant(y), 1e-9)
    a, b = T.Affine(x, x[0]), T.Affine(y, y[1])
    near(T.homogeneous(T.compose(a, b)), T.homogeneous(a) @ T.homogeneous(b))
    near(T.apply(T.compose(a, b, a), y), T.apply(a, T.apply(b, T.apply(a, y))), 1e-10)
    if np.linalg.cond(x) < 1e6:
        near(T.apply(T.inverse(a), T.apply(a, y)), y, 1e-8)
        near(jnp.trace(T.change_basis(y, x)), np.trace(y), 1e-8)


def test_maps_of_the_plane():
    near(T.compose(T.rotation(0.3), T.rotation(0.4)).matrix, T.rotation(0.7).matrix)
    mirror = T.reflection(jnp.array([1.0, 2.0]))
    near(T.compose(mirror, mirror).matrix, np.eye(2))
    near(T.determinant(mirror.matrix), -1)
    near(T.determinant(T.shear(3, 0, 2, 5.0).matrix), 1)
    near(T.from_homogeneous(-2 * T.homogeneous(T.translation(jnp.arange(3.0)))).shift, np.arange(3))
    for i in range(3):      # three dimensions, three matrices: volume by counting points
        A = np.random.default_rng(i).normal(size=(3, 3))
        volume = T.image_volume(jax.random.fold_in(KEY, i), A)
        assert abs(volume.value - abs(T.determinant(A))) < 4 * volume.error < 0.1 * volume.value + 0.2


def test_gram_schmidt_needs_its_second_pass():
    """Lauchli's matrix: with one pass orthogonality is lost in proportion to the condition, with two it is kept."""
    A = np.vstack([np.ones((1, 4)), 1e-7 * np.eye(4)])
    loss = lambda Q: np.abs(Q.T @ Q - np.eye(4)).max()
    assert loss(gram_schmidt(A, passes=1).Q) > 1e-10 and loss(gram_schmidt(A).Q) < 1e-15
    assert loss(gram_schmidt(1e-200 * A).Q) < 1e-15 and np.isclose(norm(jnp.array([3e200, 4e200])), 5e200)


def test_vmap_is_a_batch():
    rng = np.random.default_rng(5)
    A, b = jnp.asarray(rng.normal(size=(3, 4, 3))), jnp.asarray(rng.normal(size=(3, 4)))
    every = lambda A, b: (norm(b), project(b, A), householder_qr(A), lu(A), cholesky(A.mT @ A), lstsq(A, b),
                          matrix_rank(A))
    mapped, batched = jax.jit(jax.vmap(every))(A, b), jax.jit(every)(A, b)
    assert jax.tree.map(jnp.shape, mapped) == jax.tree.map(jnp.shape, batched)
    for one, other in zip(jax.tree.leaves(mapped), jax.tree.leaves(batched), strict=True):
        near(one, other, 1e-13)


def test_reported_bounds_hold():
    """Hilbert's matrices in float32, where the answer is known in float64: the error is within the bound."""
    for n in (4, 6):
        H = 1 / (np.arange(n)[:, None] + np.arange(n)[None] + 1)
        A = jnp.asarray(H, jnp.float32)
        b = jnp.ones(n, jnp.float32)
        x, condition, _, bound = linear_solve(A, b)
        exact = np.linalg.solve(np.asarray(A, float), np.asarray(b, float))
        error = np.abs(x - exact).sum() / np.abs(x).sum()
        assert 1e-8 < error <= bound < 1e-5 * condition
        assert np.isclose(condition, np.linalg.cond(np.asarray(A, float), 1), rtol=0.5)


def test_singular_systems():
    flat = jnp.ones((2, 2))
    with pytest.raises(ValueError, match='A: expected an invertible matrix, found a singular one'):
        linear_solve(flat, jnp.ones(2))
    found = jax.jit(linear_solve)(flat, jnp.ones(2))
    assert jnp.isinf(found.condition) and jnp.isinf(found.bound)
    assert np.allclose(lstsq(flat, jnp.ones(2)).x, 0.5) and jnp.isfinite(lstsq(flat, jnp.ones(2)).residual)
    assert jnp.isinf(lstsq(jnp.zeros((2, 2)), jnp.ones(2)).condition)
    with pytest.raises(ValueError, match='A: expected a positive definite matrix'):
        cholesky(-flat)
    assert jnp.isnan(jax.jit(cholesky)(-flat)).any()


def test_derivatives_at_repeated_eigenvalues():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    A = jnp.asarray((q * np.array([1.0, 1.0, 2.0, 4.0])) @ q.T)
    A = (A + A.T) / 2

    def projector(A, ties='subspace'):
        V = eigh(A, method='lapack', ties=ties).vectors[:, :2]      # the rules are the same for every method
        return V @ V.T

    C = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)))
    E = (C + C.T) / 2
    h = 1e-5
    numeric = (projector(A + h * E) - projector(A - h * E)) / (2 * h)
    near(jax.jvp(projector, (A,), (E,))[1], numeric, 1e-6)
    some = lambda A, ties: jnp.sum(projector(A, ties) * C)
    near(jnp.sum(jax.grad(some)(A, 'subspace') * E), jnp.sum(numeric * C), 1e-6)
    assert jnp.isnan(jax.grad(some)(A, 'nan')).any()
    assert jnp.isfinite(jax.grad(some)(A + jnp.diag(jnp.arange(4.0)), 'nan')).all()
    near(jax.grad(lambda A: jnp.sum(eigh(A, method='lapack').values**3))(A), 3 * A @ A)

    def polar(A):       # of a matrix whose singular values are all equal
        found = svd(A, method='lapack', ties='subspace')
        return found.U @ found.Vt

    Q = jnp.asarray(q)
    near(jax.jvp(polar, (Q,), (C,))[1], (polar(Q + h * C) - polar(Q - h * C)) / (2 * h), 1e-6)
    assert jnp.isnan(jax.grad(lambda A: jnp.sum(jnp.real(eig(A).values)))(A)).any()


def test_second_derivatives():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, 4)))
    signless = lambda V: V[0][None] * V
    C, h = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4))), 1e-5
    for fn in (lambda x: linear_solve(x, x[0]).x, lambda x: lstsq(x[:, :3], x[:, 3]).x,
               lambda x: signless(eigh(x + x.T, method='lapack').vectors), lambda x: svd(x, method='lapack').s,
               lambda x: jnp.abs(svd(x[:, :3], method='lapack').U)):
        slopes = jax.jit(jax.grad(lambda x, fn=fn: jnp.sum(jnp.sin(fn(x)))))
        curve = jax.jit(lambda x, v, slopes=slopes: jax.jvp(slopes, (x,), (v,))[1])(x, C)
        near(curve, (slopes(x + h * C) - slopes(x - h * C)) / (2 * h), 1e-6)


def test_iterations_say_whether_they_converged():
    A = jnp.diag(jnp.array([1.0, 2.0, 3.0, -3.0]))
    assert not power_iteration(KEY, A, max_steps=200).converged         # 3 and -3
    turn = jnp.kron(jnp.eye(2), T.rotation(0.5).matrix)
    assert not power_iteration(KEY, turn, max_steps=200).converged      # complex pairs
    start = jnp.array([0.2, 1.0, 0.1, 0.1])
    slow = inverse_iteration(KEY, A, shift=1.8, start=start)
    fast = rayleigh_iteration(KEY, A, start=start)
    assert slow.converged and fast.converged and fast.steps <= 5 < slow.steps
    shifts = jnp.array([0.8, 1.8, 2.8])
    found = jax.vmap(lambda s: inverse_iteration(KEY, A, shift=s))(shifts)
    near(found.value, np.array([1.0, 2.0, 3.0]))


def test_a_sweep_meets_every_pair_once():
    for n in (2, 6):
        table = rounds(n)
        pairs = [tuple(sorted(pair)) for r in table for pair in r.T]
        assert sorted(pairs) == list(itertools.combinations(range(n), 2))
        assert all(len(set(r.reshape(-1))) == n for r in table)


def test_float32_stays_at_rounding():
    """Thousands of rotations: lengths must not drift, or residual and orthogonality would grow with n."""
    S = np.random.default_rng(4).normal(size=(100, 100))
    S = jnp.asarray(S + S.T, jnp.float32)
    for method in ('qr', 'jacobi'):
        values, V, residual = eigh(S, method=method)
        assert values.dtype == jnp.float32 and residual < 1e-5
        near(np.asarray(V, float).T @ np.asarray(V, float), np.eye(100), 4e-6)
        near(values, np.linalg.eigvalsh(np.asarray(S, float)), 5e-6)


def test_extreme_scales():
    A = jnp.asarray(np.array([[2.0, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 2]]))
    for scale in (1e-200, 1e200):
        near(symmetric_qr(scale * A).values / scale, np.linalg.eigvalsh(A))
        near(svd(scale * A).s / scale, np.linalg.svd(A, compute_uv=False))
    assert not symmetric_qr(A.at[0, 0].set(jnp.nan)).converged
    assert jnp.isnan(eigh(A.at[0, 0].set(jnp.nan)).values).any()
    assert subspace_angle(A[:, :2], A[:, :2] @ jnp.array([[1.0, 2.0], [0.0, -1.0]])) < 1e-14


def test_precision_is_what_it_is_said_to_be():
    """On a CPU; on other devices `significant_bits` measures what their units do."""
    assert P.significant_bits(precision='highest') == 24 == P.significant_bits(precision='default')
    assert {P.significant_bits(precision='bf16', method=m) for m in P.METHODS} == {8}
    assert P.significant_bits(dtype='float64') == 53 and P.significant_bits(dtype='bfloat16') == 8
    ones = jnp.ones((1, 4096), jnp.bfloat16)        # sums of bfloat16 alone would stop at 256
    assert all(P.matmul(ones, ones.T, method=m)[0, 0] == 4096 for m in P.METHODS)


def test_costs_by_hand():
    assert P.product_cost(2, 3, 5) == P.Cost(60, 4 * (6 + 15 + 10), 60 / 124)
    assert P.product_cost(2, 3, 5, method='naive', dtype='float64').bytes == 8 * (60 + 10)
    # 2 x 2 x 3 tiles of side 2: each product of tiles reads two, each tile of C is written once
    assert P.product_cost(3, 4, 5, method='blocked', block=2).bytes == 4 * 4 * (2 * 2 * 3 * 2 + 2 * 3)


def test_roofline(capsys):
    roof = peaks(size=64, words=1 << 12)
    assert roof.flop_per_s > 0 and roof.byte_per_s > 0
    row = roofline(64, 64, 64, method='dot_general', roof=Peaks(1e15, 1.0), repeats=2)
    cost = P.product_cost(64, 64, 64)
    assert np.isclose(row.flop_per_s * row.seconds, cost.flops) and np.isclose(row.byte_per_s * row.seconds, cost.bytes)
    assert np.isclose(row.attainable, cost.intensity) and np.isclose(row.share, row.flop_per_s / cost.intensity)
    assert row.bound == 'memory'
    other = roofline(64, 64, 64, method='blocked', block=16, roof=Peaks(7.0, 1.0), repeats=1)
    assert other.attainable == 7 < cost.intensity and other.bound == 'arithmetic', 'one roof for all methods'
    assert np.isclose(other.byte_per_s * other.seconds, P.product_cost(64, 64, 64, method='blocked', block=16).bytes)
    assert main(['--sizes', '8', '300']) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert 'peaks' in first and [line.split()[:2] for line in lines] == [
        ['8', 'naive'], ['8', 'blocked'], ['8', 'dot_general'], ['300', 'blocked'], ['300', 'dot_general']]
    assert all('GFLOP/s' in line and 'GB/s' in line and 'bound by' in line for line in lines)
    with pytest.raises(SystemExit):
        main(['--sizes', '0'])
    assert '--sizes: expected at least 1, found 0' in capsys.readouterr().err


def test_the_grid_moves(tmp_path):
    lines = grid_lines(lines=3)
    assert lines.shape == (6, 2, 2) and set(np.abs(lines).reshape(-1)) == {0, 2}
    map_ = T.Affine(jnp.array([[0.0, -1], [2, 0]]), jnp.array([1.0, 0]))
    moving = frames(map_, lines, 3)
    near(moving[0], lines)
    near(moving[-1], T.apply(map_, lines))
    near(moving[1], (moving[0] + moving[2]) / 2)
    with Image.open(animate_grid(map_, tmp_path / 'turn.gif', steps=4, hold=2, lines=3, fps=10)) as made:
        shown = [picture.info['duration'] for picture in ImageSequence.Iterator(made)]
        assert made.format == 'GIF' and shown == [100, 100, 100, 300]   # ms; Pillow joins the last frame and its holds


@pytest.mark.parametrize(('call', 'message'), [
    (lambda x: norm(x, order=0.5), 'order: expected a number >= 1'),
    (lambda x: norm(1.0), r'x: expected \[\*batch, n\]'),
    (lambda x: gram_schmidt(x, passes=0), 'passes: expected at least 1'),
    (lambda x: gram_schmidt(x[0]), r'A: expected \[\*batch, m, n\]'),
    (lambda x: gram_schmidt(x * 1j), 'A: expected real numbers, found complex'),
    (lambda x: householder_qr(x, mode='thin'), 'mode: expected one of reduced, full'),
    (cholesky, r'A: expected \[\*batch, n, n\]'),
    (lambda x: linear_solve(x[:, :2], jnp.ones(3)), r'b: expected \[\*batch, 2\]'),
    (lambda x: lstsq(x, jnp.ones(2), rcond=1.0), 'rcond: expected 0 <= rcond < 1'),
    (lambda x: eigh(jnp.array([[0.0, 1], [2, 0]])), 'A: expected a symmetric matrix'),
    (lambda x: eigh(jnp.eye(2), method='lanczos'), 'method: expected one of qr, jacobi, lapack'),
    (lambda x: svd(x, ties='zero'), 'ties: expected one of nan, subspace'),
    (lambda x: power_iteration(KEY, jnp.eye(2), tol=2.0), 'tol: expected 0 < tol < 1'),
    (lambda x: subspace_angle(x, jnp.eye(3)), r'B: expected \[\*batch, 2, q\]'),
    (lambda x: P.matmul(x, x), r'B: expected \[\*batch, 3, n\]'),
    (lambda x: P.matmul(x, x.T, precision='tf32'), 'precision: expected one of highest'),
    (lambda x: P.product_cost(0, 1, 1), 'm: expected at least 1'),
    (lambda x: T.from_homogeneous(jnp.array([[1.0, 0], [1, 1]])), 'H: expected a last row'),
    (lambda x: T.compose(T.linear(x), T.linear(x)), 'maps: expected a map into 3 dimensions, found one into 2'),
    (lambda x: T.image_volume(KEY, jnp.eye(2), points=0), 'points: expected at least 1'),
    (lambda x: animate_grid(T.linear(jnp.eye(2)), 'a.png'), 'path: expected a name that ends in .gif'),
    (lambda x: animate_grid(T.linear(x), 'a.gif'), r'map_: expected a matrix \[2, 2\]'),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(jnp.ones((2, 3)))
    assert '\n' not in str(caught.value)
