"""The files in packaging/ are well-formed, and name only settings and metrics that exist."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from support import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGING = ROOT / "packaging"
# The table that a test of guard-server compares with its settings.
DOCUMENT = (ROOT / "docs" / "server-configuration.md").read_text()
SETTINGS = re.findall(r"^\| `([\w-]+)` \| `(GUARD_SERVER_\w+)` ", DOCUMENT, re.MULTILINE)
NAMES = {name for name, _ in SETTINGS}
VARIABLES = {variable for _, variable in SETTINGS}


def text(name: str) -> str:
    return (PACKAGING / name).read_text()


def files() -> list[Path]:
    return [path for path in PACKAGING.rglob("*") if path.is_file()]


def test_every_setting_in_the_files_exists() -> None:
    assert len(NAMES) > 15
    for path in files():
        found = path.read_text()
        assert set(re.findall(r"GUARD_SERVER_\w+", found)) <= VARIABLES, path.name
        for line in found.splitlines():
            if line.startswith(("ExecStart", "ENTRYPOINT")):
                flags = set(re.findall(r"--([\w-]+)", line))
                assert flags <= NAMES | {"config"}, line


def test_the_configuration_file_has_only_settings_that_exist() -> None:
    lines = text("guard-server.toml")
    given = tomllib.loads(lines)
    suggested = tomllib.loads(re.sub(r"^# (?=[\w-]+ = )", "", lines, flags=re.MULTILINE))
    assert set(given) < set(suggested) <= NAMES


def sections(unit: str) -> dict[str, list[tuple[str, str]]]:
    """The settings of each section of a unit file, in order; some are given twice."""
    found: dict[str, list[tuple[str, str]]] = {}
    section: list[tuple[str, str]] = []
    for line in unit.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(header[1], [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            section.append((name, value))
    return found


def test_the_unit_hardens_the_service() -> None:
    unit = sections(text("guard-server.service"))
    assert set(unit) == {"Unit", "Service", "Install"}
    service = dict(unit["Service"])
    config = tomllib.loads(text("guard-server.toml"))
    assert config["data-dir"] == f"/var/lib/{service['StateDirectory']}"
    assert service["User"] in text("sysusers.conf")
    for name, value in {
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "MemoryDenyWriteExecute": "yes",
        "StateDirectoryMode": "0700",
    }.items():
        assert service[name] == value
    assert int(service["LimitNOFILE"]) > 4096 + 8192


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # The program need not be installed here.
    unit = text("guard-server.service").replace("/usr/bin/guard-server", "/bin/true")
    path = tmp_path / "guard-server.service"
    path.write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", path]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_containers_run_without_privileges_on_a_read_only_root() -> None:
    compose = yaml.safe_load(text("compose.yaml"))
    assert set(compose["services"]) == {"guard-server", "app"}
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        dockerfile = (
            PACKAGING / service["build"]["context"] / service["build"]["dockerfile"]
        ).read_text()
        assert dockerfile.count("FROM ") >= 2, "built in stages"
        last = dockerfile.rpartition("\nFROM ")[2]
        assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE)
    assert list(compose["volumes"]) == ["guard-data"]


def test_the_nodes_of_the_cluster_share_their_stores_and_run_without_privileges() -> None:
    compose = yaml.safe_load(text("cluster/compose.yaml"))
    services = compose["services"]
    assert set(services) == {"node-1", "node-2", "nginx", "postgres", "clickhouse"}
    nodes = [services["node-1"], services["node-2"]]
    for node in nodes:
        assert node["environment"] == nodes[0]["environment"]
        assert {"GUARD_SERVER_CONTROL_URL", "GUARD_SERVER_TELEMETRY_URL"} <= set(
            node["environment"]
        )
        assert node["read_only"] is True
        assert node["cap_drop"] == ["ALL"]
    proxy = text("cluster/nginx.conf")
    for name in ("node-1", "node-2"):
        assert f"server {name}:8400" in proxy
    kept = int(re.findall(r"keepalive_timeout (\d+)s", proxy)[0])
    held = int(re.findall(r"proxy_read_timeout (\d+)s", proxy)[0])
    idle = re.findall(r"`GUARD_SERVER_IDLE_TIMEOUT` \| `(\d+)`", DOCUMENT)
    assert kept < int(idle[0])
    assert held > 55


def test_the_alerts_use_metrics_that_exist() -> None:
    rules = yaml.safe_load(text("alerts.yaml"))["groups"][0]["rules"]
    assert len(rules) > 3
    sources = "".join(
        path.read_text() for path in ROOT.glob("crates/guard-server/src/monitoring/*.rs")
    )
    registered = set(re.findall(r'register(?:_with_unit)?\(\s*"(\w+)"', sources))
    assert len(registered) > 10
    for rule in rules:
        used = re.findall(r"guard_server_(\w+)", rule["expr"])
        for name in used:
            plain = re.sub(r"(?:_total|_bucket|_count)$", "", name)
            assert re.sub(r"_(?:seconds|bytes)$", "", plain) in registered, name
