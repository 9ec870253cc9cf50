"""What makes a folder safe to write a run into: a usable path, one writer, files that appear whole or not at all."""
import contextlib
import datetime
import fcntl
import json
import math
import os
import re
import shlex
import socket
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from common.errors import RunError, RunLocked, StorageError, one_line

ROOM = 300      # bytes of path that checkpoints need below the folder
_held: weakref.WeakSet = weakref.WeakSet()


def usable(path: str | os.PathLike) -> Path:
    """`path` as an absolute local folder that exists and can be written; parents are made. Else RunError, one line."""
    text = os.fspath(path)
    shown = one_line(ascii(text) if not text.isprintable() else text, 120)
    if re.match(r'\w+://', text):
        raise RunError(f'--workdir={shown}: only local folders can hold a run')
    try:
        text.encode()
        folder = Path(os.path.abspath(text))
        if len(os.fsencode(folder)) + ROOM > os.pathconf('/', 'PC_PATH_MAX'):
            raise RunError(f'--workdir={shown}: the path is too long')
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f'.probe-{os.getpid()}'
        probe.write_bytes(b'x')
        probe.unlink()
    except UnicodeEncodeError:
        raise RunError(f'--workdir={shown}: the path is not valid UTF-8') from None
    except FileExistsError as e:
        raise RunError(f'--workdir={shown}: {one_line(e.filename, 120)} is in the way and is not a folder') from None
    except OSError as e:
        raise RunError(f'--workdir={shown}: cannot write there: {e.strerror}') from None
    except ValueError as e:
        raise RunError(f'--workdir={shown}: {one_line(e)}') from None
    return folder


def plain(value: Any) -> Any:
    """`value` as strict JSON: arrays become lists, NaN and infinities the strings 'NaN', 'Infinity', '-Infinity'."""
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return 'NaN' if math.isnan(value) else 'Infinity' if value > 0 else '-Infinity'
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f'{type(value).__name__} cannot be written as JSON')


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the file in one step: after a crash it holds the old bytes or the new. StorageError if that fails."""
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        with temporary.open('wb') as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f'cannot write {path}: {e.strerror}') from e


def write_json(path: Path, value: Any) -> None:
    """Writes `plain(value)` with sorted keys, in one step."""
    write_bytes(path, (json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False) + '\n').encode())


def read_json(path: Path) -> dict | None:
    """The object in the file, or None if there is no file. RunError if it is damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as e:
        raise RunError(f'{path} is damaged or cannot be read: {one_line(e, 200)}') from e
    if not isinstance(value, dict):
        raise RunError(f'{path} is damaged: it holds no JSON object')
    return value


class Lock:
    """One writer per folder: a kernel lock on `run.lock`, which also says who has it. The file is never deleted.

    The kernel frees the lock however its owner dies; text left in the file then tells who was killed.
    """

    def __init__(self, path: Path):
        self.path, self._fd, self.killed = path, None, None      # killed: what the last owner wrote, if it never let go

    def acquire(self) -> None:
        """RunLocked (at once, naming pid, host and start) while another live process has the folder."""
        try:
            while True:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.path.samestat(os.fstat(fd), os.stat(self.path)):
                        break
                except BlockingIOError:
                    who = _owner(fd)
                    os.close(fd)
                    raise RunLocked(f'{self.path.parent} is in use by {who}') from None
                except FileNotFoundError:       # someone deleted the file between open and lock: try again
                    pass
                except OSError:
                    os.close(fd)
                    raise
                os.close(fd)
        except OSError as e:
            raise RunError(f'cannot lock {self.path}: {e.strerror} (its file system must have file locks)') from None
        self._fd = fd
        self.killed = _read(fd)
        started = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
        self._write({'pid': os.getpid(), 'host': socket.gethostname(), 'started': started,
                     'command': shlex.join(sys.argv)})
        _held.add(self)

    def release(self) -> None:
        """Empties the file and lets go."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._forget()

    def _forget(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _write(self, owner: dict) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, (json.dumps(owner) + '\n').encode(), 0)
        except OSError as e:
            self._forget()
            raise RunError(f'cannot write {self.path}: {e.strerror}') from None


def describe(owner: dict | None) -> str:
    """Who an owner is, in words."""
    if not owner:
        return 'another process (it has not said which)'
    pid, host, started, command = (owner.get(k) for k in ('pid', 'host', 'started', 'command'))
    return one_line(f'pid {pid} on {host} since {started}: {command}', 400)


def _read(fd: int) -> dict | None:
    try:
        value = json.loads(os.pread(fd, 65536, 0))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _owner(fd: int) -> str:
    for _ in range(20):         # the owner writes its name just after it locks
        if owner := _read(fd):
            return describe(owner)
        time.sleep(0.01)
    return describe(None)


def _in_forked_child() -> None:     # a worker must not keep the lock alive when its parent is killed
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_in_forked_child)
