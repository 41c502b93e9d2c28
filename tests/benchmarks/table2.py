"""The rows of the paper's Tables 2a and 2b on embedded imagery, three seeds each.

    python tests/benchmarks/table2.py --limit 21000 --output results/reference/table-2/bluemarble.csv

Every row is one set of switches of GeoCLIP; σ is scaled to the imagery, which resolves tens of km and not streets.
Trainings that are done are kept, so that the script goes on where it was stopped.
"""

import argparse
from pathlib import Path

import pandas as pd

from geobench import run, train
from geobench.progress import ConsoleProgress

COMMON = {"hidden_dim": 512, "batch_size": 256, "epochs": 5, "lr": 1e-3, "lr_decay": 0.7}
NOISE = {"batch_noise_m": 5000.0, "queue_noise_m": 20000.0}
NO_QUEUE = {"queue_length": 0}
QUEUE = {"queue_length": 512}
COARSE, MEDIUM, FINE = [1.0], [4.0], [16.0]

ROWS = {
    ("2a", "MLP (baseline)"): {"projection": "none", "fourier": False, "hierarchies": 1} | NO_QUEUE,
    ("2a", "+EEP"): {"fourier": False, "hierarchies": 1} | NO_QUEUE,
    ("2a", "+EEP +RFF"): {"sigma_list": MEDIUM} | NO_QUEUE,
    ("2a", "+EEP +RFF +DQ"): {"sigma_list": MEDIUM} | QUEUE,
    ("2b", "GeoCLIP (Coarse)"): {"sigma_list": COARSE} | QUEUE,
    ("2b", "GeoCLIP (Medium)"): {"sigma_list": MEDIUM} | QUEUE,
    ("2b", "GeoCLIP (Fine)"): {"sigma_list": FINE} | QUEUE,
    ("2b", "GeoCLIP (w/ H)"): {"sigma_list": COARSE + MEDIUM + FINE} | QUEUE,
}
SCORES = ["acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "median_km"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=21_000, help="training crops")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--output", type=Path, default=Path("results/reference/table-2/bluemarble.csv"))
    parser.add_argument("--results", type=Path, default=Path("results/table-2"))
    arguments = parser.parse_args()
    progress, found = ConsoleProgress(), []
    for seed in map(int, arguments.seeds.split(",")):
        for (table, method), switches in ROWS.items():
            settings = COMMON | NOISE | switches
            checkpoint = train("geoclip", settings=settings, seed=seed, limit=arguments.limit, progress=progress)
            found.append((table, method, seed, checkpoint, f"training:{arguments.limit}"))
        # As many images a cell as on the 21,000 crops of the data set's own settings.
        checkpoint = train("classifier", seed=seed, limit=arguments.limit, progress=progress)
        found.append(("2b", "C (w/ H)", seed, checkpoint, None))
    rows = []
    for table, method, seed, checkpoint, gallery in found:
        galleries = [gallery] if gallery else None
        outcome = run(
            [checkpoint.spec], ["bluemarble"], galleries=galleries, folder=arguments.results, progress=progress
        )
        (result,) = outcome.results
        scores = {name: round(result.scores[name], 3) for name in SCORES}
        rows.append(
            {"table": table, "method": method, "seed": seed, "n": result.n, "gallery": result.gallery, **scores}
        )
    frame = pd.DataFrame(rows).sort_values(["table", "method", "seed"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.output, index=False)
    means = frame.groupby(["table", "method"])[SCORES].agg(["mean", "std"]).round(2)
    print(means.to_string())


if __name__ == "__main__":
    main()
