"""Many processes in one run, on JAX's own runtime: start, agree to stop, and end with a clear line when one dies.

    python -m projects.x.main --strategy=mesh --distributed=HOST:PORT --num_processes=2 --process_id=0 ...   (and 1)

On a cluster that JAX knows (TPU pods, SLURM, Kubernetes) `--distributed=auto` finds the rest by itself.
"""
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from common import signals
from common.errors import Interrupted, UsageError, UserError, one_line

LOST = 7                    # exit code: another process is gone
HANG_SECONDS = 600.0        # a device call that takes longer than this has lost its peer
LAST_SECONDS = 2.0          # how long process 0 lets the others disconnect
_SIGNS = ('gloo', 'nccl', 'coordination', 'unavailable', 'deadline_exceeded', 'heartbeat', 'barrier')
_state: dict = {'beat': None, 'forwarded': False}


def start(args) -> None:
    """Joins the run's processes.  Raises UsageError when they cannot be reached."""
    # A dead peer then shows as an error in the next collective, which can be reported, and not as an abort.
    jax.config.update('jax_enable_recoverability', True)
    where = {} if args.distributed == 'auto' else {
        'coordinator_address': args.distributed, 'num_processes': args.num_processes, 'process_id': args.process_id}
    try:
        jax.distributed.initialize(**where, initialization_timeout=120, heartbeat_timeout_seconds=30)
    except Exception as e:
        raise UsageError(f'--distributed={args.distributed}: cannot join the run: {one_line(e, 300)}') from None


def beat() -> None:
    """Called by the loop after each device call: this process is alive and has heard from the others."""
    _state['beat'] = time.monotonic()


def pause() -> None:
    """Called before hooks and saves, which may take their time."""
    _state['beat'] = None


def stop_signal(call: int) -> int | None:
    """The signal that asks the run to stop.  Several processes agree on the call through JAX's preemption service,
    which names one number and waits for exactly that one: calls are counted one by one, as steps may not be."""
    if jax.process_count() == 1:
        return signals.received()
    if signals.received() == signal.SIGINT and not _state['forwarded']:
        _state['forwarded'] = True
        os.kill(os.getpid(), signal.SIGTERM)        # the service listens to SIGTERM alone
    return int(signal.SIGTERM) if multihost_utils.reached_preemption_sync_point(call) else None


def _lost(why: str) -> None:
    print(f'error: process {jax.process_index()} of {jax.process_count()} lost another one ({why}); start all of them '
          'again with the same commands: they resume from the last checkpoint', file=sys.stderr, flush=True)
    os._exit(LOST)          # an orderly exit would wait for the dead


def _watch(stop: threading.Event) -> None:
    while not stop.wait(5):
        if _state['beat'] is not None and time.monotonic() - _state['beat'] > HANG_SECONDS:
            _lost(f'no answer for {HANG_SECONDS:.0f} s')


@contextlib.contextmanager
def together(args) -> Iterator[None]:
    """Runs the block as one of several processes; a peer that dies ends this process with code 7 and a clear line."""
    if args.distributed == 'off':
        yield
        return
    start(args)
    over = threading.Event()
    threading.Thread(target=_watch, args=(over,), name='peers', daemon=True).start()
    try:
        yield
    except Interrupted:
        _leave(over)            # all of them agreed to stop
        raise
    except Exception as e:
        if not isinstance(e, UserError) and any(sign in str(e).lower() for sign in _SIGNS):
            _lost(one_line(e, 160))
        print(f'error: {e}' if isinstance(e, UserError) else traceback.format_exc(), file=sys.stderr, flush=True)
        os._exit(getattr(e, 'exit_code', 1))    # the others notice, and say so
    _leave(over)


def _leave(over: threading.Event) -> None:
    """Everyone arrives, then disconnects; process 0, which the others are connected to, comes last."""
    over.set()
    multihost_utils.sync_global_devices('end')
    if jax.process_index() == 0:
        time.sleep(LAST_SECONDS)
    jax.distributed.shutdown()
