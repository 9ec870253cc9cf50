"""Faces of the decision trees and of what is made of many."""

from levels.level1_classical.ensembles.boosting import gradient_boosting_classifier, gradient_boosting_regressor
from levels.level1_classical.ensembles.forest import random_forest_classifier, random_forest_regressor
from levels.level1_classical.ensembles.tree import decision_tree_classifier, decision_tree_regressor
from levels.level1_classical.sklearn_api.face import ClassifierFace, RegressorFace


class _Grown:
    """feature_importances_, of whatever grows trees."""

    @property
    def feature_importances_(self):
        return self.state_.importances


class DecisionTreeClassifier(_Grown, ClassifierFace, factory=decision_tree_classifier):
    """A decision tree for classes; the face of `ensembles.tree.decision_tree_classifier`.

    Formula: the split with the greatest fall of weight x impurity (gini or entropy), again in every node.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees.
    Shapes: X [rows, features], y [rows] of any labels -> classes_ [classes], feature_importances_ [features].
    Errors: ValueError from scikit-learn's validation, or for limits out of range, an unknown criterion.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        model = DecisionTreeClassifier(max_depth=2).fit(X, ['no', 'no', 'yes', 'yes'])
        assert list(model.predict(X)) == ['no', 'no', 'yes', 'yes']
        model.state_.threshold[0]                            # 1.5
    """


class DecisionTreeRegressor(_Grown, RegressorFace, factory=decision_tree_regressor):
    """A decision tree for numbers; the face of `ensembles.tree.decision_tree_regressor`.

    Formula: the split with the greatest fall of the squared error, again in every node.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, chapter 8.
    Shapes: X [rows, features], y [rows] -> feature_importances_ [features].
    Errors: ValueError from scikit-learn's validation, or for limits out of range.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        model = DecisionTreeRegressor(max_depth=1).fit(X, jnp.array([1.0, 1.0, 4.0, 6.0]))
        assert model.predict(X)[3] == 5.0
        model.feature_importances_                           # [1.]
    """


class _Boosting(_Grown):
    """Rows may have missing values."""

    _finite = 'allow-nan'
    _searches = False       # its `converged` says that it stopped early

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class GradientBoostingRegressor(_Boosting, RegressorFace, factory=gradient_boosting_regressor, random=True):
    """Gradient boosted trees for numbers; the face of `ensembles.boosting.gradient_boosting_regressor`.

    Formula: f = base + sum of trees, each fitted to the derivatives of the loss; parameters have XGBoost's names.
    Paper: Chen, Guestrin 2016, XGBoost: a scalable tree boosting system, KDD.
    Shapes: X [rows, features], NaN for missing values, y [rows] -> feature_importances_ [features], n_iter_.
    Errors: ValueError from scikit-learn's validation, or for settings out of range, an unknown loss.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [jnp.nan]])
        y = jnp.array([1.0, 1.0, 5.0, 5.0])
        model = GradientBoostingRegressor(n_estimators=20, reg_lambda=0.0).fit(X, y)
        assert abs(model.predict(X) - y).max() < 0.02
    """


class GradientBoostingClassifier(_Boosting, ClassifierFace, factory=gradient_boosting_classifier, random=True):
    """Gradient boosted trees for classes; the face of `ensembles.boosting.gradient_boosting_classifier`.

    Formula: logistic loss for two classes, softmax for more; parameters have XGBoost's names.
    Paper: Chen, Guestrin 2016, XGBoost: a scalable tree boosting system, KDD.
    Shapes: X [rows, features], NaN if missing, y [rows] of any labels -> classes_, feature_importances_, n_iter_.
    Errors: ValueError from scikit-learn's validation, or for settings out of range.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [jnp.nan]])
        y = ['no', 'no', 'yes', 'yes']
        model = GradientBoostingClassifier(n_estimators=5, min_child_weight=0.0).fit(X, y)
        assert list(model.predict(X)) == y
    """


class RandomForestClassifier(_Grown, ClassifierFace, factory=random_forest_classifier, random=True):
    """A random forest for classes; the face of `ensembles.forest.random_forest_classifier`.

    Formula: the mean over trees of the leaves' shares of the classes.
    Paper: Breiman 2001, Random forests, Machine Learning 45.
    Shapes: X [rows, features], y [rows] of any labels -> classes_, feature_importances_ [features], oob_score_.
    Errors: ValueError from scikit-learn's validation, or for settings out of range.
    Example:
        X = jnp.arange(20.0)[:, None]
        y = ['low'] * 10 + ['high'] * 10
        model = RandomForestClassifier(n_estimators=10, max_depth=3, random_state=0).fit(X, y)
        assert model.score(X, y) > 0.9 and model.oob_score_ > 0.6
    """

    @property
    def oob_score_(self):
        return float(self.state_.oob_score)


class RandomForestRegressor(_Grown, RegressorFace, factory=random_forest_regressor, random=True):
    """A random forest for numbers; the face of `ensembles.forest.random_forest_regressor`.

    Formula: the mean over trees of the leaves' means of y.
    Paper: Breiman 2001, Random forests, Machine Learning 45.
    Shapes: X [rows, features], y [rows] -> feature_importances_ [features], oob_score_ (R2).
    Errors: ValueError from scikit-learn's validation, or for settings out of range.
    Example:
        X = jnp.arange(20.0)[:, None]
        y = jnp.arange(20.0)
        model = RandomForestRegressor(n_estimators=10, max_depth=4, random_state=0).fit(X, y)
        assert model.score(X, y) > 0.9 and model.oob_score_ > 0.6
    """

    @property
    def oob_score_(self):
        return float(self.state_.oob_score)
