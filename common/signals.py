"""SIGTERM and SIGINT: the first asks the loop to save and stop, the second ends the process at once.

The loop polls `received()` after each device call. Python runs its handlers only between byte codes of the main thread,
which may sit in a long device call; so a small thread reads the signal numbers that the interpreter writes to a pipe
at once (`signal.set_wakeup_fd`), and a second signal ends the process even then.
"""
import contextlib
import os
import signal
import threading
from collections.abc import Iterator

CAUGHT = (signal.SIGTERM, signal.SIGINT)
_state: dict = {'received': None, 'on': False}


def received() -> int | None:
    """The number of the first signal since `catch` began, or None."""
    return _state['received']


@contextlib.contextmanager
def catch() -> Iterator[None]:
    """Handles SIGTERM and SIGINT inside the block and restores what was there. Does nothing off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    _state.update(received=None, on=True)
    before = {n: signal.signal(n, _note) for n in CAUGHT}
    fd_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    reader = threading.Thread(target=_watch, args=(read,), name='signals', daemon=True)
    reader.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd_before)
        for n, handler in before.items():
            signal.signal(n, handler)
        os.close(write)          # ends the reader
        reader.join(timeout=1)
        _state['on'] = False


def _note(signum: int, frame) -> None:
    if _state['received'] is None:
        _state['received'] = int(signum)


def _watch(read: int) -> None:
    seen = 0
    while data := os.read(read, 1):
        signum = data[0]
        if signum not in CAUGHT:
            continue
        seen += 1
        _note(signum, None)
        text = b'saving, then stopping (the same signal again stops at once)' if seen == 1 else b'stopped at once'
        with contextlib.suppress(OSError):
            os.write(2, b'\nsignal received: ' + text + b'\n')
        if seen > 1:
            os._exit(128 + signum)
    os.close(read)


def _before_fork() -> None:
    if _state['on']:
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)


def _in_parent() -> None:
    if _state['on']:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)


def _in_forked_child() -> None:
    """A forked worker must neither write into its parent's pipe nor outlive a `terminate()`."""
    if _state['on']:
        _state['on'] = False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)     # Ctrl-C reaches the whole group; the parent saves and ends us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_forked_child)
