"""Processes of a run that something else has started: `torchrun`, SLURM, or the user on each machine.

They all begin at once. The first one prepares (the run folder, tokens and text features on disk), the others come after
it and find what it has made. All of them say that they are ready before training, so that one that cannot (its data is
missing) ends all with one line instead of letting the others wait. Processes that Lightning starts by itself come when
the first one is in training already, and need nothing of this.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mld.errors import ConfigError, MldError, one_line
from mld.training.run_config import ParallelConfig, RunConfig

PATIENCE = timedelta(days=7)  # the tokens of a million clips take a while
LOST = re.compile(r"(closed|reset) by peer|broken pipe|gloo/transport|NCCL|timed out waiting|TCPStore", re.IGNORECASE)


def environment() -> ClusterEnvironment | None:
    """What has started this process as one of several; none for the user or Lightning."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "SLURM_NTASKS" in os.environ and SLURMEnvironment.detect():
        return SLURMEnvironment(auto_requeue=False)  # a stop is ours to handle
    return None


def placed(config: RunConfig) -> RunConfig:
    """The config with as many devices and machines as processes were started; as it is where none were.

    `ConfigError` where it asks for another number, or for devices that are not there."""
    parallel = config.training.parallel
    if (started := _started()) is not None:
        devices, nodes, by = started
        wanted = parallel.devices, parallel.num_nodes
        if wanted not in ((1, 1), (devices, nodes)):
            asked = f"devices={wanted[0]} num_nodes={wanted[1]}"
            told = f"{by} has started {devices} processes on each of {nodes} machines"
            raise ConfigError(f"training.parallel: {asked}, but {told}; start as many, or leave both settings out")
        parallel = replace(parallel, devices=devices, num_nodes=nodes)
        config = replace(config, training=replace(config.training, parallel=parallel))
    elif "NODE_RANK" in os.environ and "LOCAL_RANK" not in os.environ:
        rank_zero_only.rank = int(os.environ["NODE_RANK"]) * parallel.devices
    _check_devices(parallel)
    return config


def _started() -> tuple[int, int, str] | None:
    """Processes on each machine, machines, and who has started them."""
    found, told = environment(), os.environ
    if isinstance(found, TorchElasticEnvironment):
        local = int(told.get("LOCAL_WORLD_SIZE", 1))
        return local, max(1, found.world_size() // local), "torchrun"
    if isinstance(found, SLURMEnvironment):
        nodes = int(told.get("SLURM_NNODES", 1))
        return max(1, found.world_size() // nodes), nodes, "SLURM (srun)"
    return None


def _check_devices(parallel: ParallelConfig) -> None:
    there = torch.cuda.device_count()
    if parallel.accelerator == "gpu" and not there and not torch.backends.mps.is_available():
        raise ConfigError("training.parallel.accelerator is 'gpu', but torch sees none; take 'auto' or 'cpu'")
    if parallel.accelerator != "cpu" and 0 < there < parallel.devices:
        advice = f"set devices={there}, or accelerator=cpu"
        raise ConfigError(f"training.parallel.devices is {parallel.devices}, this machine has {there} GPUs; {advice}")


@dataclass
class Meeting:
    """What the processes of a run tell each other outside training. rank, count: which process of how many this is, of
    those that prepare; (0, 1) where there is no need to meet."""

    rank: int = 0
    count: int = 1
    address: str = ""
    port: int = 0
    _store: Any = None
    _round: int = field(default=0)

    @classmethod
    def here(cls, parallel: ParallelConfig) -> Meeting:
        """That of the processes that were started together with this one."""
        if (found := environment()) is not None:
            return cls(found.global_rank(), found.world_size(), found.main_address, found.main_port)
        told = os.environ
        if parallel.num_nodes > 1 and "LOCAL_RANK" not in told and {"MASTER_ADDR", "MASTER_PORT"} <= told.keys():
            node = int(told.get("NODE_RANK", 0))
            return cls(node, parallel.num_nodes, told["MASTER_ADDR"], int(told["MASTER_PORT"]))
        return cls()

    @contextlib.contextmanager
    def first_one_first(self) -> Iterator[Turn]:
        """The first process enters the block at once, the others when it calls `ready` or leaves it; `MldError` for all
        where one of them fails before."""
        turn = Turn(self, self._round)
        self._round += 1
        try:
            if self.count > 1 and self.rank:
                turn.wait(("prepared",))
            yield turn
            turn.prepared()
        except BaseException as error:
            turn.failed(error)
            raise

    def store(self) -> Any:
        """The one that torch itself meets by, or will."""
        if self._store is None:
            agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            self._store = torch.distributed.TCPStore(
                self.address, self.port, None, self.rank == 0 and not agent, PATIENCE, wait_for_workers=False,
                multi_tenant=True,
            )  # fmt: skip
        return self._store


@dataclass
class Turn:
    """One preparation of all processes."""

    meeting: Meeting
    number: int
    training: bool = False

    def ready(self) -> None:
        """This process is about to train; all go on when all are."""
        if self.meeting.count == 1:
            return
        self.prepared()
        with _lost_is_told():
            self.meeting.store().set(self._key(f"ready {self.meeting.rank}"), "1")
        self.wait(tuple(f"ready {rank}" for rank in range(self.meeting.count)))
        self.training = True

    def prepared(self) -> None:
        if self.meeting.count > 1 and not self.meeting.rank:
            with _lost_is_told():
                self.meeting.store().set(self._key("prepared"), "1")

    def failed(self, error: BaseException) -> None:
        """Tell the others, if they may still be waiting."""
        if self.meeting.count == 1 or self.training or isinstance(error, OtherFailed):
            return
        why = str(error) if isinstance(error, MldError) else type(error).__name__
        told = f"process {self.meeting.rank}, {socket.gethostname()}: {why}"
        with contextlib.suppress(RuntimeError):
            self.meeting.store().set(self._key("failed"), told)

    def wait(self, words: tuple[str, ...]) -> None:
        """Until all of these have been said; `OtherFailed` where a process says that it cannot."""
        keys, pause = [self._key(word) for word in words], 0.02
        with _lost_is_told():
            while not self.meeting.store().check(keys):
                if self.meeting.store().check([self._key("failed")]):
                    raise OtherFailed(one_line(self.meeting.store().get(self._key("failed")).decode()))
                time.sleep(pause)
                pause = min(1.0, 1.5 * pause)

    def _key(self, word: str) -> str:
        return f"mld/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{self.number}/{word}"


class OtherFailed(MldError):
    """Another process of the run cannot go on, and says why."""


@contextlib.contextmanager
def _lost_is_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower one for a store that is gone
        raise MldError("another process of this run has ended before training began; its message says why") from error


@contextlib.contextmanager
def losing_others(where: str, several: bool) -> Iterator[None]:
    """`MldError` where training fails because another process is gone. where: how to go on."""
    try:
        yield
    except RuntimeError as error:
        if not several or not LOST.search(str(error)):
            raise
        raise MldError(one_line(f"another process of this run has ended or cannot be reached; {where}")) from error
