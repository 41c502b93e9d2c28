"""The benchmarks that take a GPU or an hour run in tiny sizes, so that they are still there when they are needed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geobench import Dataset

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_every_figure_of_a_gpu_can_be_had_on_a_cpu_in_tiny_sizes(own_home):
    pytest.importorskip("geoclip")
    script = str(BENCHMARKS / "gpu.py")
    environment = os.environ | {"GEOBENCH_HOME": str(own_home)}
    done = subprocess.run(
        [sys.executable, script, "--tiny"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "not measured" not in done.stdout, done.stdout
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert {len(row) for row in rows} == {5}
    named = " ".join(row[0] for row in rows)
    for what in (
        "planet",
        "cplanet",
        "isn",
        "translocator",
        "geodecoder",
        "from pixels",
        "half precision",
        "extraction",
    ):
        assert what in named
    shares = [float(row[4].removesuffix(" % |")) for row in rows if not row[4].startswith("–")]
    assert len(shares) == 15 and min(shares) >= 0


@pytest.fixture
def mp16(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mp16

    monkeypatch.setattr(Dataset, "kinds", dict(Dataset.kinds))
    for name, few in {"STEPS": 2, "QUERIES": 20, "GALLERY": 100}.items():
        monkeypatch.setattr(mp16, name, few)
    return mp16


def test_every_stage_of_the_benchmark_at_mp16s_size_runs(mp16, tmp_path, own_home, one_thread):
    n = 1500
    (own_home / "features" / "key").mkdir(parents=True)
    (own_home / "features" / "key" / "about.json").write_text("{}")
    mp16.build_table(tmp_path, n)
    mp16.build_features(own_home / "features" / "key" / "features.npy", n)
    found = {}
    for stage in mp16.STAGES:
        figures = mp16.measured(stage.__name__, tmp_path, n)
        assert figures["seconds"] > 0 and figures["own_gb"] > 0 and figures["bytes"] + figures["flop"] > 0
        figures |= {"limit_s": 0.001}
        found[stage.__name__] = {n: figures | {"cpu": 1.0}, 2 * n: figures | {"cpu": 2.0}}
    table = mp16.as_table(found)
    assert len(re.findall(r"n\^1\.00", table)) == len(mp16.STAGES)


def test_the_features_of_the_benchmark_are_all_different(mp16, tmp_path, monkeypatch):
    monkeypatch.setattr(mp16, "BLOCK", 100)
    mp16.build_features(tmp_path / "features.npy", 450)
    features = np.load(tmp_path / "features.npy")
    assert features.shape == (450, 1, 768) and features.dtype == np.float16
    assert len(np.unique(features[:, 0], axis=0)) == 450
