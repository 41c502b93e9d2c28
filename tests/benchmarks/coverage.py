"""Coverage of the 95 % confidence intervals, by simulation: python tests/benchmarks/coverage.py [few] [DRAWS [IMAGES]]

A test set of n images is drawn 1,000 times from a population whose accuracy, median and difference between two models
are known. Images are independent, come in pairs of one place, or are clustered by photographer, a few of whom took most
of them. Outcomes within a cluster have the given intraclass correlation. The percentile bootstrap over clusters is
shown for comparison. With ``few``, sets of two to ten photographers are drawn; in parentheses is the coverage without
the floor that the design effect of few clusters has.
"""

import sys
from statistics import NormalDist

import numpy as np

from geobench.statistics import intervals
from geobench.statistics.intervals import Clusters, clustered_mean, median_interval, share_interval
from geobench.statistics.paired import accuracy_difference, linearised_median, mean_difference

SHARES = (0.05, 0.15, 0.35, 0.5, 0.7, 0.9)
SMALL_SHARES = (0.005, 0.01, 0.02)
FEW_CLUSTERS = (2, 3, 4, 6, 10)
RESAMPLES = 500
SPREAD = 2.0  # of the logarithm of an error


def alone(n):
    """Return n independent images."""
    return Clusters(np.arange(n), "image")


