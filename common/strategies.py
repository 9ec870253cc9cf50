"""One device (jit), pmap, or a mesh (jit + shardings).  The only file that names pmap, Mesh or shard_map.

    strategy = mesh({'data': 4, 'model': 2}, rules=[('Dense_0/kernel', P(None, 'model')), ('kernel$', 'fsdp')])
    loop.fit(task, source, strategy=strategy, ...)
"""
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from common import trees
from common.errors import UsageError
from common.parallel import Axis, bound
from common.sharding import Rules, check_rules, spec_of

PyTree = Any


class Strategy(NamedTuple):
    """How `loop.fit` runs `call(state, resident, host) -> state`; state is any pytree."""
    name: str
    devices: int
    init: Callable           # (fn, *args) -> fn(*args), placed
    compile: Callable        # (call, state, resident, host, row_axis) -> compiled call
    place: Callable          # logical state (host or device) -> placed state
    gather: Callable         # placed state -> logical state: what checkpoints, hooks and evaluation see
    resident: Callable       # data -> data on the devices
    batch: Callable          # (this process's rows of a batch, row_axis) -> placed batch
    rows: Callable           # rows of the whole batch -> the slice that this process loads; checks divisibility
    apart: Callable = lambda fn: fn     # (fn(shared, rows) -> rows) -> the same in `compile`, each device on its rows


def same(x):
    return x


def _bind(call: Callable, axis: Axis) -> Callable:
    @functools.wraps(call)
    def inner(*args):
        with bound(axis):
            return call(*args)
    return inner


def _share(n: int, devices: int, micro: int) -> slice:
    """This process's rows of a batch of n.  n = 0: the batch is not split."""
    for what, k in (('devices', devices), ('micro-batches', micro)):
        if k and n % k:
            raise UsageError(f'batch_size: expected a multiple of the {k} {what}, found {n}')
    if micro and micro % devices:
        raise UsageError(f'micro_batches: expected a multiple of the {devices} devices, found {micro}')
    if devices % jax.process_count():
        raise UsageError(f'mesh: expected devices on the axis data in each of {jax.process_count()} processes')
    part = n // jax.process_count()
    return slice(part * jax.process_index(), part * (jax.process_index() + 1))


def _aot(jitted, *args):
    return jitted.lower(*args).compile()


def jit(rules: Rules = (), *, micro: int = 0) -> Strategy:
    """One device.  `micro` > 0: the ordered reduction.  Rules have nothing to split here."""
    if micro:
        return mesh({'data': 1}, rules, micro=micro)._replace(name='jit')
    return Strategy(
        'jit', 1, init=lambda fn, *args: jax.jit(fn)(*args), place=jax.device_put, gather=same, resident=jax.device_put,
        compile=lambda call, state, resident, host, _: _aot(jax.jit(call, donate_argnums=0), state, resident, host),
        batch=lambda b, _: jax.device_put(b), rows=lambda n: _share(n, 1, 0))


