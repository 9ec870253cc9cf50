"""The host loop: drivers agree, resume is exact, sources agree, seeds, events, guards."""
import logging
import queue
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import data, evaluate, loop, metrics, optim, parallel, records, strategies, tasks, trees, wrappers
from common.checkpoint import Checkpoints
from common.errors import NonFinite, UsageError
from common.program import State
from common.task import start, train_fn
from tests.common.nets import DIGITS, KEY, ConvNet, Linear, conv_task, source

MAKE = {'jit': strategies.jit, 'pmap': strategies.pmap, 'mesh': strategies.mesh}


def host(tree):
    return jax.device_get(jax.tree.map(trees.raw, tree))


def bits(carry):
    return trees.sha256(host(carry))


@pytest.mark.parametrize('strategy', MAKE)
@pytest.mark.parametrize('asynchronous', [True, False])
def test_resume_is_exact(tmp_path, strategy, asynchronous):
    """Stopped mid-window at step 6 and resumed: state and every logged value equal the unbroken run's bits."""
    task = wrappers.with_guard(wrappers.with_ema(conv_task(optax.adam(1e-3)), 0.9))
    def run(steps, folder, rows):
        checkpoints = Checkpoints(folder, asynchronous=asynchronous)
        out = loop.fit(
            task,
            source(),
            steps=steps,
            key=KEY,
            strategy=MAKE[strategy](),
            steps_per_call=2,
            log_every=4,
            log=lambda step, values, _: rows.append((step, values)),
            checkpoints=checkpoints,
            checkpoint_every=6,
        )
        checkpoints.close()
        return out.carry
    unbroken, broken = [], []
    a = run(12, tmp_path / 'a', unbroken)
    stop = RuntimeError('stop')
    def explode(step, carry):
        if step == 10:
            raise stop
    checkpoints = Checkpoints(tmp_path / 'b', asynchronous=asynchronous)
    with pytest.raises(RuntimeError, match='stop'):
        loop.fit(task, source(), steps=12, key=KEY, strategy=MAKE[strategy](), steps_per_call=2, log_every=4,
                 log=lambda step, values, _: broken.append((step, values)), checkpoints=checkpoints, checkpoint_every=6,
                 hooks=[loop.Hook(2, explode)])
    checkpoints.close()
    broken = [r for r in broken if r[0] <= 6]
    b = run(12, tmp_path / 'b', broken)
    assert bits(a) == bits(b)
    assert unbroken == broken


def test_a_checkpoint_moves_between_strategies_and_device_counts(tmp_path):
    task, ways = conv_task(), [strategies.jit, strategies.pmap, strategies.mesh, lambda: strategies.mesh({'data': 2}),
                               lambda: strategies.mesh(rules=[('kernel$', 'fsdp')]), strategies.jit]
    reference = loop.fit(task, source(), steps=12, key=KEY).carry
    for i, way in enumerate(ways):
        checkpoints = Checkpoints(tmp_path)
        carry = loop.fit(task, source(), steps=2 * (i + 1), key=KEY, strategy=way(), checkpoints=checkpoints).carry
        checkpoints.close()
    chex.assert_trees_all_close(host(reference.state), host(carry.state), atol=1e-5)


def test_continuation_on_another_device_count_is_bit_equal_under_the_ordered_reduction(tmp_path):
    task = conv_task(optax.adam(1e-3))
    reference = loop.fit(task, source(), steps=10, key=KEY, strategy=strategies.jit(micro=8)).carry
    for steps, n in ((2, 1), (4, 2), (6, 4), (8, 8), (10, 1)):
        checkpoints = Checkpoints(tmp_path)
        carry = loop.fit(task, source(), steps=steps, key=KEY, strategy=strategies.mesh({'data': n}, micro=8),
                         checkpoints=checkpoints).carry
        checkpoints.close()
    assert bits(reference) == bits(carry)


