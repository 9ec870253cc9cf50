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
# # Probability
#
# What chance is, in pictures first; then the mathematics; then the components of
# `levels/level0_foundations/probability`; exercises at the end. Topics: random variables, distributions, expectation
# and variance, Bayes' rule, maximum likelihood.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.scipy.special import logsumexp
from matplotlib.patches import Ellipse

from common.plots import COLORS
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.mathematics import probability_exercises
from levels.level0_foundations.probability.bayes import (
    base_rate,
    beta_binomial,
    grid_posterior,
    predict_binomial,
)
from levels.level0_foundations.probability.distributions import exponential, laplace, normal, student_t, uniform
from levels.level0_foundations.probability.distributions_derived import geometric, lognormal
from levels.level0_foundations.probability.distributions_discrete import bernoulli, binomial, categorical, poisson
from levels.level0_foundations.probability.distributions_gamma import beta, dirichlet, gamma
from levels.level0_foundations.probability.distributions_mvn import multivariate_normal
from levels.level0_foundations.probability.divergence import kl_divergence
from levels.level0_foundations.probability.mle import closed_form, fit_mle, interval, uncertainty
from levels.level0_foundations.probability.moments import control_variate, monte_carlo, pairwise

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.grid': True, 'grid.alpha': 0.25,
                     'axes.titlesize': 11, 'font.size': 10, 'legend.fontsize': 9,
                     'axes.prop_cycle': plt.cycler(color=COLORS)})

# %% [markdown]
# ## The idea
#
# ### A random variable is a machine with a button
#
# Press it and a number comes out. Nobody knows the next number, yet the *shape* of many numbers is always the same.
# Here the machine is a waiting time. Ten presses say little, ten thousand draw the shape that was in the machine all
# along.

# %%
machine, x = gamma(2.0, 1.0), jnp.linspace(0.0, 9.0, 300)
draws = np.asarray(machine.sample(jax.random.key(0), (100_000,)))
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3), sharey=True)
for ax, n in zip(axes, (10, 200, 10_000)):
    ax.hist(draws[:n], bins=np.linspace(0, 9, 28), density=True, color=BLUE, alpha=0.45)
    ax.plot(x, jnp.exp(machine.log_prob(x)), color=RED, lw=2)
    ax.set(title=f'{n:,} draws', xlabel='waiting time [min]')
axes[0].set_ylabel('share per minute')
axes[2].legend(['the shape: density', 'what came out'])
plt.show()

# %% [markdown]
# ### Averages settle down, mostly
#
# Twenty people press the button and each keeps a running average. The averages gather around one number, inside a
# funnel that narrows like $1/\sqrt n$: four times as many draws, half the error. On the right is a machine for which
# this *fails*. Its large values are so frequent that one of them can spoil the average of all that came before.

# %%
n = np.arange(1, 5001)
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.4))
wild = np.asarray(student_t(1.0).sample(jax.random.key(1), (100_000,)))
for ax, values, name, limits in ((axes[0], draws, 'waiting time, mean 2', (0, 4)),
                                 (axes[1], wild, "Student's t with 1 degree of freedom", (-6, 6))):
    ax.plot(n, (np.cumsum(values.reshape(20, 5000), 1) / n).T, lw=0.8, color=BLUE, alpha=0.6)
    ax.set(xscale='log', ylim=limits, xlabel='how many draws', ylabel='their average', title=name)
for sign in (-1, 1):
    axes[0].plot(n, 2 + sign * 2 * np.sqrt(2 / n), color=RED, lw=2, label=r'$2 \pm 2\,\sigma/\sqrt{n}$' * (sign > 0))
axes[0].legend()
plt.show()

# %% [markdown]
# ### Evidence reweighs what was believed before
#
# A thousand people are tested for an illness that one in a hundred has. The test finds 9 of 10 ill people, and gives
# a false alarm for 8 % of the well. You are positive. How likely are you ill? Look at the filled dots only, and
# count.

