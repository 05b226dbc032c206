"""The scikit-learn estimator, public in `handgrad.sklearn`.

Needs the extra ``train``: ``pip install 'handgrad[train]'``.
"""

from handgrad.training.estimator.classifier import MLPClassifier as MLPClassifier
