"""handgrad for scikit-learn: `MLPClassifier`, trained by the hand-written gradient.

    from handgrad.sklearn import MLPClassifier

Needs the extra ``train``: ``pip install 'handgrad[train]'``.
"""

from handgrad.training.estimator import MLPClassifier as MLPClassifier