# %%
kinds = np.repeat(['ill, found', 'ill, missed', 'well, false alarm', 'well, negative'], [9, 1, 79, 911])
across, down = np.arange(1000) % 50, np.arange(1000) // 50
figure, ax = plt.subplots(figsize=(10.5, 4))
for kind, color, filled in zip(dict.fromkeys(kinds), (RED, RED, BLUE, '0.75'), (True, False, True, False)):
    some = kinds == kind
    ax.scatter(across[some], -down[some], s=42, ec=color, fc=color if filled else 'none', label=f'{some.sum()} {kind}')
ax.set_axis_off()
ax.legend(loc='upper center', bbox_to_anchor=(0.5, 0), ncols=4, frameon=False)
ax.set_title('1,000 people: 88 are positive, 9 of them are ill. A positive test means 1 in 10, not 9 in 10')
plt.show()

# %% [markdown]
# ### Which machine made these numbers?
#
# Turn it around: the numbers are given (the ticks at the bottom), the machine is not. Of three candidates the red one
# puts its mass where the numbers are. Going through all candidates gives a hill; its top is the *most likely*
# machine, and a sharp hill means that the numbers leave little doubt.

# %%
seen = normal(3.0, 1.0).sample(jax.random.key(5), (25,))
x, centres = jnp.linspace(-1.0, 7.0, 300), jnp.linspace(1.5, 4.5, 200)
hill = lambda data: jax.vmap(lambda m: normal(m, 1.0).log_prob(data).sum())(centres)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
for centre, color in ((1.5, '0.6'), (float(seen.mean()), RED), (4.5, '0.3')):
    left.plot(x, jnp.exp(normal(centre, 1.0).log_prob(x)), color=color, label=f'centre {centre:.2f}')
left.plot(seen, np.full(25, -0.012), '|', color=BLUE, ms=12)
left.set(xlabel='number', ylabel='density', title='three machines and 25 numbers')
left.legend()
for data, color in ((seen[:5], BLUE), (seen, RED)):
    right.plot(centres, hill(data) - hill(data).max(), color=color, label=f'{len(data)} numbers')
right.set(ylim=(-8, 0.5), xlabel='centre of the machine', ylabel='log likelihood, top at 0',
          title='all machines: more numbers, sharper hill')
right.legend()
plt.show()

# %% [markdown]
# ## The mathematics
#
# **Random variables.** The *distribution* of $X$ says how much probability lies where. Its *cumulative distribution
# function* is $F(x) = P(X \le x)$; if $F$ is smooth its slope is the *density* $p$, and if $X$ is discrete
# $p(k) = P(X = k)$. The inverse $F^{-1}$ gives quantiles, and $F^{-1}(U)$ with $U$ uniform on $(0, 1)$ has the
# distribution $F$: that is one way to draw samples.
#
# **Expectation and variance.**
# $$\operatorname{E} f(X) = \int f(x)\,p(x)\,dx, \qquad
#   \operatorname{Var} X = \operatorname{E}(X - \operatorname{E}X)^2 .$$
#
# **Monte Carlo.** For independent $x_i$ the average $\bar f_n = \frac1n\sum f(x_i)$ is right in the mean, and its
# *standard error* is $\sigma_f/\sqrt n$, estimated by $\sqrt{\sum (f_i - \bar f)^2/(n-1)/n}$. Law of large numbers:
# $\bar f_n \to \operatorname{E} f$. Central limit theorem: the error is about normal. Both need $\operatorname{E}|f|$
# and $\operatorname{Var} f$ to exist, which for the machine on the right above they do not.
#
# **Control variates.** If $\operatorname{E} g$ is known, $\frac1n\sum f_i - c\,(g_i - \operatorname{E} g)$ has the
# same mean for every $c$; the best is $c = \operatorname{Cov}(f, g)/\operatorname{Var} g$, and it leaves the variance
# $(1 - \rho^2)\operatorname{Var} f$, $\rho$ the correlation of $f$ and $g$.
#
# **Bayes' rule.**
# $$p(\theta \mid x) = \frac{p(x \mid \theta)\,p(\theta)}{\int p(x \mid t)\,p(t)\,dt}
#   \qquad\text{posterior} \propto \text{likelihood} \times \text{prior}.$$
# A prior is *conjugate* if the posterior is of its family. A Beta$(a, b)$ prior for a probability and $s$ successes
# in $n$ tries give Beta$(a + s,\; b + n - s)$: the prior counts like $a + b$ tries made earlier.
#
# **Maximum likelihood.** $\hat\theta = \arg\max_\theta \ell(\theta)$, $\ell(\theta) = \sum_i \log p(x_i; \theta)$.
# The curvature at the top is the *observed Fisher information* $J = -\ell''(\hat\theta)$. For large $n$, $\hat\theta$
# is about normal around the truth with covariance $J^{-1}$, so that
# $$\hat\theta \pm 1.96\,\sqrt{(J^{-1})_{ii}}$$
# contains the truth in about 95 of 100 samples.
#
# **Kullback-Leibler divergence.** $\operatorname{KL}(p, q) = \operatorname{E}_p[\log p(X) - \log q(X)] \ge 0$, zero
# only for $p = q$, and not symmetric. Maximum likelihood minimises it from the data's distribution to the model's.

