"""A cluster of three nodes for the tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from engines import postgres

from cluster.cluster import ClickHouseServer, Cluster


@pytest.fixture
def new_cluster(
    server_binary: Path, tmp_path: Path, cleanup: ExitStack
) -> Callable[[int], Cluster]:
    """Starts a PostgreSQL, a ClickHouse, and so many nodes."""

    def start(nodes: int) -> Cluster:
        control = cleanup.enter_context(postgres.running())
        telemetry = ClickHouseServer(tmp_path / "clickhouse")
        cleanup.callback(telemetry.stop)
        cluster = Cluster(server_binary, tmp_path, control, telemetry.start())
        cleanup.callback(cluster.close)
        for _ in range(nodes):
            cluster.add()
        return cluster

    return start


@pytest.fixture(scope="module")
def cluster(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that the tests of a module share."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        control = stack.enter_context(postgres.running())
        telemetry = ClickHouseServer(folder / "clickhouse")
        stack.callback(telemetry.stop)
        cluster = Cluster(server_binary, folder, control, telemetry.start())
        stack.callback(cluster.close)
        for _ in range(3):
            cluster.add()
        yield cluster
