"""A tree for people: as text, and as a picture.

Formula: none; a line or a box is a node, with its test or its value, impurity and weight.
Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, figure 1.1.
Shapes: a Tree (`nodes.py`), on the host -> str, or a matplotlib Figure.

Example:
    print(to_text(tree, names=['age', 'fare'], labels=['lost', 'saved']))
    to_picture(tree).savefig('tree.png')
"""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from matplotlib.figure import Figure

from levels.level1_classical.ensembles.nodes import Tree


def _host(tree: Tree, names: Sequence[str] | None) -> tuple[Tree, Sequence[str]]:
    tree = jax.device_get(tree)
    d = len(tree.importances)
    if tree.feature.ndim != 1:
        raise ValueError(f'tree: expected one tree, found arrays of shape {tree.feature.shape}')
    if names is not None and len(names) != d:
        raise ValueError(f'names: expected {d}, found {len(names)}')
    return tree, [f'x{j}' for j in range(d)] if names is None else names


def _verdict(tree: Tree, node: int, labels: Sequence[str] | None) -> str:
    value = tree.value[node]
    if len(value) == 1:
        return f'{value[0]:.4g}'
    best = int(np.argmax(value))
    if labels is not None and len(labels) != len(value):
        raise ValueError(f'labels: expected {len(value)}, found {len(labels)}')
    return f'class {best if labels is None else labels[best]} ({value[best]:.3g})'


def _visit(tree: Tree, deepest: int | None) -> Iterator[tuple[int, int, bool]]:
    """(node, depth, whether it is shown as a leaf), left to right as a book is read."""
    stack = [(0, 0)]
    while stack:
        node, depth = stack.pop()
        end = tree.feature[node] < 0 or depth == deepest
        yield node, depth, bool(end)
        if not end:
            stack += [(int(tree.left[node]) + 1, depth + 1), (int(tree.left[node]), depth + 1)]


def to_text(tree: Tree, *, names: Sequence[str] | None = None, labels: Sequence[str] | None = None,
            max_depth: int | None = None, digits: int = 3) -> str:
    """The rules of a tree, one line for each branch.

    Formula: `|--- x0 <= 1.5` goes before its left branch, `|--- x0 >  1.5` before its right one, indented by depth.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees.
    Shapes: Tree -> str; names [features], labels [classes].
    Errors: ValueError for names or labels of another number, or many trees at once.
    Example:
        from levels.level1_classical.ensembles.tree import decision_tree_classifier
        X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 0, 1])
        tree = decision_tree_classifier().fit(jax.random.key(0), X, y)
        print(to_text(tree, names=['size']))
        assert to_text(tree, names=['size']).startswith('|--- size <= 1.500')
    """
    tree, names = _host(tree, names)
    lines, stack = [], [(0, 0, '')]
    while stack:
        node, depth, test = stack.pop()
        if node:
            lines.append(f'{"|   " * (depth - 1)}|--- {test}')
        if tree.feature[node] < 0 or depth == max_depth:
            cut = '' if tree.feature[node] < 0 else ' (cut)'
            lines.append(f'{"|   " * depth}|--- {_verdict(tree, node, labels)}{cut}')
            continue
        name, threshold = names[tree.feature[node]], f'{tree.threshold[node]:.{digits}f}'
        left = int(tree.left[node])
        stack += [(left + 1, depth + 1, f'{name} >  {threshold}'), (left, depth + 1, f'{name} <= {threshold}')]
    return '\n'.join(lines)


def to_picture(tree: Tree, *, names: Sequence[str] | None = None, labels: Sequence[str] | None = None,
               max_depth: int | None = 4) -> Figure:
    """A drawing of a tree: a box for each node, tests inside, the left branch is 'yes'.

    Formula: leaves stand side by side at equal distances, a parent midway above its children; boxes are coloured by
        the class, or by the value from low (white) to high.
    Paper: Reingold, Tilford 1981, Tidier drawings of trees, section 1.
    Shapes: Tree -> matplotlib Figure; names [features], labels [classes]; below max_depth nothing is drawn.
    Errors: ValueError for names or labels of another number, or many trees at once.
    Example:
        from levels.level1_classical.ensembles.tree import decision_tree_classifier
        X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 0, 1])
        tree = decision_tree_classifier().fit(jax.random.key(0), X, y)
        figure = to_picture(tree, names=['size'])
        assert len(figure.axes[0].texts) == 3 + 2            # nodes, and yes and no at the root's branches
    """
    tree, names = _host(tree, names)
    shown = list(_visit(tree, max_depth))
    depth = {node: d for node, d, _ in shown}
    x = {node: float(i) for i, node in enumerate(n for n, _, end in shown if end)}
    for node, _, end in reversed(shown):        # children come after their parents in the list
        if not end:
            x[node] = (x[int(tree.left[node])] + x[int(tree.left[node]) + 1]) / 2
    width, height = max(4.0, 1.7 * (1 + max(x.values()))), 1.5 + 1.3 * max(depth.values())
    figure = Figure(figsize=(width, height), layout='constrained')
    ax = figure.subplots()
    ax.set_axis_off()
    many = tree.value.shape[1] > 1
    tops = tree.value[[n for n, _, _ in shown]]
    low, high = tops.min(), tops.max()
    for node, d, end in shown:
        best = int(np.argmax(tree.value[node]))
        share = float(tree.value[node][best]) if many else float((tree.value[node][0] - low) / max(high - low, 1e-30))
        rgb = np.array(((0.12, 0.37, 0.66), (0.82, 0.29, 0.36), (0.18, 0.57, 0.24), (0.93, 0.68, 0.29))[best % 4])
        test = '' if end else f'{names[tree.feature[node]]} <= {tree.threshold[node]:.3g}\n'
        text = f'{test}{_verdict(tree, node, labels)}\nimpurity {tree.impurity[node]:.3g}, n {tree.weight[node]:.4g}'
        ax.text(x[node], -d, text, ha='center', va='center', fontsize=8,
                bbox={'boxstyle': 'round', 'facecolor': 1 - 0.6 * share * (1 - rgb), 'edgecolor': '0.4'})
        if end:
            continue
        for child, word in ((int(tree.left[node]), 'yes'), (int(tree.left[node]) + 1, 'no')):
            ax.plot([x[node], x[child]], [-d, -d - 1], color='0.6', zorder=0)
            if node == 0:
                ax.text((x[0] + x[child]) / 2, -0.5, word, ha='center', fontsize=8, color='0.3')
    ax.set_xlim(-0.6, max(x.values()) + 0.6)
    ax.set_ylim(-max(depth.values()) - 0.5, 0.5)
    return figure