@pytest.mark.parametrize('steps_per_call', [1, 3])
def test_resident_and_streamed_data_give_the_same_bits(steps_per_call):
    order = data.Order(len(DIGITS['label']), 32, seed=1)
    streamed = data.stream(records.from_arrays(DIGITS), order)
    for step in (0, 7, order.steps_per_epoch + 3):
        chex.assert_trees_all_equal(source()(step), streamed(step))
    a, b = (loop.fit(conv_task(optax.adam(1e-3)), s, steps=6, key=KEY, steps_per_call=steps_per_call).carry
            for s in (source(), streamed))
    assert bits(a) == bits(b)


def test_an_error_of_a_batch_comes_at_its_place():
    def rows(step, which):
        if step == 5:
            raise OSError('bad sector')
        return np.full((2, 3), step, np.float32)[which]

    def loss_fn(params, extra, batch, key, train):
        return metrics.mean((batch - params['w'][None])**2), (extra, {})

    task = optim.gradient_task(lambda key, batch: ({'w': jnp.zeros(3)}, {}), loss_fn, optax.sgd(0.1))
    logged = []
    with pytest.raises(OSError, match='bad sector'):
        loop.fit(task, data.Source(rows, lambda _, x: x, rows=2), steps=8, key=KEY, log_every=1,
                 log=lambda step, values, _: logged.append(step))
    assert logged == [1, 2, 3, 4, 5]        # the batch of index 5 is that of step 6, asked for while step 4 ran


def test_prefetch_works_ahead_on_a_thread_when_told():
    begun, free = queue.Queue(), threading.Event()

    def load(i):
        begun.put((i, threading.current_thread() is threading.main_thread()))
        assert free.wait(10)
        return i * i

    feed = data.Prefetch(load, range(2, 6), depth=2)
    assert begun.get(timeout=10) == (2, False)
    free.set()
    each = iter(feed)
    assert next(each) == 4 and begun.get(timeout=10) == (3, False)
    assert next(each) == 9 and begun.empty()            # two ahead, and no more until `more`
    for _ in range(3):
        feed.more()                                     # 4, 5 and no third
    assert list(each) == [16, 25] and [begun.get()[0], begun.get()[0]] == [4, 5] and begun.empty()


def test_whole_run_in_one_program_equals_the_host_loop():
    task = tasks.classifier(ConvNet(), optax.sgd(0.1))
    arrays, batch_fn = data.whole(source(), 6)
    carry, m = jax.jit(train_fn(task, 6, batch_fn))(KEY, arrays)
    chex.assert_trees_all_close(
        host(loop.fit(task, source(), steps=6, key=KEY).carry.state), host(carry.state), atol=1e-5
    )
    assert m['loss'].total.shape == (6,)


@pytest.mark.parametrize('strategy', MAKE)
def test_vmapped_seeds_equal_runs_in_turn(strategy):
    """Tolerance 1e-5 of each leaf's scale after 5 Adam steps."""
    task, seeds = conv_task(optax.adam(1e-3)), [3, 4, 5]
    keys = jnp.stack([jax.random.key(s) for s in seeds])
    sources = [data.resident(DIGITS, data.Order(len(DIGITS['label']), 32, seed=s)) for s in seeds]
    rows = []
    many = loop.fit(task, data.for_seeds(sources), steps=5, key=keys, strategy=MAKE[strategy](), log_every=5,
                    log=lambda step, values, _: rows.append(values)).carry
    assert rows[0]['loss'].shape == (3,)
    scores = evaluate.evaluator(task, DIGITS, batch_size=512)(many)['accuracy']
    for i, seed in enumerate(seeds):
        one = loop.fit(task, sources[i], steps=5, key=jax.random.key(seed)).carry
        chex.assert_trees_all_close(host(one.state), jax.tree.map(lambda x, i=i: x[i], host(many.state)), atol=1e-5)
        assert abs(evaluate.evaluator(task, DIGITS, batch_size=512)(one)['accuracy'] - scores[i]) < 2e-3


