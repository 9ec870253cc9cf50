"""Decision trees against scikit-learn's: every split, the path of pruning, limits, weights, predictions, text."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from parity_ledger import compare
from sklearn import tree as theirs
from sklearn.datasets import load_diabetes, load_iris

from levels.level1_classical.ensembles import tree as ours
from levels.level1_classical.ensembles.drawing import to_picture, to_text
from levels.level1_classical.ensembles.nodes import leaves, reached
from levels.level1_classical.ensembles.pruning import prune, pruning_path

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# Tie-free: continuous features, and leaves of 5 rows or more. (Of two rows every feature makes the same two leaves.)
X = RNG.normal(size=(400, 6)).astype('float32')
Y = (X[:, 0] * X[:, 1] + X[:, 2] + 0.4 * RNG.normal(size=400)).astype('float32')
LABELS = np.digitize(Y, [-0.7, 0.6]).astype('int32')
NEW = RNG.normal(size=(500, 6)).astype('float32')
WEIGHT = RNG.uniform(0.1, 1, 400).astype('float32')


def fit(bits, model, x, y, weight=None):
    with jax.enable_x64(bits == 64):
        to = lambda v: jnp.asarray(v, None if v.dtype.kind == 'i' else f'float{bits}')
        tree = jax.jit(model.fit)(KEY, to(x), to(y), None if weight is None else to(weight))
        outputs = tuple(m(tree, to(NEW)) for m in (model.predict, model.proba) if m is not None)
        return jax.device_get((tree, outputs))


def splits(feature, left, right, *values):
    """Features and values of all nodes, parents before their left and then their right branches."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if feature[node] >= 0:
            stack += [right[node], left[node]]
    return tuple(np.asarray(v)[order] for v in (np.maximum(feature, -1), *values))


def agree(name, peer, model, x, y, bits, quantity, weight=None):
    """Feature for feature the same tree, and then what it says of new rows."""
    tree, outputs = fit(bits, model, x, y, weight)
    peer = peer.fit(x, y, sample_weight=weight)
    nodes = splits(tree.feature, tree.left, tree.left + 1, tree.threshold, tree.impurity, tree.weight)
    them = peer.tree_
    feature, threshold, impurity, weights = splits(them.feature, them.children_left, them.children_right,
                                                   them.threshold, them.impurity, them.weighted_n_node_samples)
    assert np.array_equal(nodes[0], feature) and len(feature) > 2
    inner = feature >= 0
    gate = 1e-6 if bits == 32 else 1e-12
    label = f'{quantity}, f{bits}'
    to = type(peer).__name__
    compare(name, to, f'thresholds, {label}', nodes[1][inner], threshold[inner], gate)
    compare(name, to, f'impurity of each node, {label}', nodes[2], impurity, gate, relative=True)
    compare(name, to, f'weight of each node, {label}', nodes[3], weights, gate, relative=True)
    compare(name, to, f'importances, {label}', tree.importances, peer.feature_importances_,
            1e-5 if bits == 32 else gate)
    predicted = peer.predict(NEW)
    if len(outputs) == 2:
        assert np.array_equal(outputs[0], predicted)
        compare(name, to, f'proba, {label}', outputs[1], peer.predict_proba(NEW), gate)
    else:
        compare(name, to, f'predictions, {label}', outputs[0], predicted, gate, relative=True)
    return tree, peer


LEAF = {'min_samples_leaf': 5}


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('name', 'given'), [
    ('depth', {'max_depth': 4}), ('no depth', {}), ('leaves', {'max_leaf_nodes': 9}),
    ('rows, decrease', {'min_samples_split': 40, 'min_impurity_decrease': 0.01})])
def test_regression(name, given, bits):
    agree('decision_tree_regressor', theirs.DecisionTreeRegressor(random_state=0, **LEAF | given),
          ours.decision_tree_regressor(**LEAF | given), X, Y, bits, name)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('criterion', ['gini', 'entropy'])
def test_classes_with_weights(criterion, bits):
    """Real weights, so that no two splits have the same counts."""
    given = {'criterion': criterion, 'max_depth': 6, 'min_samples_leaf': 8}
    agree('decision_tree_classifier', theirs.DecisionTreeClassifier(random_state=0, **given),
          ours.decision_tree_classifier(n_classes=3, **given), X, LABELS, bits, f'{criterion}, weights', WEIGHT)


def test_weights_in_regression():
    given = {'max_depth': 6, 'min_samples_leaf': 8}
    agree('decision_tree_regressor', theirs.DecisionTreeRegressor(random_state=0, **given),
          ours.decision_tree_regressor(**given), X, Y, 64, 'weights', WEIGHT)


def test_real_data_with_ties_has_trees_as_good_as_scikit_learn_s():
    """Iris is full of ties, which scikit-learn breaks at random: the trees differ, what they reach does not."""
    x, y = load_iris(return_X_y=True)
    tree = ours.decision_tree_classifier(n_classes=3).fit(KEY, x, y)
    assert np.array_equal(ours.classes(tree, x), y)
    peers = [theirs.DecisionTreeClassifier(random_state=s).fit(x, y).tree_.n_leaves for s in range(10)]
    assert min(peers) <= leaves(tree) <= max(peers)
    assert tree.threshold[0] in (np.float32(2.45), np.float32(0.8))       # both part setosa from the rest


