"""Returns against sums that NumPy adds up in float64, episode by episode, over trajectories split by hand."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare

from levels.level6_reinforcement import returns

T, GAMMA, LAM = 37, 0.97, 0.9
PEER = 'hand-split NumPy float64'
CASES = {
    'no end': ([], []),
    'terminated': ([9, 20, 36], []),
    'truncated': ([], [9, 20, 36]),
    'both kinds, and episodes of one step': ([0, 1, 17], [2, 16, 30]),
    'every step': ([0, *range(2, T, 2)], list(range(1, T, 2))),
}


def trajectory(case):
    """(reward, value, value after, terminated, ended) in float64; the value after an end is not that of the next
    row."""
    rng = np.random.default_rng(3)
    terminated, truncated = (np.isin(np.arange(T), steps) for steps in CASES[case])
    reward, value, last = rng.normal(size=T), rng.normal(size=T), rng.normal(size=T)
    ended = terminated | truncated
    after = np.where(ended | (np.arange(T) == T - 1), last, np.roll(value, -1))
    return reward, value, after, terminated, ended


def episodes(ended):
    """[first, last] of every episode, the last one possibly unfinished."""
    cuts = [-1, *np.flatnonzero(ended)]
    cuts += [T - 1] if cuts[-1] != T - 1 else []
    return [(a + 1, b) for a, b in itertools.pairwise(cuts)]


def sums(kind, reward, value, after, terminated, ended, n=3):
    """The definition, term by term: no recursion is shared with what is tested."""
    out = np.zeros(T)
    for first, last in episodes(ended):
        for t in range(first, last + 1):
            def n_step(k, t=t, last=last):
                m = min(k, last - t + 1)
                rest = 0.0 if terminated[t + m - 1] else after[t + m - 1]
                return sum(GAMMA**i * reward[t + i] for i in range(m)) + GAMMA**m * rest
            left = last - t + 1
            if kind == 'discounted':
                out[t] = n_step(left)
            elif kind == 'n-step':
                out[t] = n_step(n)
            else:       # GAE as the lambda-weighted mean of the n-step advantages, eq. 16 of the paper before summing
                out[t] = ((1 - LAM) * sum(LAM**(k - 1) * n_step(k) for k in range(1, left))
                          + LAM**(left - 1) * n_step(left) - value[t])
    return out


OURS = {
    'gae': lambda r, v, a, term, end: returns.gae(r, v, a, term, end, gamma=GAMMA, lam=LAM),
    'discounted': lambda r, v, a, term, end: returns.discounted_returns(r, a, term, end, gamma=GAMMA),
    'n-step': lambda r, v, a, term, end: returns.n_step_returns(r, a, term, end, gamma=GAMMA, n=3),
}


@pytest.mark.parametrize('kind', OURS)
@pytest.mark.parametrize('case', CASES)
def test_equals_the_hand_split_sums(kind, case):
    arrays = trajectory(case)
    expected = sums(kind, *arrays)
    with jax.enable_x64(True):
        ours = jax.jit(OURS[kind])(*map(jnp.asarray, arrays))
        compare(kind, PEER, f'{case}, float64', ours, expected, 1e-12)
    single = [jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else bool) for x in arrays]
    compare(kind, PEER, f'{case}, float32', jax.jit(OURS[kind])(*single), expected, 1e-6, relative=True)


def test_the_two_limits_of_gae():
    r, v, a, term, end = trajectory('both kinds, and episodes of one step')
    with jax.enable_x64(True):
        args = [jnp.asarray(x) for x in (r, v, a, term, end)]
        one = returns.gae(*args, gamma=GAMMA, lam=0.0)
        full = returns.gae(*args, gamma=GAMMA, lam=1.0)
        compare('gae', PEER, 'lambda 0', one, r + GAMMA * np.where(term, 0, a) - v, 1e-14)
        compare('gae', 'discounted_returns', 'lambda 1', full + args[1], OURS['discounted'](*args), 1e-12)
        n = [returns.n_step_returns(args[0], *args[2:], gamma=GAMMA, n=n) for n in (1, T, 3 * T)]
        compare('n_step_returns', 'discounted_returns', 'n = all', n[1:], [OURS['discounted'](*args)] * 2, 1e-12)
        compare('n_step_returns', PEER, 'n = 1', n[0], r + GAMMA * np.where(term, 0, a), 1e-14)


def test_truncation_is_not_termination():
    """The same rewards with the same cuts: the two differ by the bootstrap and in nothing else."""
    r, v, a, _, end = trajectory('truncated')
    no = np.zeros(T, bool)
    with jax.enable_x64(True):
        cut, dead = (OURS['discounted'](*map(jnp.asarray, (r, v, a, term, end))) for term in (no, end))
    left = np.concatenate([np.arange(b - t0, -1, -1) + 1 for t0, b in episodes(end)])
    rest = np.concatenate([np.full(b - t0 + 1, a[b]) for t0, b in episodes(end)])
    compare('discounted_returns', PEER, 'truncated less terminated', cut - dead, GAMMA**left * rest, 1e-12)


@pytest.mark.parametrize('case', CASES)
def test_running_returns_carry_over(case):
    """Looking back, in two halves and at once."""
    r, *_, end = trajectory(case)
    expected, total = np.zeros(T), 0.0
    for t in range(T):
        total = GAMMA * total + r[t]
        expected[t] = total
        total *= not end[t]
    with jax.enable_x64(True):
        run = lambda r, e, before: returns.running_returns(jnp.asarray(r), jnp.asarray(e), before, gamma=GAMMA)
        after, whole = run(r, end, jnp.zeros(()))
        middle, first = run(r[:20], end[:20], jnp.zeros(()))
        second = run(r[20:], end[20:], middle)[1]
        compare('running_returns', PEER, case, [whole, after], [expected, np.float64(total)], 1e-12)
        both = jnp.concatenate([first, second])
        compare('running_returns', 'itself at once', f'two halves, {case}', both, whole, 1e-14)


def test_shapes_are_checked():
    x, flag = jnp.zeros((4, T)), jnp.zeros((4, T), bool)
    for call in (lambda: returns.gae(x, x, x, flag, flag, gamma=GAMMA, lam=LAM),
                 lambda: returns.discounted_returns(x[0], x[0], flag[0], flag[0, 1:], gamma=GAMMA),
                 lambda: returns.n_step_returns(x[0], x[0], flag[0], flag[0, :1], gamma=GAMMA, n=2),
                 lambda: returns.running_returns(x, flag, jnp.zeros(4), gamma=GAMMA)):
        with pytest.raises(ValueError, match=r'expected \[time\] for all'):
            call()
    with pytest.raises(ValueError, match='n: expected at least 1, found 0'):
        returns.n_step_returns(x[0], x[0], flag[0], flag[0], gamma=GAMMA, n=0)
