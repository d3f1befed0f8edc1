"""The metrics of a study: the keys by which claims and documents name them, and how they are shown.

A key is measured from a trained run by `study.measure`.
"""

from math import inf

from randhead.errors import unknown
from randhead.tables import Metric

METRICS = {
    "accuracy": Metric("accuracy", "share of test images whose predicted class is right", "higher", "%"),
    "nll": Metric("NLL", "mean negative log-likelihood of the true class", "lower", "nats"),
    "ece": Metric("ECE", "expected calibration error, 15 bins of equal width", "lower", "%"),
    "separability": Metric("angle of classes", "mean angle of two class means", "higher", "deg"),
    "class_separation": Metric(
        "class separation R\u00b2", "1 - distance within classes / distance of any two images", "higher"
    ),
    "compactness": Metric(
        "distance within classes", "mean 1 - cosine of two images of a class", "lower", bounds=(0, 2)
    ),
    "corruption_accuracy": Metric("corrupted accuracy", "mean accuracy under image corruptions", "higher", "%"),
    "transfer": Metric(
        "transfer", "accuracy of a linear probe on the features of classes held out of training", "higher", "%"
    ),
    "transfer_1nn": Metric("transfer, 1-NN", "1-NN accuracy on classes held out of training", "higher", "%"),
    "epochs": Metric(
        "epochs",
        "epochs until the validation accuracy is within 1 point of that of the last epoch",
        "lower",
        bounds=(1, inf),
    ),
    "train_loss": Metric("training loss", "mean training loss of the last epoch", "", "nats"),
    "converged": Metric("converged", "share of runs that did not diverge and are better than chance", "higher", "%"),
}

CONVERGED, EPOCHS = "converged", "epochs"  # of the training, and undefined for other runs than the rest are
OF_CORRUPTIONS = ("corruption_accuracy",)  # measured only if images are corrupted
OF_NEW_CLASSES = ("transfer", "transfer_1nn")  # measured only if classes are held out


def about(key: str) -> Metric:
    """How a metric is shown.  Raises UsageError for an unknown key."""
    if key not in METRICS:
        raise unknown("metric of a study", key, METRICS)
    return METRICS[key]
