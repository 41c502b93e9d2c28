"""All measurements that need a GPU: python tests/benchmarks/gpu.py [--quick] [--only WORD]

Runs the tests that need one, then prints one table: target, figure, and the share of what the card can do at most, by a
large matrix product or a large copy. A figure that cannot be measured (no package ``geoclip``, no compiler, no embedded
imagery) says why and does not stop the others. ``--tiny`` measures everything on a CPU in tiny sizes, in a minute: no
figure of it means anything, but all of them can be had.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gpu_work as work
import torch

from geobench_plugins.geoclip import contrast

AUTOTUNED = "bf16, compiled with max-autotune"
HOW = {  # ways to take a step, the default of training first
    "bf16, compiled, captured": {"precision": "bf16"},
    AUTOTUNED: {"precision": "bf16"},
    "float32, compiled, captured": {"precision": "fp32"},
    "bf16, eager": {"precision": "bf16", "compiled": "no"},
    "float32, eager": {"precision": "fp32", "compiled": "no"},
}
STEP_MS, TIMES_PEER, MINUTES, BUSY, WAITED, POINTS = 1.3, 5.0, 2.5, 0.8, 0.2, 1.0
"""Targets, for one H100."""


@dataclass(frozen=True)
class Figure:
    """What was measured.

    Attributes:
        text: as shown.
        share: of the limit, None if it has none.
        met: whether the target was met, None without one.
    """

    text: str
    share: float | None = None
    met: bool | None = None


Row = tuple[str, str, Callable[[], Figure]]
"""Name, target, and the measurement."""


class Measurements:
    """The measurements in order; later ones use results of earlier ones."""

    def __init__(self, sizes: work.Sizes) -> None:
        self.sizes = sizes
        self.flops = self.bandwidth = float("inf")
        self.steps: dict[str, float] = {}

    def rows(self) -> Iterator[Row]:
        """Yield them."""
        sizes = self.sizes
        if sizes.device == "cuda":
            yield "tests that need a GPU", "all pass", lambda: Figure(*(said := work.tests())[:1], None, said[1])
        yield "limits of the card", "–", self.limits
        for number, how in enumerate(HOW):
            target = f"at most {STEP_MS} ms" if not number else "–"
            yield f"step of GeoCLIP, batch {sizes.batch}, {how}", target, lambda how=how: self.step(how)
        yield "step of the package geoclip, eager, float32", f"{TIMES_PEER:g} × ours or more", self.ratio
        yield "training on 4.72 M cached features", f"ten epochs in {MINUTES} min", self.epochs
        yield "features in half precision, gathered", "–", self.half
        for name in sizes.systems:
            yield f"{name}, from features", "–", lambda name=name: self.system(name)
        for backbone in ("last", "whole"):
            what = f"planet from pixels, backbone={backbone}"
            yield what, f"waits for photos {WAITED:.0%} or less", lambda backbone=backbone: self.pixels(backbone)
        encoder = sizes.architecture or "efficientnet_lite0"
        yield f"extraction, {encoder}", f"encoder busy {BUSY:.0%} or more", self.extraction
        yield "bluemarble, bf16 compiled / float32 eager", f"within {POINTS:g} point", self.accuracy

    def limits(self) -> Figure:
        """Measure what the card can do at most."""
        self.flops, self.bandwidth = work.ceilings(self.sizes)
        return Figure(f"{self.flops / 1e12:.3g} TFLOP/s, {self.bandwidth / 1e12:.3g} TB/s copy")

    def step(self, how: str) -> Figure:
        """Measure a step of GeoCLIP."""
        contrast.COMPILE_MODE = "max-autotune-no-cudagraphs" if how == AUTOTUNED else "default"
        torch.compiler.reset()
        begin, _, seconds = work.seconds_of(self.sizes, self.sizes.few, **HOW[how])
        contrast.COMPILE_MODE = "default"
        self.steps[how] = seconds
        met = 1000 * seconds <= STEP_MS if how == next(iter(HOW)) else None
        share = work.flop_of_step(self.sizes) / self.flops / seconds
        return Figure(f"{1000 * seconds:.3f} ms; {begin:.0f} s to start", share, met)

    def ratio(self) -> Figure:
        """Measure a step of the authors' code."""
        alone = work.peer_step(self.sizes)
        times = ", ".join(f"{alone / self.steps[how]:.1f} × {how}" for how in HOW if how in self.steps)
        default = self.steps.get(next(iter(HOW)))
        return Figure(f"{1000 * alone:.3f} ms: {times}", None, default and alone / default >= TIMES_PEER)

    def epochs(self) -> Figure:
        """Measure an epoch at MP-16's size; ten of a smaller one are scaled to the paper's steps."""
        begin, seconds, each = work.seconds_of(self.sizes, self.sizes.many, precision="bf16")
        minutes = each * self.sizes.paper_steps / 60
        share = work.flop_of_step(self.sizes) / self.flops / each
        text = (
            f"{begin:.0f} s to start, {seconds:.1f} s per epoch of {self.sizes.many:,}; the paper's: {minutes:.2f} min"
        )
        return Figure(text, share, minutes <= MINUTES)

    def half(self) -> Figure:
        """Measure batches gathered from half-precision features on the device."""
        moved, seconds, each = work.gathered(self.sizes)
        text = f"{moved / seconds / 1e12:.3g} TB/s; {each:,} bytes a photo, {each * 4.72e6 / 1e9:.1f} GB for MP-16"
        return Figure(text, moved / seconds / self.bandwidth)

    def system(self, name: str) -> Figure:
        """Measure the training of another system."""
        rate, flop = work.system(name, self.sizes)
        return Figure(f"{rate:,.0f} photos/s, {flop / 1e6:,.1f} MFLOP each", rate * flop / self.flops)

    def pixels(self, backbone: str) -> Figure:
        """Measure a training from JPEG files."""
        rate, waited, flop = work.from_pixels(self.sizes, backbone)
        text = f"{rate:,.0f} photos/s, waits {waited:.0%} of the time; {flop / 1e9:,.2f} GFLOP each"
        return Figure(text, rate * flop / self.flops, waited <= WAITED)

    def extraction(self) -> Figure:
        """Measure the extraction of features from JPEG files."""
        rate, memory, busy, kind = work.extraction(self.sizes)
        text = f"{rate:.0f} photos/s from JPEG, {memory:.0f}/s from memory; encoder busy {busy:.0%}; stored in {kind}"
        return Figure(text, rate / memory, busy >= BUSY)

    def accuracy(self) -> Figure:
        """Compare the accuracies of two ways to train."""
        ours = work.accuracies(self.sizes, precision="bf16")
        plain = work.accuracies(self.sizes, precision="fp32", compiled="no")
        worst = max(abs(ours[name] - plain[name]) for name in ours)
        text = ", ".join(f"{name[4:]} {ours[name]:.1f} / {plain[name]:.1f}" for name in ours)
        return Figure(text, None, worst <= POINTS)


