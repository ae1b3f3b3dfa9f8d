"""The process that makes workers: it has imported everything once, and forks.

Run as `python -m simulator.live.nursery`: its standard input is one line of JSON, and stays open for as long as the
master lives. Workers that end before are replaced.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

from simulator.errors import OUTSIDE, place_in, told
from simulator.live.wire import pack
from simulator.live.worker import Worker, die_with_parent
from workloads.base import Workload

LEFT = 23  # exit status of a worker that leaves of its own accord
MOST_LIVES = 4  # of a worker: the first and three more
LOOK_S = 0.05  # between two looks at who has ended


def workload_of(said: dict[str, Any], folder: Path) -> Workload:
    """The workload that a scenario names."""
    from simulator.plugins.building import from_values
    from simulator.plugins.kinds import WORKLOAD_TABLE

    workload, problems = from_values(said, ("training", "workload"), WORKLOAD_TABLE, folder)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    assert isinstance(workload, Workload)
    return workload


class Nursery:
    """Workers by their process."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self._workload = workload_of(said["workload"], Path(said["folder"]))
        getattr(self._workload, "data", None)  # made once, and shared
        self._children: dict[int, tuple[int, int]] = {}  # worker and generation, by process

    def run(self) -> None:
        """Make workers, and new ones for those that end, until the master is gone or all have left."""
        for number in self._said["workers"]:
            self._fork(number, 0)
        while self._children:
            if self._master_is_gone():
                break
            self._replace()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _master_is_gone(self) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], LOOK_S)
        return bool(ready) and not os.read(sys.stdin.fileno(), 1)

    def _replace(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number, generation = self._children.pop(pid)
            if os.waitstatus_to_exitcode(status) != LEFT:
                self._fork(number, generation + 1)

    def _fork(self, number: int, generation: int) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = number, generation
            return
        status = 1
        try:
            die_with_parent()
            os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # the pipe is the nursery's
            said = self._said
            if generation < MOST_LIVES:
                Worker(said["address"], said["token"], number, generation, self._workload, said["silence_s"]).run()
            else:
                _say_gone(said["address"], {"worker": number, "generation": generation, "token": said["token"]})
            status = LEFT
        except BaseException as error:  # whatever a workload raises, also to leave
            print(told(error, place_in(error, OUTSIDE)), file=sys.stderr, flush=True)
        finally:
            os._exit(status)


def _say_gone(address: str, header: dict[str, Any]) -> None:
    import zmq

    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(address)
    socket.send_multipart(pack("gone", header))
    socket.close(linger=2000)
    context.term()


def main() -> None:
    """Read what is to be done, and do it."""
    die_with_parent()
    said = json.loads(_line(sys.stdin.fileno()))
    sys.path[:0] = said["path"]
    Nursery(said).run()


def _line(descriptor: int) -> bytes:
    """Read up to the end of a line, and no further: the end of all is waited for later."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(descriptor, 1)
        if not more:
            break
        line += more
    return line


if __name__ == "__main__":
    main()