def test_accumulation_and_masks_equal_the_whole_batch():
    """Unequal weights over micro-batches and replicas: rows that are masked out count nowhere."""
    arrays = {**DIGITS, 'mask': (np.arange(len(DIGITS['label'])) % 7 < 3).astype(np.float32)}
    def run(strategy=None, accum=1):
        task = tasks.classifier(Linear(), optax.sgd(0.5), accum=accum)
        return host(loop.fit(task, source(arrays=arrays), steps=3, key=KEY, strategy=strategy).carry.state)
    one = run()
    for strategy, accum in ((strategies.jit(), 4), (strategies.pmap(), 1), (strategies.mesh(), 4),
                            (strategies.jit(micro=8), 1)):
        chex.assert_trees_all_close(one, run(strategy, accum), atol=1e-6)
    # By hand: the same step on the kept rows alone.
    task, batch = tasks.classifier(Linear(), optax.sgd(0.5)), source(arrays=arrays)(0)
    kept = {k: v[batch['mask'] > 0] for k, v in batch.items() if k != 'mask'}
    first = loop.fit(task, source(arrays=arrays), steps=1, key=KEY).carry
    by_hand = loop.fit(task, data.constant(kept), steps=1, key=KEY).carry
    chex.assert_trees_all_close(host(first.state), host(by_hand.state), atol=1e-6)


def test_bf16_computes_in_bf16_and_keeps_float32_parameters():
    task = tasks.classifier(ConvNet(drop=0.0), optax.adam(1e-2), policy=optim.Policy(jnp.bfloat16))
    carry = loop.fit(task, source(64), steps=60, key=KEY, steps_per_call=20).carry
    assert {str(x.dtype) for x in jax.tree.leaves(carry.state.params)} == {'float32'}
    plain = loop.fit(
        tasks.classifier(ConvNet(drop=0.0), optax.adam(1e-2)), source(64), steps=60, key=KEY, steps_per_call=20
    )
    a, b = (evaluate.evaluator(task, DIGITS, batch_size=512)(c)['accuracy'] for c in (carry, plain.carry))
    assert a > 0.9 and b > 0.9 and bits(carry.state.params) != bits(plain.carry.state.params)


def test_ema_is_the_average_by_hand_and_is_what_evaluation_sees():
    seen = []
    task = wrappers.with_ema(tasks.classifier(Linear(), optax.sgd(0.5)), 0.8)
    keep = loop.Hook(1, lambda step, carry: seen.append(host(carry.state.inner.params)))
    carry = loop.fit(task, source(), steps=4, key=KEY, hooks=[keep]).carry
    plain = tasks.classifier(Linear(), optax.sgd(0.5))
    first = plain.init(jax.random.split(KEY)[0], source()(0)).params
    ema = host(first)
    for params in seen:
        ema = jax.tree.map(lambda e, p: 0.8 * e + 0.2 * p, ema, params)
    chex.assert_trees_all_close(ema, host(carry.state.ema), atol=1e-6)
    on_ema = evaluate.evaluator(plain, DIGITS, batch_size=512)(carry._replace(
        state=carry.state.inner._replace(params=carry.state.ema)))
    assert evaluate.evaluator(task, DIGITS, batch_size=512)(carry) == on_ema


@pytest.mark.parametrize('strategy', MAKE)
def test_mixup_is_the_same_under_every_strategy_and_mixes_labels_to_one(strategy):
    seen = {}
    inner = tasks.classifier(Linear(), optax.sgd(0.5))
    def look(key, state, batch):
        sums = metrics.mean(batch['label'].sum(-1))
        return inner.step(key, state, batch)[0], {'sum': sums, 'top': metrics.mean(batch['label'].max(-1))}
    task = wrappers.with_mixup(inner._replace(step=look), 0.4, 10)
    carry = loop.fit(task, source(), steps=2, key=KEY, strategy=MAKE[strategy](), log_every=2,
                     log=lambda step, values, _: seen.update(values)).carry
    assert abs(seen['sum'] - 1) < 1e-6 and 0.5 < seen['top'] < 0.999
    reference = loop.fit(task, source(), steps=2, key=KEY).carry
    chex.assert_trees_all_close(host(reference.state), host(carry.state), atol=1e-6)


