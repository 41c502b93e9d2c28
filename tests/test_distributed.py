"""Two processes under torchrun train the same model as one process."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = """
import sys
import numpy as np, torch
from geobench.distributed import current, joined
from geobench.training.engine import Schedule, Training
from geobench.features.loaders import ResidentFeatures
from geobench.training.heads import LinearHeads
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast
from geobench_plugins.geoclip.network import GeoClip

kind, folder = sys.argv[1:]
rng = np.random.default_rng(0)
n = 64
features = rng.normal(size=(n, 2, 12)).astype(np.float32)
sizes = dict(hidden_dim=16, head_dim=16, dim=8, fourier_rows=8, sigma_max=4.0)
with joined("cpu") as group:
    torch.manual_seed(0)
    if kind == "classifier":
        network, config = LinearHeads(12, [3, 5]), Schedule(batch_size=16, epochs=3, lr=1e-3)
        targets = torch.tensor(np.stack([rng.integers(-1, 3, n), rng.integers(-1, 5, n)], axis=1))
    else:
        config = GeoClipConfig(batch_size=16, queue_length=24, epochs=3, lr=1e-3, symmetric=kind == "symmetric",
                               holdout=0.25, patience=3, **sizes)
        network = Contrast(GeoClip(config, 12), config, seed=0)
        points = np.stack([rng.uniform(-80, 80, n), rng.uniform(-180, 180, n)], axis=1)
        targets = torch.tensor(points, dtype=torch.float32)
    Training(what="t", network=network, loss=network.loss, loader=ResidentFeatures(features, "cpu"),
             indices=np.arange(n), targets=targets, schedule=config, seed=0, device="cpu").run()
    from safetensors.torch import save_file
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(state, f"{folder}/{kind}-{group.size}-{group.rank}.st")
"""


GRADIENT = """
import sys
import torch
from safetensors.torch import save_file
from geobench.distributed import joined
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast
from geobench_plugins.geoclip.network import GeoClip

kind, folder = sys.argv[1:]
with joined("cpu") as group:
    config = GeoClipConfig(batch_size=256, queue_length=512, hidden_dim=256, sigma_max=8.0)
    torch.manual_seed(0)
    network = Contrast(GeoClip(config, 64), config, seed=0).double().train()
    features = torch.randn(256, 2, 64, dtype=torch.float64)
    places = (torch.rand(256, 2, dtype=torch.float64) - 0.5) * torch.tensor([170.0, 360.0])
    mine = group.part(256)
    network.loss(features[mine], places[mine], torch.Generator().manual_seed(0)).backward()
    group.average_gradients(network.parameters())
    gradients = {name: p.grad for name, p in network.named_parameters()}
    save_file(gradients, f"{folder}/{kind}-{group.size}-{group.rank}.st")
"""


def start(tmp_path, kind, processes, text=SCRIPT):
    script = tmp_path / "script.py"
    script.write_text(text)
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=0", "--standalone"]
    command = [sys.executable, *(launch if processes > 1 else []), str(script), kind, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return [load_file(tmp_path / f"{kind}-{processes}-{rank}.st") for rank in range(processes)]


@pytest.mark.parametrize("kind", ["geoclip", "symmetric", "classifier"])
def test_two_processes_end_with_the_weights_of_one(tmp_path, kind):
    (alone,) = start(tmp_path, kind, 1)
    first, second = start(tmp_path, kind, 2)
    for name, expected in alone.items():
        np.testing.assert_array_equal(first[name], second[name])
        scale = np.abs(expected).max()
        assert np.abs(first[name] - expected).max() <= 1e-5 * scale, name


def test_two_processes_have_the_gradient_of_one_to_the_last_digits_of_float64(tmp_path):
    # Adam's first steps go by the sign of a gradient: in float32 they would hide an error behind rounding.
    (alone,) = start(tmp_path, "gradient", 1, GRADIENT)
    both, _ = start(tmp_path, "gradient", 2, GRADIENT)
    for name, expected in alone.items():
        assert np.abs(both[name] - expected).max() <= 1e-12 * np.abs(expected).max(), name


def test_the_command_trains_under_torchrun_and_leaves_one_checkpoint(tmp_path, own_home):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "geobench"]
    small = ["batch_size=32", "queue_length=64", "hidden_dim=16", "epochs=2"]
    sets = [word for text in small for word in ("--set", text)]
    command = [*launch, "train", "geoclip", "--limit", "96", *sets]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((own_home / "checkpoints/geoclip").glob("*/checkpoint.json"))) == 1
    assert done.stderr.count("saved geoclip@bluemarble-s0-") == 1