# %% [markdown]
# ## The component
#
# A distribution is a NamedTuple of arrays, made by a function that checks its parameters. Its methods: `sample(key,
# shape)`, `log_prob`, `cdf`, `sf` (the upper tail), `icdf`, `mean`, `variance`, `entropy`. Being a pytree it goes
# through `jit`, `vmap` and `grad`. The key is explicit: equal keys, equal samples.

# %%
d = gamma(jnp.array([1.0, 2.0, 5.0]), 2.0)
print('three at once, means:', d.mean())
print('log_prob(1.0)       :', d.log_prob(1.0))
print('medians             :', d.icdf(0.5))
print('d log_prob / d shape:', jax.jit(jax.grad(lambda a: gamma(a, 2.0).log_prob(1.0)))(2.0))
try:
    gamma(2.0, -1.0)
except ValueError as error:
    print('refused             :', error)

# %% [markdown]
# ### A dozen families
#
# Bars are 100,000 samples, red lines are `exp(log_prob)`, grey ones `cdf` (from 0 at the bottom to 1 at the top):
# three views of one distribution, from three independent pieces of code, that agree.

# %%
FAMILIES = {
    'normal(0, 1)': (normal(), -4, 4), 'laplace(0, 1)': (laplace(), -5, 5), 'student_t(3)': (student_t(3.0), -6, 6),
    'uniform(-1, 1)': (uniform(-1.0, 1.0), -1.5, 1.5), 'exponential(1)': (exponential(1.0), -0.5, 6),
    'gamma(3, 1)': (gamma(3.0), -0.5, 10), 'beta(2, 5)': (beta(2.0, 5.0), -0.1, 1.1),
    'lognormal(0, 0.6)': (lognormal(0.0, 0.6), -0.2, 5), 'bernoulli(0.3)': (bernoulli(0.3), -1, 2),
    'binomial(12, 0.4)': (binomial(12, 0.4), -1, 13), 'poisson(3)': (poisson(3.0), -1, 11),
    'geometric(0.35)': (geometric(0.35), 0, 12)}
N, samples = 100_000, {}          # of the shape above: nothing to compile anew
figure, axes = plt.subplots(3, 4, figsize=(11.5, 7))
for ax, (name, (d, low, high)) in zip(axes.flat, FAMILIES.items()):
    samples[name] = s = np.asarray(d.sample(jax.random.key(0), (N,)), float)
    x = np.linspace(low, high, 401)
    if ax in axes[2]:           # whole numbers
        k = low + np.arange(401.0)
        chances, k = np.exp(d.log_prob(k))[k <= high], k[k <= high]
        ax.bar(k, [(s == v).mean() for v in k], color=BLUE, alpha=0.45)
        ax.plot(k, chances, 'o', color=RED, ms=5)
    else:
        bins = np.linspace(low, high, 41)
        ax.hist(s, bins, weights=np.full(N, 1 / N / (bins[1] - bins[0])), color=BLUE, alpha=0.45)
        ax.plot(x, jnp.exp(d.log_prob(x)), color=RED, lw=1.8)
    other = ax.twinx()
    other.plot(x, d.cdf(x), color='0.35', lw=1.2, ls='--')
    other.set(ylim=(0, 1.05), yticks=[])
    other.grid(False)
    ax.set(title=name, ylim=(0, None))
