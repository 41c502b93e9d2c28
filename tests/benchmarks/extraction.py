"""Extraction at scale on a CPU: python tests/benchmarks/extraction.py [--images 100000]

Runs the real command on embedded crops with EfficientNet-Lite0, in a temporary GEOBENCH_HOME. Measures the resident
memory of all processes together, compared with that for 1,000 images, the share of the time that the encoder is busy,
and how many images are encoded twice after the process was killed (SIGKILL) and restarted.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from geobench import extract, get_dataset
from geobench.features.shards import SHARD_ROWS
from geobench_plugins.efficientnet_lite0 import EfficientNetLite0

FEW = 1000
KILLED = 20_000  # images of the extraction that is killed, at most
TILE = 32
SAMPLE_S = 0.05
MAX_EXTRA_MB, MIN_BUSY = 200, 0.9  # targets


def resident_mb(pid):
    """Return the resident memory in MB of a process and its descendants; shared pages count in each."""
    try:
        mine = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):  # it has just exited
        return 0.0
    return mine + sum(map(resident_mb, children))


def watched(command, home):
    """Run ``command``; return its output, its peak resident memory in MB, and its seconds."""
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(
        command, env=os.environ | {"GEOBENCH_HOME": home}, stdout=subprocess.PIPE, text=True
    ) as child:
        while child.poll() is None:
            peak = max(peak, resident_mb(child.pid))
            time.sleep(SAMPLE_S)
        if child.returncode:
            sys.exit(f"failed: {' '.join(command)}")
        return child.stdout.read(), peak, time.monotonic() - started


def features(images, workers):
    """Extract with the command; return its JSON output, the peak memory and the seconds."""
    command = [sys.executable, "-m", "geobench", "features", "bluemarble", "--split", "train", "--device", "cpu"]
    command += ["--encoder", "efficientnet_lite0", "--limit", str(images), "--workers", str(workers), "--json"]
    with tempfile.TemporaryDirectory() as home:
        printed, peak, seconds = watched(command, home)
    return json.loads(printed), peak, seconds


class Counting(EfficientNetLite0):
    """Writes to a file how many images it has encoded, including padding."""

    def __init__(self, counter):
        super().__init__()
        self.counter, self.encoded = counter, 0

    def encode_images(self, batch):
        features = super().encode_images(batch)
        self.encoded += len(batch)
        os.pwrite(self.counter, b"%12d" % self.encoded, 0)
        return features


def count(images, path):
    """Extract in this process and write the count to ``path``."""
    dataset = get_dataset("bluemarble")
    with Path(path).open("w") as counter:
        extract(dataset, dataset.table("train", images), Counting(counter.fileno()), purpose="train")


def twice(images):
    """Return how many of ``images`` are encoded twice after a kill halfway, and how many were encoded before it."""
    with tempfile.TemporaryDirectory() as home:
        counters = [Path(home, "before"), Path(home, "after")]
        commands = [[sys.executable, __file__, "--images", str(images), "--count", str(path)] for path in counters]
        environment = os.environ | {"GEOBENCH_HOME": home}
        with subprocess.Popen(commands[0], env=environment) as child:
            while encoded(counters[0]) < images / 2 + SHARD_ROWS / 3:  # in the middle of a shard
                if child.poll() is not None:
                    sys.exit("the extraction ended before it was killed")
                time.sleep(SAMPLE_S)
            child.send_signal(signal.SIGKILL)
        subprocess.run(commands[1], env=environment, check=True)
        before, after = map(encoded, counters)
    return before + after - images, before


def encoded(path):
    text = path.read_text() if path.exists() else ""
    return int(text) if text.strip() else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help=f"a multiple of {TILE}")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--count", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.images % TILE:
        parser.error(f"--images must be a multiple of {TILE}, so that no padding is counted.")
    if options.count:
        count(options.images, options.count)
        return
    few = features(FEW, options.workers)
    many = features(options.images, options.workers)
    print(f"{'images':>10s} {'peak resident':>14s} {'seconds':>9s} {'images/s':>9s} {'encoder busy':>13s}")
    for record, peak, seconds in (few, many):
        rate, busy = record["images_per_second_of_each"], record["encoder_busy"]
        print(f"{record['images']:10,} {peak:11,.0f} MB {seconds:9.1f} {rate:9.0f} {busy:13.1%}")
    more, busy = many[1] - few[1], many[0]["encoder_busy"]
    again, before = twice(min(options.images, KILLED // TILE * TILE))
    rows = [
        ("memory above that for 1,000 images", f"{more:.0f} MB", f"at most {MAX_EXTRA_MB} MB", more <= MAX_EXTRA_MB),
        ("encoder busy", f"{busy:.1%}", f"at least {MIN_BUSY:.0%}", busy >= MIN_BUSY),
        (f"encoded twice, killed after {before:,}", f"{again:,}", f"at most {SHARD_ROWS}", 0 <= again <= SHARD_ROWS),
    ]
    print()
    for what, measured, target, met in rows:
        print(f"{what:40s} {measured:>10s}   {target:18s} {'met' if met else 'NOT MET'}")
    sys.exit(not all(met for *_, met in rows))


if __name__ == "__main__":
    main()
