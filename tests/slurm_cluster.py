"""A real Slurm of two nodes on this machine, for tests: every daemon listens on 127.0.0.1 and lives in one folder.

Debian and Ubuntu: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge slurmdbd
mariadb-server-core mariadb-client-core. It runs as root, needs neither systemd nor cgroups, and is up in 3 seconds.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged", "slurmdbd", "mariadbd", "mariadb-install-db")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdParameters=config_overrides
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=5
ReturnToService=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/munge/socket
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=8000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=2 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=5 PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
DATABASE = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageUser=root
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
"""


def why_not():
    """Return why there can be no cluster here, empty if there can."""
    missing = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
    if missing:
        return f"needs Slurm: no {', '.join(missing)} here (docs/clusters.md says how to install it)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


class Cluster:
    """The cluster in ``folder``, which must be new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self.environment = os.environ | self.variables

    def start(self) -> None:
        """Start every daemon, and wait until both nodes are idle."""
        for name in ("state", "spool", "log", "munge", "db"):
            (self.folder / name).mkdir(mode=0o755, parents=True)
        values = {"folder": self.folder, "host": socket.gethostname().partition(".")[0], "ports": _free_ports(4)}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**values))
        (self.folder / "slurmdbd.conf").write_text(DATABASE.format(**values))
        (self.folder / "slurmdbd.conf").chmod(0o600)  # slurmdbd refuses anything wider
        (self.folder / "munge/key").write_bytes(os.urandom(1024))
        (self.folder / "munge/key").chmod(0o600)
        munge = {
            name: f"--{name}={self.folder}/munge/{name.removesuffix('-file')}" for name in ("key-file", "pid-file")
        }
        munge |= {name: f"--{name}={self.folder}/munge/{name}" for name in ("socket", "log-file", "seed-file")}
        self.run("munged", "--force", *munge.values())
        self._start_database()
        database = {"SLURM_CONF": str(self.folder / "slurmdbd.conf"), "MYSQL_UNIX_PORT": f"{self.folder}/db/socket"}
        self.run("slurmdbd", **database)
        self._until(lambda: "test" in self.run("sacctmgr", "--immediate", "add", "cluster", "test", check=False))
        self.run("slurmctld", "-c")
        for node in ("n1", "n2"):
            self.run("slurmd", "-N", node)
        self._until(lambda: self.run("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == "2")

    def _start_database(self) -> None:
        files, say = f"{self.folder}/db", ["--no-defaults", f"--socket={self.folder}/db/socket", "--user=root"]
        prepare = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        self.run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={files}/data", *prepare)
        small = ["--skip-networking", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]
        small += ["--innodb-flush-log-at-trx-commit=0", "--innodb-use-native-aio=0", "--innodb-lock-wait-timeout=900"]
        command = ["mariadbd", *say, f"--datadir={files}/data", f"--pid-file={self.folder}/mariadbd.pid", *small]
        with (self.folder / "log/mariadbd.log").open("wb") as log:
            self.mariadb = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        create = ["mariadb", *say, "--execute=create database if not exists slurm; select 'ready'"]
        self._until(lambda: "ready" in self.run(*create, check=False))

    def stop(self) -> None:
        """Stop what was started: by pid files, nothing by name."""
        self.run("scancel", "--user=root", check=False)
        time.sleep(1)
        for path in [*self.folder.glob("slurmd.*.pid"), *self.folder.glob("slurm*.pid"), self.folder / "munge/pid"]:
            if path.exists() and path.read_text().strip():
                subprocess.run(["kill", path.read_text().strip()], check=False, capture_output=True)
        if hasattr(self, "mariadb"):
            self.mariadb.terminate()
            self.mariadb.wait(30)

    def run(self, *command: str, check: bool = True, **environment: str) -> str:
        """Return what a command of Slurm prints."""
        log = self.folder / "log" / f"{command[0]}.out"  # a pipe would be kept open by a daemon
        with log.open("w+b") as out:
            done = subprocess.run(
                command, env=self.environment | environment, stdout=out, stderr=out, timeout=60, check=False
            )
        said = log.read_text(errors="replace")
        assert not check or done.returncode == 0, f"{' '.join(command)}: {said[-2000:]}"
        return said

    def running(self) -> dict[str, str]:
        """Return the node of each job that runs."""
        rows = self.run("squeue", "--noheader", "--array", "--states=R", "--format=%i %N").split("\n")
        return dict(row.split() for row in rows if row.strip())

    def kill(self, job: str) -> None:
        """End all processes of a job by SIGKILL, as the system does where memory is short."""
        first, _, index = job.partition("_")
        name = f"SLURM_ARRAY_JOB_ID={first}\0" if index else f"SLURM_JOB_ID={job}\0"
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (entry / "environ").read_text(errors="replace"), (entry / "cmdline").read_text()
            except OSError:
                continue
            of_it = name in environment and (not index or f"SLURM_ARRAY_TASK_ID={index}\0" in environment)
            if of_it and ("submitit" in command or "multiprocessing" in command):
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)

    def _until(self, ready) -> None:
        end = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < end, f"Slurm did not start: see {self.folder}/log"
            time.sleep(0.2)


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