figure.supylabel('probability or density')
plt.show()

# %% [markdown]
# Samples pushed through their own `cdf` are uniform. The largest gap between the empirical distribution of a sample
# of size $n$ and the truth is below $1.95/\sqrt n$ in 999 of 1,000 cases (Kolmogorov and Smirnov): a test of sampler
# and cdf against each other. Tails have their own function: `1 - cdf` has no digits left where `sf` still has all.

# %%
for name, (d, _, _) in list(FAMILIES.items())[:8]:
    u = np.sort(np.asarray(d.cdf(samples[name]), float))
    gap = np.abs(u - (np.arange(N) + 0.5) / N).max()
    print(f'{name:18s} gap {gap:.4f}, allowed {1.95 / N ** 0.5:.4f}')
print('\nP(X > 8), X normal:  1 - cdf', 1 - normal().cdf(8.0), '  sf', normal().sf(8.0))

# %% [markdown]
# ### Vectors
#
# A correlated normal cloud and what is left of it once one coordinate is known (`given`): a narrower normal on the
# dashed line. On the right three shares that add up to 1: Dirichlet samples in the triangle whose corners are "all of
# it".

# %%
cloud = multivariate_normal(jnp.zeros(2), jnp.array([[2.0, 1.1], [1.1, 1.0]]))
rest = cloud.given((0,), jnp.array([2.0]))
dots = cloud.sample(jax.random.key(0), (1500,))
x = np.linspace(-5, 5, 121)
plane = np.stack(np.meshgrid(x, x), -1)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2))
left.scatter(*dots.T, s=5, color=BLUE, alpha=0.35)
left.contour(x, x, jnp.exp(cloud.log_prob(plane)), levels=5, colors='0.3', linewidths=0.9)
y = jnp.linspace(-1.5, 4.0, 200)
slice_ = jnp.exp(rest.log_prob(y[:, None]))
left.axvline(2.0, color=RED, ls='--', lw=1)
left.fill_betweenx(y, 2.0, 2.0 + 1.5 * slice_, color=RED, alpha=0.6, label=r'$p(y \mid x = 2)$')
left.set(xlim=(-5, 5), ylim=(-4, 4), xlabel='x', ylabel='y', title='multivariate_normal, and what x = 2 tells of y')
left.legend(loc='upper left')
corners = np.array([[0, 0], [1, 0], [0.5, 0.866]])
for a, color in (([10.0, 3.0, 3.0], BLUE), ([0.4, 0.4, 0.4], YELLOW), ([3.0, 20.0, 20.0], RED)):
    shares = dirichlet(jnp.array(a)).sample(jax.random.key(1), (400,))
    right.scatter(*(np.asarray(shares) @ corners).T, s=6, color=color, alpha=0.7, label=f'dirichlet({a})')
right.plot(*corners[[0, 1, 2, 0]].T, color='0.3', lw=1)
for corner, text, at in zip(corners, ('all first', 'all second', 'all third'), ((0, -14), (0, -14), (0, 6))):
    right.annotate(text, corner, at, textcoords='offset points', ha='center')
right.set(aspect='equal', xlim=(-0.3, 1.3), ylim=(-0.45, 0.95))
right.set_axis_off()
right.legend(loc='lower center', markerscale=2)
plt.show()

# %% [markdown]
# ### Means that survive large numbers
#
# In float32 neighbouring numbers around a million are 1/16 apart, and $\overline{x^2} - \bar x^2$ subtracts two
# numbers of size $10^{12}$. `pairwise` (and `update`, for streams) keep distances from one of the values, and what
# rounding took.

# %%
x = np.asarray(1e6 + jax.random.normal(jax.random.key(0), (100_000,)), np.float32)
m, exact = pairwise(x), x.astype(np.float64)
print(f'variance  truth {exact.var():.6f}   mean of squares less squared mean {(x ** 2).mean() - x.mean() ** 2:.1f}'
      f'   pairwise {m.variance():.6f}')

