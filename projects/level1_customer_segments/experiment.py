"""Makes segments of the customers of the first months, compares ways to make them by what was bought later, profiles
them, and keeps them."""
from itertools import pairwise

import jax
import numpy as np

from common import datasets, experiment, folder, results, spread
from common.errors import UsageError
from common.runs import Run
from levels.level1_classical import study
from projects.level1_customer_segments import config as config_lib
from projects.level1_customer_segments import draw, models, profiles, programs, rfm

TOP = 0.2       # of the customers; what share of the later revenue did they bring?


def top_share(said: np.ndarray, later: np.ndarray) -> float:
    """Share of the later revenue from the fifth of the customers that is ranked highest, ties in proportion."""
    room, revenue = TOP * len(said), later.astype(np.float64)
    caught = 0.0
    for value in np.unique(said)[::-1]:
        own = said == value
        caught += revenue[own].sum() * min(1.0, room / own.sum())
        room -= min(room, own.sum())
    return float(caught / revenue.sum())


def mse(y: np.ndarray, said: np.ndarray) -> float:
    """Mean squared error, in float64."""
    return float(np.mean((y.astype(np.float64) - said) ** 2))


def measured(c, customers: rfm.Customers, found: programs.Found, test: np.ndarray) -> tuple[dict, dict, dict]:
    """(squared error [seeds, folds], top share [seeds, folds], out-of-fold values [seeds, n]), each by name."""
    y, shape = customers.target, test.shape[:2]
    names = ('mean', *models.BASELINES, *models.NAMES, 'regression')
    errors, tops, out = ({n: np.zeros(s) for n in names} for s in (shape, shape, (shape[0], len(y))))
    for s, f in np.ndindex(*shape):
        rows, at = test[s, f], s * (c.folds + 1) + f
        for name in names:
            said = np.full(len(y), y[~rows].mean()) if name == 'mean' else found.said[name][at]
            errors[name][s, f] = mse(y[rows], said[rows])
            tops[name][s, f] = top_share(said[rows], customers.later[rows])
            out[name][s, rows] = said[rows]
    return errors, tops, out


def numbers(c, errors: dict, tops: dict, found: programs.Found, test: rfm.Customers, train: rfm.Customers) -> dict:
    """What is reported, a value for each seed."""
    gain = {name: 1 - e.mean(1) / errors['mean'].mean(1) for name, e in errors.items() if name != 'mean'}
    values = {f'gain_{name}': g.tolist() for name, g in gain.items()}
    values |= {f'margin_{name}': (gain['kmeans'] - gain[name]).tolist() for name in models.BASELINES}
    values |= {f'top_share_{name}': t.mean(1).tolist() for name, t in tops.items() if name not in ('mean', 'random')}
    last = np.arange(c.folds, len(found.picked), c.folds + 1)
    at = last, found.picked[last] - c.least
    values |= {'segments': found.picked[last].astype(float).tolist(),
               'silhouette': found.choice.silhouette[at].astype(float).tolist(),
               'stability': found.choice.stability[at].astype(float).tolist()}
    values['segments_mean_shift'] = [float(state.alive.sum()) for state in found.states['mean_shift']]
    base = mse(test.target, np.full_like(test.target, train.target.mean()))
    for name in ('kmeans', 'rule'):
        says = [np.asarray(models.later(state, models.segments('kmeans', 1, 1) if name == 'kmeans' else
                                        models.rule(len(state.value)), test.x)) for state in found.states[name]]
        values[f'test_gain_{name}'] = [1 - mse(test.target, said) / base for said in says]
    return values


def sliced(customers: rfm.Customers, said: np.ndarray) -> list[dict]:
    """Error by number of purchases, by quarter of recency and money, by month of the first purchase."""
    recency, frequency, money = customers.x.T
    quarter = lambda v: [*np.unique(np.quantile(v, [0, 0.25, 0.5, 0.75])), np.inf]
    columns = {'purchases': (frequency, [1, 2, 3, 5, 10, np.inf]), 'days since the last': (recency, quarter(recency)),
               'money spent': (money, quarter(money)), 'day of the first': (customers.first, quarter(customers.first))}
    error = said - customers.target.astype(np.float64)
    rows = []
    for name, (column, edges) in columns.items():
        for low, high in pairwise(edges):
            own = (column >= low) & (column < high)
            if own.any():
                rows.append({'column': name, 'low': float(column[own].min()), 'high': float(column[own].max()),
                             'count': int(own.sum()), 'bias': float(error[own].mean()),
                             'rmse': float(np.sqrt((error[own] ** 2).mean())),
                             'bought_later': float((customers.later[own] > 0).mean())})
    return rows


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    train, test, cut = rfm.split(dataset, c.watched)
    if programs.sizes(c, len(train.number))[1] < models.MODES:
        raise UsageError(f'--config.folds: expected at least {models.MODES} customers to learn from in each fold')
    run.truncate(-1)                    # a run that was killed starts again, and gives the same bits
    problems, held = programs.problems(c, [c.seed + i for i in range(args.seeds)], len(train.number))
    found = programs.run(strategy, c, train.x, train.target, problems)
    errors, tops, out = measured(c, train, found, held)
    values = numbers(c, errors, tops, found, test, train)
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})
    k, state = int(found.picked[c.folds]), found.states['kmeans'][0]
    labels = np.asarray(jax.jit(models.segments('kmeans', k, 1).predict)(state, train.x))
    profile, slices = profiles.profile(train, cut, labels), sliced(train, out['kmeans'][0])
    if run.writes:
        for name in models.NAMES:
            about = {'model': name, 'k': k, 'small': programs.sizes(c, len(train.number))[1], 'features': rfm.FEATURES,
                     'units': rfm.UNITS, 'rows': len(train.number), 'day': cut, 'data': dataset.describe()}
            own = profile if name == 'kmeans' else profiles.profile(train, cut, np.asarray(
                models.segments(name, k, 1).predict(found.states[name][0], train.x)))
            study.save(run.dir / f'{name}.safetensors', found.states[name][0], about | {'profile': own})
        folder.write_bytes(run.dir / 'profiles.md', profiles.markdown(
            profile, f'Customers of {c.data}, days 0 to {cut - 1}').encode())
        draw.everything(run, train, cut, found, values, errors, out, held, labels, profile, slices)
    states = [{name: each[i] for name, each in found.states.items()} for i in range(args.seeds)]
    trained = results.solved(states, values, compile=found.compile, train=found.solve)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), slices=slices,
                   baseline={'gain of random segments': float(np.mean(values['gain_random'])),
                             'gain of the rule': float(np.mean(values['gain_rule']))},
                   comparison=study.compare(errors, c.folds), profile=profile, segments=found.picked.tolist(), day=cut)