def pairs(n):
    """Return n images, two per place."""
    return Clusters(np.arange(n) // 2)


def photographers(n):
    """Return n images by photographers whose numbers of images are lognormal, in decreasing order.

    With n = 2,997 there are 198 photographers, as in Im2GPS3k, where the five most active ones took 235, 117, 114, 92
    and 83 images; here they took 216, 138, 110, 93 and 82.
    """
    count = 198 if n > 1000 else 60
    ranks = (np.arange(count, 0, -1) - 0.5) / count
    sizes = np.exp(1.2 * np.array([NormalDist().inv_cdf(rank) for rank in ranks]))
    sizes = np.maximum(1, np.rint(sizes / sizes.sum() * n)).astype(int)
    sizes[-1] += max(0, n - sizes.sum())
    return Clusters(np.repeat(np.arange(count), sizes)[:n], "author")


def equal(n, count):
    """Return n images by ``count`` photographers who took as many each."""
    return Clusters(np.arange(n) * count // n, "author")


def unequal(n, count):
    """Return n images by ``count`` photographers, of whom the first took four fifths and the others as many each."""
    others = n // 5
    return Clusters(
        np.concatenate([np.zeros(n - others, int), 1 + np.arange(others) * (count - 1) // others]), "author"
    )


def hits(rng, clusters, share, alike, draws):
    """Return hits (n, draws) with this expected share; the probability of each cluster is beta-distributed."""
    shape = (len(clusters.sizes), draws)
    if alike:
        chance = rng.beta(share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike, shape)[clusters.labels]
    else:
        chance = share
    return rng.random((len(clusters.labels), draws)) < chance


def errors_of(rng, clusters, alike, draws, models=1):
    """Return lognormal errors (models, n, draws) of median 1; models largely share the difficulty of an image.

    What they share and what each has of its own are both correlated within a cluster: a model may suit a photographer.
    """

    def normal():
        common = np.sqrt(alike) * rng.normal(size=(len(clusters.sizes), draws))[clusters.labels]
        return common + np.sqrt(1 - alike) * rng.normal(size=common.shape)

    hard = normal()
    own = np.stack([normal() for _ in range(models)]) if models > 1 else 0 * hard[None]
    mixed = 0.8 * hard + 0.6 * own if models > 1 else hard[None]
    return np.exp(SPREAD * mixed)


def holds(low, high, truth):
    """Return the percentage of draws whose interval contains the true value."""
    return 100.0 * float(np.mean((low <= truth) & (truth <= high)))


def accuracy_coverage(clusters, share, alike, draws=1000, seed=0):
    """Return the coverage in percent of the interval of an accuracy."""
    return holds(*share_interval(hits(np.random.default_rng(seed), clusters, share, alike, draws), clusters), share)


def bootstrap_coverage(clusters, share, alike, draws=1000, seed=0):
    """Return the coverage in percent of the percentile bootstrap over clusters."""
    rng = np.random.default_rng(seed)
    found = clusters.sums(hits(rng, clusters, share, alike, draws).astype(float))
    g = len(clusters.sizes)
    weights = rng.multinomial(g, np.full(g, 1 / g), RESAMPLES).astype(float)
    shares = weights @ found / (weights @ clusters.sizes)[:, None]
    return holds(*np.percentile(shares, [2.5, 97.5], axis=0), share)


def median_coverage(clusters, alike, draws=1000, seed=0):
    """Return the coverage in percent of the interval of the median."""
    return holds(*median_interval(errors_of(np.random.default_rng(seed), clusters, alike, draws)[0], clusters), 1.0)


def mean_coverage(clusters, alike, draws=1000, seed=0):
    """Return the coverage in percent of the interval of the mean logarithm of the error."""
    mean = clustered_mean(np.log(errors_of(np.random.default_rng(seed), clusters, alike, draws)[0]), clusters)
    return holds(mean.value - mean.t * mean.se, mean.value + mean.t * mean.se, 0.0)


def narrow(clusters, share, alike, draws=1000, seed=0):
    """Return how many intervals in percent are less than half as wide as if all images were independent."""
    drawn = hits(np.random.default_rng(seed), clusters, share, alike, draws)
    low, high = share_interval(drawn, clusters)
    least, most = share_interval(drawn, alone(len(drawn)))
    return 100.0 * float(np.mean(high - low < (most - least) / 2))


def difference_coverage(clusters, alike, shift, draws=1000, seed=0):
    """Return the coverage for the differences in accuracy and in median, and how often p is below 0.05, in percent."""
    rng = np.random.default_rng(seed)
    rank = NormalDist()
    truth = 100 * (rank.cdf(-shift / SPREAD) - 0.5), np.exp(shift) - 1  # within 1 km; medians exp(shift) and 1
    found = {"accuracy": 0, "median": 0, "rejected": 0}
    for _ in range(draws):
        a, b = (each[:, 0] for each in errors_of(rng, clusters, alike, 1, models=2))
        b = b * np.exp(shift)
        change = accuracy_difference(a <= 1, b <= 1, clusters)
        values = (linearised_median(each, clusters) for each in (a, b))
        middle = mean_difference(*values, clusters, float(np.median(b) - np.median(a)))
        found["accuracy"] += change.low <= truth[0] <= change.high
        found["median"] += middle.low <= truth[1] <= middle.high
        found["rejected"] += change.p < 0.05
    return {name: 100 * float(count) / draws for name, count in found.items()}


def few_coverages(clusters, draws):
    """Return, by what is estimated, its coverages with each correlation, and the intervals that are too narrow."""
    found = {"accuracy": [], "rare": [], "median": [], "mean": [], "difference": [], "of medians": [], "narrow": []}
    for alike in (0.0, 0.1, 0.3):
        found["accuracy"] += [accuracy_coverage(clusters, share, alike, draws) for share in SHARES[1:-1]]
        found["rare"] += [accuracy_coverage(clusters, share, alike, draws) for share in (SHARES[0], SHARES[-1])]
        found["median"].append(median_coverage(clusters, alike, draws))
        found["mean"].append(mean_coverage(clusters, alike, draws))
        paired = difference_coverage(clusters, alike, 0.2, draws // 4)
        found["difference"].append(paired["accuracy"])
        found["of medians"].append(paired["median"])
        found["narrow"] += [narrow(clusters, share, alike, draws) for share in SHARES]
    return found


def main_few(draws, n=240):
    """Print the coverages for few photographers, with the floor of the design effect and without it."""
    print(
        f"{n} images, correlation 0, 0.1 and 0.3; {draws:,} draws, {draws // 4:,} for differences; "
        "without the floor in parentheses"
    )
    for make in (equal, unequal):
        for count in FEW_CLUSTERS:
            clusters, threshold = make(n, count), intervals.FEW
            floored = few_coverages(clusters, draws)
            intervals.FEW = 0
            free = few_coverages(clusters, draws)
            intervals.FEW = threshold
            print(f"{make.__name__}, {count} photographers, {clusters.effective:.1f} effective")
            for name, each in floored.items():
                print(
                    f"  {name} {min(each):.1f}–{max(each):.1f} ({min(free[name]):.1f}–{max(free[name]):.1f})",
                    flush=True,
                )


def main(draws):
    """Print all coverages, for each kind of test set."""
    print(f"{draws:,} draws; in parentheses the percentile bootstrap over clusters, {RESAMPLES} resamples\n")
    for n in (237, 2997):
        for name, make in (("alone", alone), ("pairs", pairs), ("photographers", photographers)):
            clusters = make(n)
            for alike in (0.0,) if name == "alone" else (0.0, 0.1, 0.3):
                accuracies = [
                    f"{share:.1%} {accuracy_coverage(clusters, share, alike, draws):.1f} "
                    f"({bootstrap_coverage(clusters, share, alike, draws):.1f})"
                    for share in (*SMALL_SHARES, *SHARES)
                ]
                paired = difference_coverage(clusters, alike, 0.2, draws)
                null = difference_coverage(clusters, alike, 0.0, draws)["rejected"]
                print(f"n {n}, {name}, {len(clusters.sizes)} clusters, correlation {alike}")
                print(f"  accuracy of {', '.join(accuracies)}")
                print(f"  median {median_coverage(clusters, alike, draws):.1f}", end="")
                print(f", differences: accuracy {paired['accuracy']:.1f}, median {paired['median']:.1f}", end="")
                print(f"; false positives without a difference {null:.1f}")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    (main_few if "few" in sys.argv else main)(*numbers or [1000])
