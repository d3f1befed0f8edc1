"""Figures over a grid of corruptions, against published ones, and the paired bootstrap, against brute force."""

import numpy as np
import pytest

from randhead import corruptions
from randhead.errors import UsageError
from randhead.robustness import metrics

# Accuracies of torchvision's ResNet-50 on 5,000 images of ImageNet-C, severities 1 to 5, and the average beside them:
# RobustBench at 24ce20d, model_info/imagenet/corruptions/unaggregated_results_2d.csv, row Standard_R50.
RESNET50 = {
    "gaussian_noise": (0.5978, 0.4686, 0.2748, 0.1128, 0.0218),
    "shot_noise": (0.5744, 0.4294, 0.2528, 0.0792, 0.029),
    "impulse_noise": (0.4844, 0.358, 0.2546, 0.083, 0.0182),
    "defocus_blur": (0.5956, 0.5152, 0.382, 0.2748, 0.183),
    "glass_blur": (0.54, 0.4012, 0.1688, 0.131, 0.1024),
    "motion_blur": (0.6382, 0.537, 0.3758, 0.2154, 0.1482),
    "zoom_blur": (0.529, 0.4324, 0.358, 0.2878, 0.2206),
    "snow": (0.5498, 0.3154, 0.3518, 0.2382, 0.1654),
    "frost": (0.615, 0.4346, 0.309, 0.2896, 0.2294),
    "fog": (0.6138, 0.5612, 0.4704, 0.4088, 0.241),
    "brightness": (0.7392, 0.7244, 0.6956, 0.6498, 0.5866),
    "contrast": (0.6494, 0.5852, 0.469, 0.2122, 0.0546),
    "elastic_transform": (0.6704, 0.4556, 0.5526, 0.4196, 0.1746),
    "pixelate": (0.6402, 0.6426, 0.4598, 0.2898, 0.2068),
    "jpeg_compression": (0.6664, 0.6244, 0.5982, 0.4728, 0.3144),
}
RESNET50_AVERAGE = 0.392304
CLEAN_ERROR = 0.2328
BENCHMARK = tuple(corruptions.names("benchmark"))


def flat(error, names=BENCHMARK, severities=5):
    return {name: [error] * severities for name in names}


def test_the_benchmark_and_its_groups_are_those_of_the_corruptions():
    assert {group: corruptions.names(group) for group in corruptions.groups()} == corruptions.groups()
    assert [name for group in ("noise", "blur", "weather", "digital") for name in corruptions.groups()[group]] == list(
        BENCHMARK
    )
    assert tuple(metrics.ALEXNET) == BENCHMARK == tuple(metrics.benchmark())


def test_alexnets_own_errors_make_an_mce_of_100():
    figures = metrics.imagenet_errors(metrics.alexnet_errors(), metrics.ALEXNET_CLEAN / 100)
    assert figures["mce"] == pytest.approx(100, abs=1e-10)
    assert figures["relative_mce"] == pytest.approx(100, abs=1e-10)
    assert np.mean(list(metrics.ALEXNET.values())) == pytest.approx(78.899, abs=5e-4)


def test_figures_of_a_published_resnet50_are_the_published_ones():
    errors = {name: [1 - accuracy for accuracy in row] for name, row in RESNET50.items()}
    assert 1 - metrics.mean_error(errors) == pytest.approx(RESNET50_AVERAGE, abs=1e-9)
    figures = metrics.imagenet_errors(errors, CLEAN_ERROR)
    table = np.array([errors[name] for name in metrics.ALEXNET])
    alexnet = np.array(list(metrics.ALEXNET.values())) / 100
    assert figures["mce"] == pytest.approx(100 * (table.mean(axis=1) / alexnet).mean())
    relative = (table - CLEAN_ERROR).mean(axis=1) / (alexnet - 0.435)
    assert figures["relative_mce"] == pytest.approx(100 * relative.mean())
    # The leaderboard of the benchmark has 76.7 for this model, on all 50,000 images.
    assert figures["mce"] == pytest.approx(76.7, abs=0.2)


def test_a_corruption_error_is_the_ratio_of_the_sums_and_not_the_mean_of_the_ratios():
    found = metrics.corruption_errors({"fog": [0.1, 0.6]}, {"fog": [0.4, 0.6]})["fog"]
    assert found == pytest.approx(0.7)
    mean_of_ratios = (0.1 / 0.4 + 0.6 / 0.6) / 2
    assert found != pytest.approx(mean_of_ratios)


def test_a_relative_corruption_error_takes_the_clean_errors_off_first():
    found = metrics.relative_corruption_errors({"fog": [0.2, 0.4]}, 0.1, {"fog": [0.3, 0.5]}, 0.2)["fog"]
    assert found == pytest.approx((0.1 + 0.3) / (0.1 + 0.3))
    assert metrics.relative_corruption_errors({"fog": [0.2]}, 0.1, {"fog": [0.2]}, 0.2)["fog"] is None


def test_no_baseline_error_no_corruption_error():
    assert metrics.corruption_errors({"fog": [0.1]}, {"fog": [0.0]}) == {"fog": None}
    assert metrics.mean_corruption_error({**dict.fromkeys(BENCHMARK, 1.0), "fog": None}) is None


def test_extra_corruptions_never_enter_the_mean():
    errors = {**flat(0.2), **flat(0.9, corruptions.names("extra"))}
    assert metrics.mean_error(errors) == pytest.approx(0.2)
    assert metrics.mean_corruption_error(metrics.corruption_errors(errors, flat(0.4) | errors)) == pytest.approx(100)
    count = len(corruptions.names("extra"))
    assert metrics.group_errors(errors)["extra"] == (pytest.approx(0.9), f"{count} of {count}")


def test_a_mean_over_14_of_15_has_to_be_asked_for():
    errors = {name: row for name, row in flat(0.2).items() if name != "frost"}
    with pytest.raises(UsageError, match="missing: frost"):
        metrics.mean_error(errors)
    with pytest.raises(UsageError, match="missing: frost"):
        metrics.imagenet_errors(errors, 0.1)
    with pytest.raises(UsageError, match="missing"):
        metrics.mean_error(flat(0.9, corruptions.names("extra")), partial=True)
    assert metrics.mean_error(errors, partial=True) == pytest.approx(0.2)
    assert metrics.coverage(errors) == "14 of 15"
    assert metrics.group_errors(errors)["weather"][1] == "3 of 4"


def test_a_baseline_with_other_cells_is_refused():
    with pytest.raises(UsageError, match="must have 5 severities of fog, got 3"):
        metrics.corruption_errors(flat(0.2), flat(0.2) | {"fog": [0.1] * 3})


def test_imagenet_is_known_by_its_1000_classes_alone():
    timm = pytest.importorskip("timm.data")
    names = timm.ImageNetInfo().label_names()
    assert metrics.is_imagenet(names)
    assert metrics.is_imagenet(list(reversed(names)))
    assert not metrics.is_imagenet(names[:200])
    assert not metrics.is_imagenet([*names[:999], "n99999999"])
