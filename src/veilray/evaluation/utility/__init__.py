"""What a release is worth: learners are trained on it and tested on real images."""

from veilray.evaluation.utility.aware import CodeAware
from veilray.evaluation.utility.base import LEARNERS, Learner, Space
from veilray.evaluation.utility.consistency import Consistency, Reading, consistency
from veilray.evaluation.utility.dp_sgd import DPSGD, Recipe
from veilray.evaluation.utility.logistic import CodeLogistic, Logistic
from veilray.evaluation.utility.networks import CNN, CodeMLP, ResNet
from veilray.evaluation.utility.tstr import Metric, Score, measure, score

__all__ = [
    "CNN",
    "DPSGD",
    "LEARNERS",
    "CodeAware",
    "CodeLogistic",
    "CodeMLP",
    "Consistency",
    "Learner",
    "Logistic",
    "Metric",
    "Reading",
    "Recipe",
    "ResNet",
    "Score",
    "Space",
    "consistency",
    "measure",
    "score",
]