# %% [markdown]
# ### Monte Carlo with errors, and control variates
#
# The integral of $e^u$ from 0 to 1 is $e - 1$. Dots are the true errors (root mean square of 300 repetitions), lines
# the errors that `monte_carlo` and `control_variate` *report*: they agree, so an estimate can be trusted to say how
# wrong it is. One control, $u$ itself, is worth 60 times as many samples; $u$ and $u^2$ are worth 8,000 times as
# many.

# %%
def estimates(key, n):
    """Three estimates from the same n samples."""
    u = jax.random.uniform(key, (n,))
    return (monte_carlo(key, jax.random.uniform, jnp.exp, n=n), control_variate(jnp.exp(u), u, 0.5),
            control_variate(jnp.exp(u), jnp.stack([u, u ** 2], -1), jnp.array([0.5, 1 / 3])))


sizes = np.array([30, 300, 3000])
keys = jax.random.split(jax.random.key(4), 300)
runs = [jax.jit(jax.vmap(lambda key, n=n: estimates(key, n)))(keys) for n in sizes.tolist()]
figure, ax = plt.subplots(figsize=(7, 4))
for i, (name, color) in enumerate((('plain', BLUE), ('control u', RED), ('controls u, u²', GREEN))):
    true = [np.sqrt(np.mean((np.asarray(run[i].mean, float) - (np.e - 1)) ** 2)) for run in runs]
    ax.plot(sizes, true, 'o', color=color)
    ax.plot(sizes, [np.mean(run[i].error) for run in runs], color=color, label=name)
ax.set(xscale='log', yscale='log', xlabel='samples', ylabel='error of the mean',
       title=r'$\int_0^1 e^u du$ by simulation')
ax.legend()
plt.show()
plain, one, two = (run.error.mean() for run in runs[-1])
print(f'worth in samples: one control {float(plain / one) ** 2:.0f}, two controls {float(plain / two) ** 2:.0f}')

# %% [markdown]
# ### Bayes' rule
#
# What is believed of a coin, toss by toss: `beta_binomial` takes today's belief and the news and returns tomorrow's
# belief, which is a distribution again. The truth is 0.7. Two people with unlike priors end up close to each other.

# %%
tosses = bernoulli(0.7).sample(jax.random.key(3), (200,))
p = jnp.linspace(0.0, 1.0, 400)
figure, axes = plt.subplots(1, 5, figsize=(11.5, 2.6), sharex=True)
for ax, n in zip(axes, (0, 1, 5, 30, 200)):
    for prior, color, name in ((beta(1.0, 1.0), BLUE, 'open mind'), (beta(20.0, 20.0), RED, 'sure it is fair')):
        belief = beta_binomial(prior, successes=tosses[:n].sum(), trials=n)
        ax.plot(p, jnp.exp(belief.log_prob(p)), color=color, label=name)
    ax.axvline(0.7, color='0.4', ls='--', lw=1)
    ax.set(title=f'{int(tosses[:n].sum())} heads in {n}', xlabel='P(heads)', yticks=[])
axes[0].legend(fontsize=8, loc='upper left')
axes[0].set(ylim=(0, 7))
plt.show()

# %% [markdown]
# A belief predicts. After 3 heads in 4 tosses, how many heads will the next 10 show? The binomial at the best guess
# (0.75) is too sure of itself; averaging over the belief is wider. Where a prior is of no nice family,
# `grid_posterior` does Bayes' rule by brute force: here "fair, or a trick coin that nearly always shows heads", a
# mixture of two bumps.

# %%
belief, k = beta_binomial(beta(1.0, 1.0), successes=3, trials=4), jnp.arange(11.0)
points = jnp.linspace(0.001, 0.999, 999)
fair, trick = beta(60.0, 60.0), beta(40.0, 2.0)
prior = lambda t: logsumexp(jnp.stack([fair.log_prob(t) + jnp.log(0.9), trick.log_prob(t) + jnp.log(0.1)]), axis=0)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
left.bar(k - 0.2, jnp.exp(binomial(10, 0.75).log_prob(k)), 0.4, color='0.7', label='best guess only')
left.bar(k + 0.2, jnp.exp(predict_binomial(belief, k, 10)), 0.4, color=RED, label='whole belief')
left.set(xlabel='heads in the next 10 tosses', ylabel='probability', title='prediction after 3 heads in 4')
left.legend(loc='upper left')
right.plot(points, jnp.exp(prior(points)), color='0.6', label='prior')
for heads, color in ((3, BLUE), (6, RED)):
    grid = grid_posterior(prior, lambda t, n=heads: binomial(float(n), t).log_prob(float(n)), points)
    odd = float(grid.expect(lambda t: (t > 0.75) * 1.0))
    right.plot(points, jnp.exp(grid.log_density), color=color, label=f'{heads} heads in {heads}: P(trick) {odd:.2f}')