def test_frozen_parameters_keep_their_bits_and_have_no_optimizer_state():
    task = tasks.classifier(ConvNet(), optim.freeze(optax.adam(1e-2), '^Conv'))
    before = task.init(jax.random.split(KEY)[0], source()(0))
    after = loop.fit(task, source(), steps=3, key=KEY).carry.state
    assert bits(before.params['Conv_0']) == bits(after.params['Conv_0'])
    assert bits(before.params['Dense_0']) != bits(after.params['Dense_0'])
    paths = trees.named_leaves(after.opt)
    assert not [p for p in paths if 'Conv_0' in p] and [p for p in paths if 'Dense_0' in p]
    with pytest.raises(ValueError, match='pattern: expected .* to match some'):
        tasks.classifier(ConvNet(), optim.freeze(optax.adam(1e-2), 'nothing')).init(KEY, source()(0))


NUMBERED = source(arrays={**DIGITS, 'id': np.arange(len(DIGITS['label']))})     # one epoch: an id is in one batch


def poisoned(at, value=np.nan):
    """A task whose images are multiplied by `value` in the batch of step `at` alone."""
    inner, bad = tasks.classifier(Linear(), optax.sgd(0.5)), int(NUMBERED(at)['id'][0])
    def step(key, state, batch):
        hit = parallel.psum(jnp.sum(batch['id'] == bad)) > 0
        return inner.step(key, state, {**batch, 'image': batch['image'] * jnp.where(hit, value, 1.0)})
    return inner._replace(step=step)


@pytest.mark.parametrize('strategy', MAKE)
def test_guard_stops_at_the_step_and_names_the_tensor(tmp_path, strategy):
    task, checkpoints = wrappers.with_guard(poisoned(5)), Checkpoints(tmp_path)
    with pytest.raises(NonFinite, match=r'step 5: metrics/loss/total is not finite'):
        loop.fit(
            task,
            NUMBERED,
            steps=12,
            key=KEY,
            strategy=MAKE[strategy](),
            steps_per_call=2,
            checkpoints=checkpoints,
            checkpoint_every=2,
        )
    checkpoints.close()
    assert checkpoints.steps()[-1] == 4
    state = checkpoints.restore(State(*_shape_of(task)))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(host(state)))


def _shape_of(task):
    carry, batch = start(task, KEY, NUMBERED(0)), NUMBERED(0)
    shapes = jax.eval_shape(lambda batch: task.step(KEY, carry.state, batch)[1], batch)
    return carry, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def test_guard_skips_the_step_and_nothing_else():
    task = wrappers.with_guard(poisoned(2, np.inf), 'skip')
    carry = loop.fit(task, NUMBERED, steps=4, key=KEY).carry
    assert int(carry.state.skipped) == 1 and int(carry.state.bad_step) == 2
    plain, fit = tasks.classifier(Linear(), optax.sgd(0.5)), carry.state.inner
    state = plain.init(jax.random.split(KEY)[0], NUMBERED(0))
    for step in (0, 1, 3):
        key = jax.random.fold_in(jax.random.split(KEY)[1], step)
        state, _ = plain.step(key, state, NUMBERED(step))
    chex.assert_trees_all_close(host(state), host(fit), atol=1e-6)


def test_guard_rolls_back_and_leaves_the_batches_out(tmp_path, caplog):
    """Poison in the data, not in the state: batch 5 is bad, so steps 4 and 5 are left out."""
    inner, task = tasks.classifier(Linear(), optax.sgd(0.5)), wrappers.with_guard(poisoned(5), 'rollback')
    back = []
    def run(folder, steps):
        checkpoints = Checkpoints(folder)
        out = loop.fit(
            task,
            NUMBERED,
            steps=steps,
            key=KEY,
            steps_per_call=2,
            checkpoints=checkpoints,
            checkpoint_every=4,
            resumed=back.append,
        ).carry
        checkpoints.close()
        return out
    with caplog.at_level(logging.WARNING):
        whole = run(tmp_path / 'a', 10)
    assert 'step 5: metrics/loss/total is not finite; back to step 4, on from step 6' in caplog.text
    state = inner.init(jax.random.split(KEY)[0], NUMBERED(0))
    for i in (0, 1, 2, 3, 6, 7, 8, 9):
        state, _ = inner.step(jax.random.fold_in(jax.random.split(KEY)[1], i), state, NUMBERED(i))
    chex.assert_trees_all_close(host(state), host(whole.state.inner), atol=1e-5)
    assert back == [0, 4]      # rows after step 4 can be dropped
    run(tmp_path / 'b', 8)
    assert bits(run(tmp_path / 'b', 10)) == bits(whole)


