"""Stories of trainings that would give another model than they say: interrupted ones, and those that a run begins."""

import os
import shutil
import signal
from contextlib import contextmanager

import pytest

from geobench import Options, run, train
from geobench.checkpoints import get_checkpoints
from geobench.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")
ON_CROPS = {"data": "bluemarble", "encoder": "tiny", "limit": 100, "workers": 0}
EARLY_STOPPING = {"epochs": 6, "holdout": 0.3, "patience": 1, "lr": 0.01}
SMALL = {"batch_size": 16, "queue_length": 32, "hidden_dim": 16}  # 70 images to train on: 4 steps an epoch


class CtrlC(Progress):
    """Presses Ctrl-C after a step of the training."""

    def __init__(self, step):
        self.left, self.lines = step, []

    def say(self, message):
        self.lines.append(message)

    @contextmanager
    def track(self, what, total, unit, done=0):
        yield self.advance if what.startswith("train") else lambda n, **figures: None

    def advance(self, n, **figures):
        self.left -= n
        if n and not self.left:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [7, 8])
def test_early_stopping_interrupted_at_the_end_of_an_epoch_ends_with_the_same_model(own_home, step):
    whole = train("geoclip", settings=SMALL | EARLY_STOPPING, **ON_CROPS)
    shutil.rmtree(own_home / "checkpoints")
    with pytest.raises(KeyboardInterrupt):
        train("geoclip", settings=SMALL | EARLY_STOPPING, progress=CtrlC(step), **ON_CROPS)
    again = train("geoclip", settings=SMALL | EARLY_STOPPING, **ON_CROPS)
    assert (again.id, again.weights) == (whole.id, whole.weights), "the held-out loss of that epoch counts"


def test_a_forced_training_does_not_go_on_from_the_state_of_one_on_the_features_of_before(own_home):
    def interrupted(step, **how):
        with pytest.raises(KeyboardInterrupt):
            train("geoclip", settings=SMALL, progress=CtrlC(step), **ON_CROPS, **how)

    def said(**how):
        progress = CtrlC(0)
        train("geoclip", settings=SMALL, progress=progress, **ON_CROPS, **how)
        return [line for line in progress.lines if "resuming" in line]

    interrupted(5)
    assert said(force=True) == []
    interrupted(7, force=True)
    assert said(force=True) == ["train geoclip: resuming from step 7."], "it was on the new features, too"


def test_a_model_that_a_run_trains_first_learns_from_the_fraction_of_a_limit_that_the_others_learnt_from(cli, photos):
    images, table = photos(60)
    cli("datasets", "add", "mine", "--images", images, "--metadata", table, "--encoder", "tiny")
    given = train("knn", "mine", limit=40, fraction=0.5, workers=0)
    run([given.spec, "most-frequent"], "bluemarble", limit=5, options=Options(workers=0))
    (first,) = get_checkpoints("most-frequent")
    assert (first.images, first.table_hash) == (given.images, given.table_hash)
