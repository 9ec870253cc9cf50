"""The host loop: the one place in the repository that counts steps on the host.

    source --batch--> [ step, step, ... one device call ] --> state' --+--> log --> hooks --> checkpoint
                               ^                                       |
                               +---------------------------------------+

Everything that differs between projects is an argument: the task, the source of batches, the strategy, and what is
done at events.  Never fork this loop; wrap a task (wrappers.py).
"""
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from common import data as data_lib
from common import metrics as metrics_lib
from common import processes, strategies
from common.checkpoint import Checkpoints
from common.errors import Interrupted, NonFinite, UsageError
from common.program import make_call, make_start
from common.task import Carry, Task
from common.wrappers import Guard, blame


class Hook(NamedTuple):
    """fn(step, carry) every so many steps and at the end, before the checkpoint of that step."""
    every: int
    fn: Callable[[int, Carry], None]


class Seconds(NamedTuple):
    """Wall time of this process: in compilation, and in training proper (hooks, logs and saves left out)."""
    compile: float
    train: float


class Fitted(NamedTuple):
    carry: Carry
    seconds: Seconds


class _Clock:
    """Adds up seconds, with pauses."""
    def __init__(self):
        self.total, self.since = 0.0, None

    def go(self):
        self.since = time.perf_counter()

    def halt(self):
        if self.since is not None:
            self.total, self.since = self.total + time.perf_counter() - self.since, None


def fit(task: Task, source: data_lib.Source, *, steps: int, key: jax.Array,
        strategy: strategies.Strategy | None = None, steps_per_call: int = 1,
        log_every: int = 0, log: Callable[[int, dict, float], None] | None = None, hooks: Sequence[Hook] = (),
        checkpoints: Checkpoints | None = None, checkpoint_every: int = 0, restore: dict | None = None,
        resumed: Callable[[int], None] | None = None) -> Fitted:
    """Runs `task` up to `steps`, from the newest checkpoint if there is one.

    key: the root key, or keys [N] for N seeds in one program (then `source` comes from `data.for_seeds`)
    steps_per_call: steps in one device call (a scan); steps and all `every` are multiples of it
    log(step, values, seconds of training since the last line): every `log_every` steps, means over that window
    restore: keywords of `Checkpoints.restore`
    resumed(step): called before the first step, and after a rollback with the step of the checkpoint
    Hooks get a carry that the next step may donate: copy what you keep.
    Raises UsageError (arguments), NonFinite (a guarded task that stopped), Interrupted (SIGTERM or SIGINT, after
    a checkpoint), CheckpointError and StorageError.
    """
    every = {'steps': steps, 'log_every': log_every, 'checkpoint_every': checkpoint_every,
             **{f'hooks[{i}].every': h.every for i, h in enumerate(hooks)}}
    for name, n in every.items():
        if n % steps_per_call or n < 0:
            raise UsageError(f'{name}: expected a multiple of steps_per_call={steps_per_call}, found {n}')
    if source.seeds != (key.shape[0] if key.ndim else 0):
        raise UsageError(f'key: expected keys for the {source.seeds or "one"} seed(s) of the source, found {key.shape}')
    strategy = strategy or strategies.jit()
    rows, row_axis = strategy.rows(source.rows), 2 if source.seeds else 1
    load, call = data_lib.calls(source, steps_per_call, rows), make_call(task, source, steps_per_call)
    placed = lambda i: strategy.batch(load(i), row_axis)
    compiling, training = _Clock(), _Clock()

    compiling.go()
    resident = strategy.resident(source.resident)
    state = strategy.init(make_start(task, source), key, source.resident, source.host(0, slice(None)))
    guards = sum(isinstance(x, Guard) for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, Guard)))
    if guards != bool(task.guard) or isinstance(state.carry.state, Guard) != bool(guards):
        raise UsageError('task: expected with_guard as its outermost wrapper or not at all, found it inside another')
    found = checkpoints and checkpoints.restore(strategy.gather(state), **(restore or {}))
    state = strategy.place(found) if found else state
    step = int(strategy.gather(state).carry.step)
    if step > steps:
        raise UsageError(f'steps: expected at least the {step} that the checkpoint has behind it, found {steps}')
    reset = jax.jit(lambda w: jax.tree.map(jax.numpy.zeros_like, w),
                    out_shardings=jax.tree.map(lambda x: x.sharding, state.window))
    if step < steps:
        run = strategy.compile(call, state, resident, placed(step // steps_per_call), row_axis)
    jax.block_until_ready(state)
    compiling.halt()
    if resumed:
        resumed(step)
    logged = 0.0

    def due(n: int) -> bool:
        return step == steps or (n > 0 and step % n == 0)

    def refused() -> str | None:
        """Why the guard refused a step and every one after it, if it did."""
        logical = strategy.gather(state)
        return blame(logical.carry.state, logical.window) if task.guard in ('stop', 'rollback') else None

    def event() -> None:
        """Log line, hooks and checkpoint that are due at this step."""
        nonlocal state, logged
        if due(log_every):
            if log:
                log(step, metrics_lib.compute(state.window), training.total - logged)
            logged = training.total
            state = state._replace(window=reset(state.window))
        logical = strategy.gather(state)
        for hook in hooks:
            if due(hook.every):
                hook.fn(step, logical.carry)
        if checkpoints and due(checkpoint_every):
            checkpoints.save(step, logical)

    def back(why: str) -> None:
        """Rollback: the last checkpoint's state, at the first call after the one that holds the bad step."""
        nonlocal state, step
        at = int(jax.device_get(strategy.gather(state).carry.state.bad_step).max())
        step = steps_per_call * (at // steps_per_call + 1)
        good = checkpoints and checkpoints.restore(strategy.gather(state), **(restore or {}))
        if not good:
            raise NonFinite(f'{why}; there is no checkpoint to roll back to')
        guard = good.carry.state
        number = lambda x: jax.numpy.full_like(x, step)
        carry = good.carry._replace(step=number(good.carry.step), state=guard._replace(count=number(guard.count)))
        logging.getLogger(__name__).warning('%s; back to step %d, on from step %d', why, good.carry.step, step)
        state = strategy.place(good._replace(carry=carry))
        if resumed:
            resumed(int(good.carry.step))

    finished = step >= steps
    while not finished:
        training.go()
        feed = data_lib.Prefetch(placed, range(step // steps_per_call, steps // steps_per_call))
        for batch in feed:
            with jax.transfer_guard('disallow'):
                state = run(state, resident, batch)
            feed.more()
            step += steps_per_call
            processes.beat()
            signum = processes.stop_signal(step // steps_per_call)
            if any(due(n) for n in (log_every, checkpoint_every, *(h.every for h in hooks))) or signum:
                jax.block_until_ready(state)
                training.halt()
                processes.pause()
                if why := refused():
                    if task.guard == 'stop':
                        raise NonFinite(why)
                    back(why)
                    if step >= steps:
                        event()
                    break
                event()
                if signum and step < steps:
                    if checkpoints:
                        checkpoints.save(step, strategy.gather(state))
                        checkpoints.close()
                    raise Interrupted(signum, f'stopped by signal {signum} at step {step}, saved; '
                                              'the same command resumes')
                training.go()
            if checkpoints:
                checkpoints.poll()
        finished = step >= steps
    training.halt()
    if checkpoints:
        checkpoints.wait()
    return Fitted(strategy.gather(state).carry, Seconds(compiling.total, training.total))