right.set(xlabel='P(heads)', ylabel='density', title='grid posterior of a mixture')
right.legend(loc='upper left')
plt.show()

# %% [markdown]
# Base rates: what a positive answer means depends on how many are ill to begin with. The answer of one test is the
# prevalence for the next (if their errors are independent), which is why positives are tested again.

# %%
prevalence = jnp.logspace(-4, -0.05, 200)
figure, ax = plt.subplots(figsize=(7, 3.6))
ill = prevalence
for i, color in enumerate((RED, BLUE, GREEN)):
    ill = base_rate(ill, sensitivity=0.9, specificity=0.92).ill_if_positive
    ax.plot(prevalence, ill, color=color, label=f'{i + 1} positive test' + 's' * (i > 0))
ax.plot([0.01], [9 / (9 + 79.2)], 'o', color='black', label='the thousand people above')
ax.set(xscale='log', xlabel='share of the ill before the test', ylabel='P(ill | positive)',
       title='finds 90 % of the ill, 8 % false alarms')
ax.legend()
plt.show()

# %% [markdown]
# ### Maximum likelihood
#
# `closed_form` where there is one, `fit_mle` (Newton's method on the log likelihood) for any family with a
# `log_prob`. On the right the hill of two parameters, seen from above: its curvature at the top gives the ellipse
# that should contain the truth in 95 of 100 samples. The ellipse is slanted: shape and rate err together.

# %%
times = jnp.asarray(draws[:200])         # of the gamma(2, 1) from the beginning
fit = jax.jit(lambda x: fit_mle(gamma, {'shape': 1.0, 'rate': 1.0}, x, positive=('shape', 'rate')))(times)
for name in fit.params:
    print(f'{name:5s} {fit.params[name]:.3f} +- {fit.errors[name]:.3f}')
print(f'converged in {fit.steps} steps: {fit.converged}')
low, high = interval(fit, level=0.95)
print('95 % intervals:', {k: (round(float(low[k]), 2), round(float(high[k]), 2)) for k in low})

shape, rate = jnp.linspace(1.2, 3.1, 60), jnp.linspace(0.5, 1.75, 60)
hill = gamma(shape[None, :, None], rate[:, None, None]).log_prob(times).sum(-1)
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
x = jnp.linspace(0.01, 9.0, 300)
left.hist(times, bins=25, density=True, color=BLUE, alpha=0.45, label='200 waiting times')
left.plot(x, jnp.exp(gamma(**fit.params).log_prob(x)), color=RED, lw=2, label='most likely gamma')
left.plot(x, jnp.exp(gamma(2.0, 1.0).log_prob(x)), color='0.3', ls='--', label='the truth')
left.set(xlabel='waiting time [min]', ylabel='density')
left.legend()
right.contourf(shape, rate, hill - hill.max(), levels=[-40, -20, -10, -6, -3, -1, 0], cmap='Blues')
values, vectors = np.linalg.eigh(np.asarray(fit.covariance)[::-1, ::-1])        # sorted names: rate, shape
sizes = 2 * np.sqrt(5.991 * values)                                             # chi squared of 2, 95 %
right.add_patch(Ellipse((float(fit.params['shape']), float(fit.params['rate'])), *sizes[::-1], fc='none', ec=RED, lw=2,
                        angle=float(np.degrees(np.arctan2(*vectors[::-1, 1])))))
right.plot(fit.params['shape'], fit.params['rate'], 'o', color=RED, label='estimate, 95 % ellipse')
right.plot(2, 1, 'X', color='black', ms=9, label='the truth')
right.set(xlabel='shape', ylabel='rate', title='log likelihood below its top')
right.legend(loc='upper left')
plt.show()

