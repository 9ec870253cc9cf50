"""Progress: a bar on a terminal, plain lines elsewhere, never an encoding error."""
import contextlib
import io
import os
import pty
import re

import pytest

from common.progress import Progress, clock, number


def read_all(terminal: int) -> str:
    data = b''
    with contextlib.suppress(OSError):              # the other end is closed
        while more := os.read(terminal, 4096):
            data += more
    os.close(terminal)
    return data.decode()


def lines(text: io.StringIO) -> list[str]:
    return text.getvalue().splitlines()


def test_a_log_gets_plain_lines():
    out = io.StringIO()
    with Progress(2000, stream=out, quiet_s=0) as p:
        p.update(400, {'loss': 0.12341, 'accuracy': 0.971}, rows_per_s=12345.4)
        p.say('saved [b]x')
        p.update(2000, {'loss': float('nan')})
    first, said, last = lines(out)
    assert re.fullmatch(r'step 400/2000  loss 0\.1234  accuracy 0\.971  12,345 rows/s  eta \d+:\d\d', first)
    assert said == 'saved [b]x' and re.fullmatch(r'step 2000/2000  loss nan  took \d+:\d\d', last)


def test_lines_come_seldom_but_the_first_and_the_last_always():
    out = io.StringIO()
    with Progress(100, 'seed3', stream=out, quiet_s=60) as p:
        for step in range(1, 101):
            p.update(step, {})
    assert [line.split()[:3] for line in lines(out)] == [['seed3', 'step', '1/100'], ['seed3', 'step', '100/100']]


def test_the_rest_is_estimated_from_this_start_and_not_from_wall_clock(monkeypatch):
    now, out = [0.0], io.StringIO()
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    monkeypatch.setattr('time.time', lambda: pytest.fail('the wall clock jumps'))
    with Progress(1000, start=900, stream=out, quiet_s=0) as p:
        p.update(900, {})
        now[0] = 20.0
        p.update(920, {})
    assert lines(out)[0].endswith('eta ?') and lines(out)[1].endswith('eta 1:20')


def test_text_that_the_stream_cannot_encode_is_escaped():
    raw = io.BytesIO()
    with Progress(2, stream=io.TextIOWrapper(raw, encoding='ascii'), quiet_s=0) as p:
        p.say('läuft ☃')
        p.update(1, {'größe': 1})
    assert raw.getvalue().startswith(b'l\\xe4uft \\u2603\n') and raw.getvalue().isascii()


def test_silent_when_not_enabled():
    out = io.StringIO()
    with Progress(2, stream=out, enabled=False) as p:
        p.update(1, {})
        p.say('x')
    assert out.getvalue() == ''


@pytest.mark.parametrize('encoding', ['utf-8', 'ascii'])
def test_a_terminal_gets_a_bar(encoding, monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '120')
    master, slave = pty.openpty()
    with open(slave, 'w', encoding=encoding) as out, Progress(200, 'digits', stream=out) as p:
        assert p.live
        p.update(100, {'loss': 0.5}, rows_per_s=1000)
        p.say('gespeichert ☃')
    shown = read_all(master)
    assert '\x1b[' in shown and 'digits' in shown and 'step 100/200  loss 0.5  1,000 rows/s' in shown
    assert ('☃' if encoding == 'utf-8' else '\\u2603') in shown and shown.isascii() == (encoding == 'ascii')


def test_words():
    assert [clock(0), clock(12.4), clock(3723)] == ['0:00', '0:12', '1:02:03']
    assert [number(3), number(0.123456), number([1.0, 2.0]), number('x')] == ['3', '0.1235', '1.5', 'x']
