"""Run a job of geobench in its own process and kill it by SIGKILL at a given moment; used by test_reliability_kills.

Reads one JSON object per line: ``job``, ``home``, ``work``, and ``after_s`` or ``at_event`` (kill before that change of
a file below ``work``; with ``torn``, a file opened for writing is left as opening leaves it). Replies with ``signal``
(0 if the job ended first), ``events`` and ``seconds``. Processes are forked from one that has imported everything and
computed nothing, so that each starts quickly.
"""

import importlib
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import torch

import geobench
from geobench import Options, get_dataset, get_encoder
from geobench.features import shards as feature_shards
from geobench.plugins import registry

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod", "os.link", "shutil.copyfile"}
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def train():
    geobench.train("geoclip", "mine", device="cpu")


def run():
    geobench.train("knn", "mine", device="cpu")  # the run trains geoclip as this was trained
    outcome = geobench.run(
        ["knn", "geoclip"], ["mine"], galleries=["training:20", "sphere:200"], options=Options(top_k=3), device="cpu"
    )
    if outcome.failures:
        raise RuntimeError(outcome.failures)


def extraction():
    dataset = get_dataset("mine")
    geobench.extract(dataset, dataset.table("test"), get_encoder("tiny"), crops=10, batch_size=20)


class Watch:
    """Counts the changes of files below a folder, and ends this process before the one of a given number."""

    def __init__(self, folder, end_before, torn):
        self.folder, self.end_before, self.torn, self.events = folder, end_before, torn, 0
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and flags & FOR_WRITING
        else:
            path, changes = arguments[0] if arguments else "", event in CHANGES
        if changes and str(path).startswith(self.folder):
            if self.events == self.end_before:
                self.events += 1
                if self.torn and event == "open":
                    os.open(path, flags, 0o644)
                os.kill(os.getpid(), signal.SIGKILL)
            self.events += 1


def child(asked, answer):
    os.environ["GEOBENCH_HOME"] = asked["home"]
    os.chdir(asked["work"])
    watch = Watch(asked["work"], asked.get("at_event"), asked.get("torn"))
    started = time.monotonic()
    try:
        {"train": train, "run": run, "extraction": extraction}[asked["job"]]()
    except BaseException:
        os.write(answer, json.dumps({"error": traceback.format_exc()}).encode())
        os._exit(1)
    told = {"signal": 0, "events": watch.events, "seconds": time.monotonic() - started}
    if asked.get("imports"):
        told["imports"] = sorted(sys.modules)
    os.write(answer, json.dumps(told).encode())
    os._exit(0)


def answered(asked):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        child(asked, write)
    os.close(write)
    if "after_s" in asked:
        time.sleep(asked["after_s"])
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read) as file:
        told = file.read()
    os.waitpid(pid, 0)
    return json.loads(told) if told else {"signal": signal.SIGKILL}


def main():
    spec = importlib.util.spec_from_file_location("tiny_fakes", Path(__file__).with_name("conftest.py"))
    fakes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fakes)
    torch.set_num_threads(1)
    registry().encoders[fakes.TINY] = lambda name: fakes.TinyEncoder()
    feature_shards.SHARD_ROWS = 4
    for line in sys.stdin:
        told = answered(json.loads(line))
        for name in told.pop("imports", ()):  # what a job imports as it goes is there for the next one
            with suppress(ImportError):  # not all that is in sys.modules can be imported by its name
                importlib.import_module(name)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