def test_guard_must_be_the_outermost_wrapper():
    with pytest.raises(UsageError, match='with_guard as its outermost wrapper'):
        task = wrappers.with_ema(wrappers.with_guard(poisoned(1)), 0.9, get=lambda s: s.inner.params)
        loop.fit(task, NUMBERED, steps=2, key=KEY)


def test_transform_is_seen_by_training_and_evaluation_alike():
    scale = lambda batch: {**batch, 'image': batch['image'] * 2}
    doubled = {**DIGITS, 'image': DIGITS['image'] * 2}
    plain, task = tasks.classifier(Linear(), optax.sgd(0.1)), wrappers.with_transform(
        tasks.classifier(Linear(), optax.sgd(0.1)), scale)
    a = loop.fit(task, source(), steps=3, key=KEY).carry
    b = loop.fit(plain, source(arrays=doubled), steps=3, key=KEY).carry
    chex.assert_trees_all_close(host(a.state), host(b.state), atol=1e-6)
    x, y = (evaluate.evaluator(t, d, batch_size=512)(a) for t, d in ((task, DIGITS), (plain, doubled)))
    assert abs(x['loss'] - y['loss']) < 1e-5


def test_guard_rolls_back_from_the_last_step_and_still_ends(tmp_path):
    checkpoints, rows = Checkpoints(tmp_path), []
    loop.fit(wrappers.with_guard(poisoned(5), 'rollback'), NUMBERED, steps=6, key=KEY, steps_per_call=2, log_every=2,
             checkpoints=checkpoints, checkpoint_every=2, log=lambda step, *_: rows.append(step))
    checkpoints.close()
    assert rows == [2, 4, 6] and checkpoints.steps()[-1] == 6


def test_guard_refuses_a_loss_spike():
    task = wrappers.with_guard(poisoned(30, 1000.0), 'skip', spike=5.0)
    carry = loop.fit(task, NUMBERED, steps=40, key=KEY, steps_per_call=10).carry
    assert int(carry.state.skipped) == 1 and int(carry.state.bad_step) == 30 and int(carry.state.bad_leaf) == -1


def test_one_compilation_of_the_step_and_no_implicit_transfer():
    """F33 and F34: whatever the length of the run, the step is compiled once; NumPy must not slip into it."""
    names = []
    def listen(event, _duration, **kwargs):
        if event == '/jax/core/compile/backend_compile_duration':
            names.append(event)
    jax.monitoring.register_event_duration_secs_listener(listen)
    def compilations(steps):
        names.clear()
        loop.fit(conv_task(), source(), steps=steps, key=KEY, log_every=10)
        return len(names)
    compilations(10)
    assert compilations(20) == compilations(60)
    sneaky = tasks.classifier(Linear(), optax.sgd(0.1))
    place = strategies.jit()
    broken = place._replace(batch=lambda b, axis: b)     # hands host arrays to the step
    with pytest.raises(Exception, match='[Dd]isallowed host-to-device'):
        loop.fit(sneaky, source(), steps=2, key=KEY, strategy=broken)


def test_wrong_use_says_so():
    with pytest.raises(UsageError, match='log_every: expected a multiple of steps_per_call=2, found 3'):
        loop.fit(conv_task(), source(), steps=4, key=KEY, steps_per_call=2, log_every=3)
    with pytest.raises(UsageError, match='key: expected keys'):
        loop.fit(conv_task(), source(), steps=4, key=jax.random.split(KEY, 2))