def measured(sizes: work.Sizes, only: str) -> list[tuple[str, str, Figure]]:
    """Return all rows, printing each as soon as it is measured."""
    found = []
    for what, target, measure in Measurements(sizes).rows():
        if only not in what:
            continue
        try:
            figure = measure()
        except Exception as error:  # a figure that cannot be measured does not stop the others
            reason = (str(error).splitlines() or [""])[0][:150]
            figure = Figure(f"not measured: {type(error).__name__}: {reason}")
        print(f"{what}: {figure.text}", flush=True)
        found.append((what, target, figure))
    return found


def as_table(rows: list[tuple[str, str, Figure]]) -> str:
    """Return the rows in Markdown."""
    lines = ["| What | Target | | Figure | Share of the limit |", "|---|---|---|---|---:|"]
    for what, target, figure in rows:
        met = {True: "met", False: "missed", None: ""}[figure.met]
        share = "–" if figure.share is None else f"{100 * figure.share:.1f} %"
        lines.append(f"| {what} | {target} | {met} | {figure.text} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer photos, to check that everything runs")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on a CPU, to check that nothing has rotted")
    parser.add_argument("--only", default="", help="only measurements with this in their name, such as step")
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        print("skipped: no GPU available; --tiny runs all of it on the CPU, in sizes that mean nothing")
        return
    sizes = work.TINY if given.tiny else work.QUICK if given.quick else work.GPU
    name = torch.cuda.get_device_name() if sizes.device == "cuda" else "a CPU, in sizes that mean nothing"
    print(f"on {name}")
    print("\n" + as_table(measured(sizes, given.only)))


if __name__ == "__main__":
    main()