def pmap(rules: Rules = (), *, devices: int | None = None, micro: int = 0) -> Strategy:
    """Replicated state, split batch, one program per device.  Leaves that a rule splits over 'data' (environment
    states) live per device; any other spec needs a mesh.  One process only."""
    n = devices or jax.local_device_count()
    if jax.process_count() > 1 or n > jax.local_device_count():
        raise UsageError('strategy: pmap serves one process and its local devices; use --strategy=mesh')
    axis = Axis('ordered' if micro else 'data', n, micro)
    here = jax.local_devices()[:n]
    grid = jax.make_mesh((n,), ('data',), axis_types=(AxisType.Auto,), devices=here)

    def is_local(path, leaf):
        where = P() if any(r == 'fsdp' and re.search(p, path) for p, r in rules) else spec_of(
            rules, path, leaf, {'data': n})
        if where not in (P(), P('data')) or any(r == 'fsdp' for _, r in rules):
            raise UsageError(f'sharding: pmap cannot split {path} by its rule; use --strategy=mesh')
        return where == P('data')

    def split(x, row_axis=0):
        # [.., rows, ..] -> [devices, .., rows / devices, ..]: pmap's own axis comes first
        shape = (*x.shape[:row_axis], n, x.shape[row_axis] // n, *x.shape[row_axis + 1:])
        return jax.device_put(np.moveaxis(np.asarray(x).reshape(shape), row_axis, 0), NamedSharding(grid, P('data')))

    def place(state):
        check_rules(rules, {'data': n}, state)
        whole = NamedSharding(grid, P())
        return trees.map_named(
            lambda p, x: split(x) if is_local(p, x) else jax.device_put(x, whole), state)

    def unplace(state):
        # A replicated leaf goes back to one device, so that the logical state is the same under every strategy.
        return trees.map_named(lambda p, x: x.reshape((-1, *x.shape[2:])) if is_local(p, x)
                               else jax.device_put(x, here[0]), state)

    def compile(call, state, resident, host, row_axis):
        axes = trees.map_named(lambda p, x: 0 if is_local(p, x) else None, state)
        run = jax.pmap(_bind(lambda s, r, h, _: call(s, r, h), axis), axis_name=axis.name, devices=here,
                       in_axes=(axes, None, 0, 0), out_axes=axes)
        which = jax.device_put(np.arange(n), NamedSharding(grid, P('data')))    # a batch may be empty
        compiled = _aot(run, state, resident, host, which)
        return lambda s, r, h: compiled(s, r, h, which)

    return Strategy('pmap', n, init=lambda fn, *args: place(jax.jit(fn)(*args)), compile=compile, place=place,
                    gather=unplace, resident=lambda r: jax.device_put(r, NamedSharding(grid, P())),
                    batch=lambda b, row_axis: jax.tree.map(lambda x: split(x, row_axis), b),
                    rows=lambda rows: _share(rows, n, micro))


def mesh(shape: dict[str, int] | None = None, rules: Rules = (), *, micro: int = 0) -> Strategy:
    """jit over a mesh of devices: the batch is split over the axis 'data', the state by `rules`.

    shape: axis name -> size, by default all devices on 'data'.  Works over several processes.
    Raises UsageError for an unknown axis, too few devices or a rule that matches nothing.
    """
    sizes = dict(shape or {'data': jax.device_count()})
    n = int(np.prod(list(sizes.values())))
    if next(iter(sizes)) != 'data' or not 1 <= n <= jax.device_count():
        raise UsageError(f"mesh: expected 'data' first and at most {jax.device_count()} devices, found {sizes}")
    # Auto: Linen's Dropout and Embed refuse the Explicit axes that make_mesh gives by default.
    auto = functools.partial(jax.make_mesh, devices=jax.devices()[:n])
    grid = auto(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
    whole = NamedSharding(grid, P())

    def shardings(state):
        check_rules(rules, sizes, state)
        return trees.map_named(lambda p, x: NamedSharding(grid, spec_of(rules, p, x, sizes)), state)

    def init(fn, *args):
        # Arguments go in as host values, which jit takes to be equal on every process.
        host = trees.to_host(args)
        wrapped = lambda *xs: fn(*jax.tree.map(trees.like, xs, args))
        return jax.jit(wrapped, out_shardings=shardings(jax.eval_shape(wrapped, *host)))(*host)

    def put(x, sharding):
        if jax.process_count() == 1 or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, sharding)
        host = np.asarray(trees.raw(x))
        data = jax.make_array_from_callback(host.shape, NamedSharding(grid, sharding.spec), lambda i: host[i])
        return trees.like(data, x)

    def compile(call, state, resident, host, row_axis):
        out = shardings(state)
        if micro:
            # The same devices under another axis name: see the last paragraph of parallel.py.
            again = auto((sizes['data'], n // sizes['data']), ('ordered', 'rest'), axis_types=(AxisType.Auto,) * 2)
            # check_vma=False: with it, gradients of replicated values would arrive summed already.
            call = jax.shard_map(_bind(call, Axis('ordered', sizes['data'], micro)), mesh=again, out_specs=P(),
                                 in_specs=(P(), P(), P(*(None,) * row_axis, 'ordered')), check_vma=False)
        return _aot(jax.jit(call, donate_argnums=0, out_shardings=out), state, resident, host)

    def batch(b, row_axis):
        where = NamedSharding(grid, P(*(None,) * row_axis, 'data'))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(where, x), b)

    def apart(fn):
        return jax.shard_map(fn, mesh=grid, in_specs=(P(), P('data')), out_specs=P('data'), check_vma=False)

    return Strategy('mesh', n, init, compile, place=lambda s: jax.tree.map(put, s, shardings(s)), gather=same,
                    resident=lambda r: jax.tree.map(lambda x: put(x, whole), r), batch=batch,
                    rows=lambda rows: _share(rows, sizes['data'], micro), apart=apart)


def seed_per_device(seeds: int) -> Strategy:
    """Independent seeds side by side: the seeds axis is split over devices, each runs its share, nothing is summed.

    Uses the largest number of devices that divides `seeds`.  The state is a `program.State` with a leading axis of
    seeds on everything but the step.
    """
    n = max(d for d in range(1, jax.local_device_count() + 1) if seeds % d == 0)
    base = mesh({'data': n}, [('carry/(key|state)', P('data')), ('^window', P('data'))])
    grid = jax.make_mesh((n,), ('data',), axis_types=(AxisType.Auto,), devices=jax.devices()[:n])

    def compile(call, state, resident, host, row_axis):
        specs = trees.map_named(lambda p, _: P() if p == 'carry/step' else P('data'), state)
        call = jax.shard_map(call, mesh=grid, in_specs=(specs, P(), P(None, 'data')), out_specs=specs, check_vma=False)
        return _aot(jax.jit(call, donate_argnums=0), state, resident, host)

    return base._replace(name='devices', compile=compile, rows=lambda rows: slice(0, rows),
                         batch=lambda b, row_axis: base.batch(b, row_axis - 1))
