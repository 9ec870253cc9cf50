"""Linear algebra against NumPy and SciPy in float64, its derivatives against torch's; gates 1e-6 (f32), 1e-12 (f64)."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from parity_ledger import compare

from levels.level0_foundations.linear_algebra import transforms as T
from levels.level0_foundations.linear_algebra.factor import cholesky, householder_qr, lu
from levels.level0_foundations.linear_algebra.iterations import inverse_iteration, power_iteration, rayleigh_iteration
from levels.level0_foundations.linear_algebra.jacobi import jacobi_eigh, jacobi_svd
from levels.level0_foundations.linear_algebra.products import METHODS, matmul
from levels.level0_foundations.linear_algebra.schur import eig, schur
from levels.level0_foundations.linear_algebra.spectral import eigh, principal_angles, svd
from levels.level0_foundations.linear_algebra.symmetric import hessenberg, symmetric_qr
from levels.level0_foundations.linear_algebra.systems import linear_solve, lstsq, matrix_norm, matrix_rank
from levels.level0_foundations.linear_algebra.vectors import gram_schmidt, norm, project

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
A = RNG.normal(size=(2, 6, 4)).astype('float32').astype(float)          # exact in both precisions
S = RNG.normal(size=(2, 5, 5)).astype('float32').astype(float)
S = S + S.swapaxes(1, 2)
M = RNG.normal(size=(2, 5, 5)).astype('float32').astype(float) + 4 * np.eye(5)
GATE, SPECTRAL = {32: 1e-6, 64: 1e-12}, {32: 1e-5, 64: 1e-12}
both = pytest.mark.parametrize('bits', [32, 64])


@pytest.fixture
def put(bits):
    with jax.enable_x64(bits == 64):
        yield lambda x: jnp.asarray(x, f'float{bits}')


def check(component, peer, what, bits, ours, theirs, gates=GATE):
    compare(component, peer, f'{what}, f{bits}', ours, theirs, gates[bits], relative=True)


@both
def test_norms_and_projections(put, bits):
    for order in (1, 1.5, 2, 3, np.inf):
        check('norm', 'numpy.linalg.norm', f'order {order}', bits, norm(put(A), order=order),
              np.linalg.norm(A, order, axis=-1) if order != 1.5 else np.sum(np.abs(A)**1.5, -1)**(1 / 1.5))
    for order in ('fro', 'nuc', 1, 2, np.inf):
        check('matrix_norm', 'numpy.linalg.norm', f'order {order}', bits, matrix_norm(put(A), order=order),
              np.linalg.norm(A, order, axis=(1, 2)))
    near = np.stack([a @ np.linalg.lstsq(a, np.arange(6.0))[0] for a in A])
    check('project', 'numpy.linalg.lstsq', 'onto four columns', bits, project(put(np.arange(6.0)), put(A)), near)
    q, r = np.linalg.qr(A)
    sign = np.sign(np.diagonal(r, axis1=1, axis2=2))
    made = gram_schmidt(put(A))
    check('gram_schmidt', 'numpy.linalg.qr', 'Q and R', bits, tuple(made), (q * sign[:, None], r * sign[..., None]))


@both
def test_factorisations(put, bits):
    for mode, peer in (('reduced', 'reduced'), ('full', 'complete')):
        Q, R, _ = householder_qr(put(A), mode=mode)
        check('householder_qr', 'numpy.linalg.qr', f'{mode}: Q and R', bits, (Q, R), tuple(np.linalg.qr(A, peer)))
    Q, R, order = householder_qr(put(A[0].T), pivot=True)
    q, r, p = scipy.linalg.qr(A[0].T, pivoting=True)
    assert order.tolist() == p.tolist()
    check('householder_qr', 'scipy.linalg.qr', 'wide, pivots: Q and R', bits, (Q, R), (q, r))
    for x in (A, A.swapaxes(1, 2)):
        L, U, order, parity = lu(put(x))
        p, l, u = scipy.linalg.lu(x, p_indices=True)
        check('lu', 'scipy.linalg.lu', f'{x.shape[1]} x {x.shape[2]}: L and U', bits, (L, U), (l, u))
        assert np.array_equal(np.argsort(order, 1), p)
        signs = [round(np.linalg.det(np.eye(len(o))[o])) for o in np.asarray(order)]
        assert parity.tolist() == signs
    P = A.swapaxes(1, 2) @ A
    check('cholesky', 'numpy.linalg.cholesky', 'L', bits, cholesky(put(P)), np.linalg.cholesky(P))
    H, Q = hessenberg(put(M))
    h, q = scipy.linalg.hessenberg(M[0], calc_q=True)
    check('hessenberg', 'scipy.linalg.hessenberg', 'H and Q', bits, (H[0], Q[0]), (h, q), SPECTRAL)


@both
def test_systems(put, bits):
    b, B = RNG.normal(size=(2, 5)), RNG.normal(size=(5, 3))
    found = linear_solve(put(M), put(b))
    check('linear_solve', 'numpy.linalg.solve', 'x', bits, found.x, np.linalg.solve(M, put(b)[..., None])[..., 0])
    check('linear_solve', 'numpy.linalg.solve', 'x, three right-hand sides, vmap', bits,
          jax.vmap(lambda M: linear_solve(M, put(B)).x)(put(M)), np.linalg.solve(M, np.asarray(put(B), float)))
    check('linear_solve', 'numpy.linalg.cond', 'condition, 1-norm', bits, found.condition, np.linalg.cond(M, 1))
    y = np.asarray(put(RNG.normal(size=(2, 6))), float)
    low = np.concatenate([A[..., :3], A[..., :1] - A[..., 1:2]], -1)
    for name, x in (('tall', A), ('rank 3 of 4', low), ('wide', A.swapaxes(1, 2))):
        target = y[:, :x.shape[1]]
        found = lstsq(put(x), put(target), rcond=1e-5)
        theirs = [np.linalg.lstsq(*pair, rcond=1e-5) for pair in zip(x, target)]
        check('lstsq', 'numpy.linalg.lstsq', f'x, {name}', bits, found.x, np.stack([t[0] for t in theirs]))
        assert found.rank.tolist() == [t[2] for t in theirs]
        if name == 'tall':
            check('lstsq', 'numpy.linalg.cond', 'condition', bits, found.condition, np.linalg.cond(x))
            check('lstsq', 'numpy.linalg.lstsq', 'residual', bits, found.residual, np.stack([t[1][0] for t in theirs]))
    assert matrix_rank(put(A)).tolist() == [4, 4] and matrix_rank(put(low)).tolist() == [3, 3]


@both
def test_products(put, bits):
    X, Y = A, RNG.normal(size=(4, 5)).astype('float32').astype(float)
    for method in METHODS:
        exact = matmul(put(X), put(Y), method=method, block=3)
        check('matmul', 'numpy.matmul', f'{method}, highest', bits, exact, X @ Y)
        half = lambda x: torch.tensor(x).bfloat16().double().numpy()
        compare('matmul', 'torch.bfloat16, exact sums', f'{method}, bf16 factors, f{bits}',
                matmul(put(X), put(Y), method=method, block=3, precision='bf16'), half(X) @ half(Y), 2e-6)


@both
def test_maps(put, bits):
    check('determinant', 'numpy.linalg.det', 'det', bits, T.determinant(put(M)), np.linalg.det(M))
    sign, size = T.log_determinant(put(1e20 * M))
    check('determinant', 'numpy.linalg.slogdet', 'sign and log', bits, (sign, size), tuple(np.linalg.slogdet(1e20 * M)))
    a, b = (T.Affine(put(m), put(m[0])) for m in M)
    x = np.arange(10.0).reshape(2, 5)
    pair = [np.block([[m, m[0][:, None]], [np.zeros((1, 5)), np.ones((1, 1))]]) for m in M]
    check('homogeneous', 'numpy.matmul', 'matrix', bits, T.homogeneous(a), pair[0])
    check('compose', 'numpy.matmul', 'matrix of both', bits, T.homogeneous(T.compose(a, b)), pair[0] @ pair[1])
    check('compose', 'numpy.matmul', 'images', bits, T.apply(T.compose(a, b), put(x)),
          (np.c_[x, np.ones(2)] @ (pair[0] @ pair[1]).T)[:, :5])
    check('inverse', 'numpy.linalg.inv', 'matrix', bits, T.homogeneous(T.inverse(a)), np.linalg.inv(pair[0]))
    check('change_basis', 'numpy.linalg.inv', 'matrix', bits, T.change_basis(put(M[0]), put(M[1])),
          np.linalg.inv(M[1]) @ M[0] @ M[1])


def orthogonality(V):
    V = np.asarray(V, float)
    return np.abs(V.swapaxes(-1, -2) @ V - np.eye(V.shape[-1])).max()


@both
def test_eigenvalues_of_symmetric_matrices(put, bits):
    q = np.linalg.qr(M[0])[0]
    twice = (q * np.array([-2.0, 1, 1, 1, 3])) @ q.T
    X = np.concatenate([S, (twice + twice.T)[None] / 2])
    values, vectors = np.linalg.eigh(X)
    spaces = [[[i] for i in range(5)]] * 2 + [[[0], [1, 2, 3], [4]]]    # a threefold value: by subspaces or not at all
    lapack = lambda X: eigh(X, method='lapack')
    for name, fn in (('symmetric_qr', symmetric_qr), ('jacobi_eigh', jacobi_eigh), ('eigh', lapack)):
        found = fn(put(X))
        V = np.asarray(found.vectors, float)
        if name != 'eigh':
            assert found.converged.all() and (found.steps < (15 if name == 'symmetric_qr' else 8)).all()
        check(name, 'numpy.linalg.eigh', 'values', bits, found.values, values, SPECTRAL)
        angle = max(scipy.linalg.subspace_angles(v[:, i], w[:, i]).max()
                    for v, w, space in zip(V, vectors, spaces) for i in space)
        compare(name, 'numpy.linalg.eigh', f'angles of the eigenspaces, f{bits}', angle, 0.0, SPECTRAL[bits])
        residual = np.linalg.norm(X @ V - V * np.asarray(found.values, float)[:, None], axis=1).max(1)
        residual /= np.abs(values).max(1)
        compare(name, 'zero', f'residual, f{bits}', residual, np.zeros(3), SPECTRAL[bits])
        compare(name, 'zero', f'orthogonality, f{bits}', orthogonality(V), 0.0, SPECTRAL[bits])


@both
def test_one_eigenpair(put, bits):
    spectrum = [0.1, 1.0, 2.0, 3.0, 5.0]
    q = np.linalg.qr(M[0])[0]
    C = (q * np.array(spectrum)) @ q.T
    C = put((C + C.T) / 2)
    for fn, value, more in ((power_iteration, 5.0, {}), (inverse_iteration, 2.0, {'shift': 1.8}),
                            (rayleigh_iteration, 1.0, {'start': put(q[:, 1] + 0.1)})):
        found = fn(KEY, C, **more)
        assert found.converged
        check(fn.__name__, 'numpy.linalg.eigh', 'value', bits, found.value, value, SPECTRAL)
        angle = scipy.linalg.subspace_angles(np.asarray(found.vector)[:, None], q[:, [spectrum.index(value)]])
        compare(fn.__name__, 'numpy.linalg.eigh', f'angle of the vector, f{bits}', angle, np.zeros(1), SPECTRAL[bits])


@both
def test_singular_values_and_angles(put, bits):
    low = np.concatenate([A[..., :3], A[..., :1] - A[..., 1:2]], -1)
    for name, X in (('tall', A), ('wide', A.swapaxes(1, 2)), ('rank 3', low)):
        theirs = np.linalg.svd(X, compute_uv=False)
        found = jacobi_svd(put(X))
        assert found.converged.all() and (found.steps < 9).all()
        check('jacobi_svd', 'numpy.linalg.svd', f'values, {name}', bits, found.s, theirs, SPECTRAL)
        compare('jacobi_svd', 'zero', f'orthogonality, {name}, f{bits}',
                np.array([orthogonality(found.U), orthogonality(found.Vt.mT)]), np.zeros(2), SPECTRAL[bits])
        U, s, Vt = (np.asarray(v, float) for v in found[:3])
        compare('jacobi_svd', 'numpy: U s Vt', f'A, {name}, f{bits}', U * s[:, None] @ Vt, X, 2 * SPECTRAL[bits])
    check('svd', 'numpy.linalg.svd', 'values, lapack', bits, svd(put(A), method='lapack').s,
          np.linalg.svd(A, compute_uv=False), SPECTRAL)
    P, Q = A[0][:, :3], A[1][:, :2]
    check('subspace_angle', 'scipy.linalg.subspace_angles', 'all angles', bits, principal_angles(put(P), put(Q)),
          scipy.linalg.subspace_angles(P, Q))
    tilted = P[:, :2] + 1e-5 * A[1][:, 1:3]         # arccos of float32 would say 0 or 3e-4
    compare('subspace_angle', 'scipy.linalg.subspace_angles', f'angles of 1e-5, f{bits}',
            principal_angles(put(P), put(tilted)), scipy.linalg.subspace_angles(P, tilted), SPECTRAL[bits] / 10)


@both
def test_eigenvalues_of_general_matrices(put, bits):
    cycle = np.roll(np.eye(5), 1, 0)                # its shifts are symmetric: needs the exceptional one
    X = np.stack([M[0] - 4 * np.eye(5), M[1], cycle])
    found = eig(put(X))
    theirs = np.linalg.eigvals(X)
    ours = np.asarray(found.values, complex)
    order = [scipy.optimize.linear_sum_assignment(np.abs(a[:, None] - b[None])) for a, b in zip(theirs, ours)]
    ours = np.stack([b[j] for b, (_, j) in zip(ours, order)])
    assert found.converged.all()
    check('eig', 'numpy.linalg.eigvals', 'values', bits, (ours.real, ours.imag), (theirs.real, theirs.imag), SPECTRAL)
    V = np.asarray(found.vectors, complex)
    residual = np.abs(X @ V - V * np.asarray(found.values)[:, None]).max((1, 2)) / np.linalg.norm(X, axis=(1, 2))
    compare('eig', 'zero', f'residual, f{bits}', residual, np.zeros(3), SPECTRAL[bits])
    if bits == 64:
        made = schur(put(X))
        assert made.converged.all() and np.abs(np.tril(made.T, -1)).max() == 0
        back = np.asarray(made.Z @ made.T @ jnp.conj(made.Z.mT))
        compare('schur', 'numpy: Z T Z^H', 'A, f64', (back.real, back.imag), (X, np.zeros_like(X)), 1e-13)
        compare('schur', 'zero', 'orthogonality, f64', np.abs(np.conj(made.Z.mT) @ made.Z - np.eye(5)[None]),
                np.zeros_like(X), 1e-13)


def test_gradients():
    """Everything that has a derivative, against torch's, in float64."""
    c5, c4 = RNG.normal(size=(5, 5)), RNG.normal(size=(6, 4))
    b = RNG.normal(size=5)
    spd = S[0] @ S[0] + np.eye(5)
    t = torch.tensor

    def positive_q(x):
        q, r = torch.linalg.qr(x)
        return q * torch.sign(torch.diagonal(r))

    jobs = {
        'norm': (lambda x: jnp.sum(norm(x, order=3) * c5[0]),
                 lambda x: (torch.linalg.norm(x, 3, dim=-1) * t(c5[0])).sum(), M[0]),
        'gram_schmidt': (lambda x: jnp.sum(gram_schmidt(x).Q * c4), lambda x: (positive_q(x) * t(c4)).sum(), A[0]),
        'householder_qr': (lambda x: jnp.sum(householder_qr(x).Q * c4),
                           lambda x: (torch.linalg.qr(x).Q * t(c4)).sum(), A[0]),
        'lu': (lambda x: jnp.sum(lu(x).U * c5), lambda x: (torch.linalg.lu(x).U * t(c5)).sum(), M[0]),
        'cholesky': (lambda x: jnp.sum(cholesky(x + x.T) * c5),
                     lambda x: (torch.linalg.cholesky(x + x.T) * t(c5)).sum(), spd),
        'linear_solve': (lambda x: jnp.sum(linear_solve(x, jnp.asarray(b)).x ** 2),
                         lambda x: (torch.linalg.solve(x, t(b)) ** 2).sum(), M[0]),
        'lstsq': (lambda x: jnp.sum(lstsq(x, jnp.arange(6.0)).x ** 2),
                  lambda x: ((torch.linalg.pinv(x) @ torch.arange(6.0).double()) ** 2).sum(), A[0]),
        'determinant': (T.determinant, torch.linalg.det, M[0]),
        'eigh': (lambda x: jnp.sum(jnp.abs(eigh(x + x.T, method='lapack').vectors) * c5),
                 lambda x: (torch.linalg.eigh(x + x.T).eigenvectors.abs() * t(c5)).sum(), S[0]),
        'svd': (lambda x: jnp.sum(jnp.abs(svd(x, method='lapack').U) * c4 + jnp.exp(svd(x).s)[None]),
                lambda x: (torch.linalg.svd(x, full_matrices=False).U.abs() * t(c4)
                           + torch.linalg.svdvals(x).exp()[None]).sum(), A[0]),
        'eig': (lambda x: jnp.sum(jnp.abs(eig(x).values) ** 3), lambda x: (torch.linalg.eigvals(x).abs() ** 3).sum(),
                M[0] - 4 * np.eye(5)),
        **{'matmul ' + m: (lambda x, m=m: jnp.sum(matmul(x, x.T, method=m, block=3) ** 2),
                           lambda x: ((x @ x.T) ** 2).sum(), A[0]) for m in METHODS},
    }
    with jax.enable_x64(True):
        for name, (ours, theirs, at) in jobs.items():
            x = torch.tensor(at, requires_grad=True)
            theirs(x).backward()
            slopes = jax.jit(jax.grad(ours))(jnp.asarray(at))
            compare(name.split()[0], 'torch.autograd', f'gradient, {name}, f64', slopes, x.grad.numpy(), 1e-10,
                    relative=True)
