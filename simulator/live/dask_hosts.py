"""Workers on a Dask cluster: distributed places what starts them, and messages go their own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from simulator.errors import LiveError
from simulator.live.hub import ONE_THREAD, Host, address_towards

CONNECT_S = 10.0


@contextmanager
def dask_hosts(address: str) -> Iterator[tuple[list[Host], str]]:
    """A host for each worker of a cluster, and the address of this machine that they see.

    Raises
    ------
    LiveError
        If there is no cluster.
    """
    try:
        from distributed import Client
    except ImportError:
        raise LiveError("--address: needs distributed (pip install 'stragglersim[live]')") from None
    if not _is_address(address):
        raise LiveError(f"--address: must be that of a scheduler, e.g. tcp://10.0.0.5:8786, got {address}")
    where = urlsplit(address)
    assert where.hostname is not None
    assert where.port is not None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise LiveError(f"--address: must be that of a scheduler that answers, got {address} ({error})") from None
    try:
        places = sorted(client.scheduler_info(n_workers=-1)["workers"])
        if not places:
            raise LiveError(f"--address: must be that of a cluster with workers, got none at {address}")
        yield [_host(client, place) for place in places], address_towards(where.hostname, where.port)
    finally:
        client.close(timeout=2)


def _is_address(text: str) -> bool:
    """True if a text is a host and a port."""
    where = urlsplit(text)
    try:
        return where.scheme == "tcp" and bool(where.hostname and where.port)
    except ValueError:  # a port that is none
        return False


def _host(client: Any, place: str) -> Host:
    """The machine of a worker of the cluster."""
    running: list[Any] = []

    def start(said: Mapping[str, Any]) -> None:
        text = json.dumps({**said, "path": []})
        running.append(client.submit(_run_nursery, text, workers=[place], pure=False, retries=0))

    def is_up() -> bool:
        return bool(running) and not running[0].done()

    def stop() -> None:
        with suppress(Exception):  # of a cluster that is gone there is nothing to be stopped
            running[0].result(timeout=1.0)

    def last_words() -> str:
        if not running or not running[0].done():
            return ""
        error = running[0].exception()
        return f"{place}: {error}" if error is not None else str(running[0].result())

    return Host(start, is_up, stop, last_words)


def _run_nursery(said: str) -> str:
    """Run the process that makes workers, until they have left; returns what went wrong. Runs on the cluster."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator.live.nursery"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | ONE_THREAD,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(said.encode() + b"\n")
    process.stdin.flush()
    words = process.stderr.read().decode(errors="replace").strip()
    process.stdin.close()
    process.wait()
    return (words.splitlines() or [""])[-1]
