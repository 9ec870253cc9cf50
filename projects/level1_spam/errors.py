"""Where the models fail: by kind of message, and the messages that they were most sure of and wrong about."""
import numpy as np
from jaxtyping import Bool, Float

from projects.level1_spam.models import CURRENCY, LINK

LENGTHS = (('under 50 characters', 0, 50), ('50 to 99', 50, 100), ('100 to 149', 100, 150),
           ('150 and over', 150, 10**6))
DIGITS = (('no digit', 0, 1), ('1 to 4 digits', 1, 5), ('5 to 14', 5, 15), ('15 and over', 15, 10**6))


def groups(texts: np.ndarray) -> dict[tuple[str, str], Bool[np.ndarray, ' texts']]:
    """(property, value) -> which messages."""
    texts = [str(t) for t in texts]
    length, digits = (np.array(v) for v in zip(*((len(t), sum(ch.isdigit() for ch in t)) for t in texts)))
    link, currency = (np.array([bool(rule.search(t)) for t in texts]) for rule in (LINK, CURRENCY))
    found = {('length', name): (length >= low) & (length < high) for name, low, high in LENGTHS}
    found |= {('digits', name): (digits >= low) & (digits < high) for name, low, high in DIGITS}
    found |= {('link', 'a link'): link, ('link', 'no link'): ~link}
    return found | {('currency', 'a currency sign'): currency, ('currency', 'no currency sign'): ~currency}


def slices(name: str, train: dict, decision: Float[np.ndarray, ' texts']) -> list[dict]:
    """Of each kind of message: how many, how many of them spam, what share of that was found, what share of the ham
    was called spam.  A share of nothing is None."""
    rows, spam, called = [], train['spam'] == 1, decision > 0
    share = lambda part, whole: float((part & whole).sum() / whole.sum()) if whole.any() else None
    for (column, value), mask in groups(train['text']).items():
        rows.append({'model': name, 'column': column, 'slice': value, 'count': int(mask.sum()),
                     'spam': int((mask & spam).sum()), 'recall': share(called, mask & spam),
                     'false_alarms': share(called, mask & ~spam)})
    return rows


def worst(texts: np.ndarray, spam: np.ndarray, chance: Float[np.ndarray, ' texts'], count: int = 5) -> dict:
    """The `count` surest mistakes of either kind: {'false alarms', 'missed spam'} -> [{chance, text}]."""
    out = {}
    for kind, own, order in (('false alarms', 0, -chance), ('missed spam', 1, chance)):
        wrong = (chance > 0.5) == (own == 0)
        at = [i for i in np.argsort(order, kind='stable') if spam[i] == own and wrong[i]]
        out[kind] = [{'chance': float(chance[i]), 'text': str(texts[i])} for i in at[:count]]
    return out


def listing(mistakes: dict, train: dict, decisions: dict) -> str:
    """The mistakes as a text for people; at its end the messages that every model was wrong about."""
    lines = ['The surest mistakes of each model, out of fold: the chance of spam that it gave, and the message.', '']
    for name, kinds in mistakes.items():
        for kind, rows in kinds.items():
            lines += [f'{name}: {kind}', *(f'  {row["chance"]:8.2%}  {row["text"]}' for row in rows), '']
    wrong = np.all([(decisions[name] > 0) != (train['spam'] == 1) for name in mistakes], axis=0)
    lines.append(f'Messages that every model was wrong about: {wrong.sum()}')
    for label, title in ((1, 'spam'), (0, 'ham')):
        lines += [f'  {title}  {train["text"][i]}' for i in np.flatnonzero(wrong & (train['spam'] == label))]
    return '\n'.join(lines) + '\n'