@pytest.mark.parametrize('bits', [32, 64])
def test_pruning(bits):
    gate = 2e-6 if bits == 32 else 1e-12
    peer = theirs.DecisionTreeRegressor(random_state=0, **LEAF)
    path = peer.cost_complexity_pruning_path(X, Y)
    tree, _ = fit(bits, ours.decision_tree_regressor(**LEAF), X, Y)
    with jax.enable_x64(bits == 64):
        tree = jax.tree.map(jnp.asarray, tree)
        found = jax.jit(pruning_path)(tree)
        count = int(found.count)
        compare('pruning_path', 'cost_complexity_pruning_path', f'alphas, f{bits}', found.alpha[:count],
                path.ccp_alphas, gate)
        compare('pruning_path', 'cost_complexity_pruning_path', f'impurities, f{bits}', found.impurity[:count],
                path.impurities, gate)
        assert (np.diff(found.alpha[:count]) >= 0).all()
        # between two alphas of the path, where rounding decides nothing
        middles = (path.ccp_alphas[1:] + path.ccp_alphas[:-1])[::8] / 2
        all_of_them = jax.jit(jax.vmap(prune, (None, 0)))(tree, jnp.asarray(middles, tree.threshold.dtype))
        for i, alpha in enumerate(middles):
            small = jax.tree.map(lambda v, i=i: v[i], all_of_them)
            peer = theirs.DecisionTreeRegressor(random_state=0, ccp_alpha=alpha, **LEAF).fit(X, Y)
            assert leaves(small) == peer.tree_.n_leaves
        compare('prune', 'DecisionTreeRegressor(ccp_alpha)', f'predictions, f{bits}',
                ours.regressed(small, jnp.asarray(NEW, tree.threshold.dtype)), peer.predict(NEW), gate, relative=True)
    assert peer.tree_.n_leaves < 12 and count > 30


def test_pruning_of_a_classifier_in_its_fit():
    path = theirs.DecisionTreeClassifier(random_state=0, **LEAF).cost_complexity_pruning_path(X, LABELS, WEIGHT)
    alpha = path.ccp_alphas[-6:-4].mean()
    agree('decision_tree_classifier', theirs.DecisionTreeClassifier(random_state=0, ccp_alpha=alpha, **LEAF),
          ours.decision_tree_classifier(n_classes=3, ccp_alpha=alpha, **LEAF), X, LABELS, 64, 'pruned', WEIGHT)


def test_text_and_picture():
    tree, _ = fit(32, ours.decision_tree_classifier(n_classes=3, max_depth=3, **LEAF), X, LABELS, WEIGHT)
    peer = theirs.DecisionTreeClassifier(max_depth=3, random_state=0, **LEAF).fit(X, LABELS, sample_weight=WEIGHT)
    names, labels = list('abcdef'), ['low', 'mid', 'high']
    rules = lambda text: [line for line in text.splitlines() if 'class' not in line]
    text = to_text(tree, names=names, labels=labels)
    assert rules(text) == rules(theirs.export_text(peer, feature_names=names, decimals=3))
    kinds = [line.split('class')[1].split()[0] for line in text.splitlines() if 'class' in line]
    shown = [line.split('class: ')[1] for line in theirs.export_text(peer).splitlines() if 'class' in line]
    assert kinds == [labels[int(c)] for c in shown]
    assert to_text(tree, max_depth=1).count('(cut)') == 2
    figure = to_picture(tree, names=names, labels=labels)
    boxes = [t for t in figure.axes[0].texts if 'impurity' in t.get_text()]
    assert len(boxes) == int(reached(tree).sum()) == peer.tree_.node_count
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    areas = [t.get_bbox_patch().get_window_extent(renderer) for t in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(areas) for b in areas[:i])
    width, height = canvas.get_width_height()
    assert all(a.x0 >= 0 and a.y0 >= 0 and a.x1 <= width and a.y1 <= height for a in areas)
    with pytest.raises(ValueError, match='names: expected 6, found 2'):
        to_text(tree, names=['a', 'b'])
    with pytest.raises(ValueError, match='labels: expected 3, found 1'):
        to_picture(tree, labels=['a'])


@pytest.mark.parametrize(('given', 'message'), [
    ({'max_depth': 0}, 'max_depth: expected at least 1'), ({'max_depth': 2.5}, 'max_depth: expected a whole number or'),
    ({'max_leaf_nodes': 1}, 'max_leaf_nodes: expected at least 2'), ({'criterion': 'mse'}, 'criterion: expected one'),
    ({'min_samples_split': 1}, 'min_samples_split: expected at least 2'), ({'n_classes': 1}, 'n_classes: expected'),
    ({'min_samples_leaf': 0}, 'min_samples_leaf: expected at least 1'), ({'ccp_alpha': -1.0}, 'ccp_alpha: expected')])
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        ours.decision_tree_classifier(**given)


def test_targets_of_two_columns_are_refused():
    with pytest.raises(ValueError, match=r'y: expected \[rows\], found shape \(400, 2\)'):
        ours.decision_tree_regressor().fit(KEY, X, np.stack([Y, Y], 1))


@pytest.mark.slow
def test_diabetes_to_the_last_leaf():
    """Repeated values, 442 rows, no limit: training rows are told apart as scikit-learn's tree does."""
    x, y = (v.astype('float32') for v in load_diabetes(return_X_y=True))
    tree = ours.decision_tree_regressor().fit(KEY, x, y)
    peer = theirs.DecisionTreeRegressor(random_state=0).fit(x, y)
    compare('decision_tree_regressor', 'DecisionTreeRegressor', 'diabetes, training rows', ours.regressed(tree, x),
            peer.predict(x), 1e-6, relative=True)
    assert abs(int(leaves(tree)) - peer.get_n_leaves()) < 5