# %% [markdown]
# Do 95 % intervals contain the truth 95 times in 100? Two thousand samples in one `vmap`: the left picture shows the
# first eighty intervals, the right one how often all two thousand were right. For the rate of an exponential the
# promise is kept from ten observations on. For a small probability it is not: ten tries at 0.1 often have no success
# at all, the estimate is 0 and claims to be certain. "For large n" means large in what the parameter rests on.

# %%
def replications(make, family, truth, n):
    """[2000, 2]: the ends of the 95 % intervals of 2,000 samples of size n."""
    def one(key):
        x = make(truth).sample(key, (n,))
        low, high = interval(uncertainty(make, closed_form(family, x)._asdict(), x))
        return jnp.concatenate([*map(jnp.atleast_1d, (*low.values(), *high.values()))])
    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(11), 2000)))


sizes = (10, 40, 400)
rates = {n: replications(exponential, 'exponential', 2.0, n) for n in sizes}
chances = {n: replications(bernoulli, 'bernoulli', 0.1, n) for n in sizes}
share = lambda ends, truth: [np.mean((e[:, 0] <= truth) & (e[:, 1] >= truth)) for e in ends.values()]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(3, 2))
for i, (low, high) in enumerate(rates[40][:80]):
    left.plot([i, i], [low, high], color=BLUE if low <= 2 <= high else RED, lw=1.6)
left.axhline(2, color='0.3', lw=1)
left.set(xlabel='sample of 40', ylabel='rate', title='eighty intervals; red ones miss the truth')
right.axhspan(0.93, 0.97, color=GREEN, alpha=0.2, label='93 to 97 %')
for ends, truth, color, name in ((rates, 2, BLUE, 'rate of an exponential'), (chances, 0.1, RED, 'probability of 0.1')):
    right.plot(sizes, share(ends, truth), 'o-', color=color, label=name)
right.set(xscale='log', xticks=sizes, xticklabels=sizes, ylim=(0.55, 1), xlabel='sample size',
          ylabel='share that holds the truth', title='2,000 samples each')
right.minorticks_off()
right.legend(loc='lower right')
plt.show()
for name, ends, truth in (('rate', rates, 2.0), ('probability', chances, 0.1)):
    print(f'{name:12s}', {n: f'{v:.1%}' for n, v in zip(sizes, share(ends, truth))})

# %% [markdown]
# ### How far apart are two distributions?
#
# `kl_divergence` is in closed form for 14 families. It asks: what does it cost to describe samples of the first with
# a code made for the second? Not symmetric: to take a wide distribution for a narrow one costs more than the other
# way round, since the narrow one finds the tails of the wide one next to impossible.

# %%
wide, narrow = normal(0.0, 2.0), normal(0.0, 0.7)
print('samples of the wide one, code of the narrow one:', kl_divergence(wide, narrow))
print('samples of the narrow one, code of the wide one:', kl_divergence(narrow, wide))
check = monte_carlo(jax.random.key(0), wide.sample, lambda x: wide.log_prob(x) - narrow.log_prob(x), n=20_000)
print(f'the first by simulation: {check.mean:.3f} +- {check.error:.3f}')
fair, loaded = (categorical(jnp.log(jnp.array(p))) for p in ([0.5, 0.5], [0.9, 0.1]))
print('a fair coin, taken for a loaded one:', kl_divergence(fair, loaded))

# %% [markdown]
# ## Exercises
#
# Each checks itself on many inputs and says what is not right yet. Write your answer in place of `todo(...)` and run
# the cell. `hint(exercises['ill'], 1)` gives the first of three hints, from gentle to plain.

# %%
exercises = {e.name: e for e in probability_exercises()}
hint(exercises['ill'], 1)

# %%
print(exercises['ill'].task)


def ill(prevalence, sensitivity, specificity):
    return todo(prevalence, sensitivity, specificity)


attempt(exercises['ill'], ill);

# %%
print(exercises['mean_and_error'].task)


def mean_and_error(x):
    return todo(x)


attempt(exercises['mean_and_error'], mean_and_error);

# %%
print(exercises['choose'].task)


def choose(u, p):
    return todo(u, p)


attempt(exercises['choose'], choose);
