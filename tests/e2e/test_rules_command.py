"""The command line changes the rules of any project, and the audit log has every change."""

import subprocess
from pathlib import Path

import pytest
import requests
from support.guard_server import ADMIN_TOKEN, GuardServer
from support.process import PATIENCE_SECONDS


@pytest.fixture
def shop(server: GuardServer) -> GuardServer:
    """A server with the project shop."""
    answer = requests.post(
        f"{server.url}/api/v1/projects",
        json={"name": "shop"},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        timeout=PATIENCE_SECONDS,
    )
    assert answer.ok, answer.text
    return server


def test_rules_of_a_named_project_are_changed_and_no_other(
    shop: GuardServer, tmp_path: Path
) -> None:
    draft = tmp_path / "draft.json"
    draft.write_text('{"message": "closed"}')

    def rules(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [shop.binary, "--data-dir", tmp_path / "data", "rules", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for arguments in (
        ("--project", "shop", "ban", "192.0.2.7", "--reason", "scans"),
        ("draft", str(draft), "--project", "shop"),
        ("draft", "--discard", "--project", "shop"),
    ):
        done = rules(*arguments)
        assert done.returncode == 0, done.stderr
    for project, expected in (("shop", 1), ("default", 0)):
        entries = shop.get(f"/api/v1/projects/{project}/rules/entries")["entries"]
        assert len(entries) == expected, project
    told = shop.get("/api/v1/audit", project="shop", limit=10)["items"]
    assert [(entry["action"], entry["who"]) for entry in told] == [
        ("rules.discard_draft", "cli"),
        ("rules.save_draft", "cli"),
        ("rules.add", "cli"),
        ("project.add", told[-1]["who"]),
    ]
    assert told[2]["after"] == {"version": 1, "reason": "scans"}
    missing = rules("--project", "nowhere", "list")
    assert missing.returncode == 1
    assert "there is no project nowhere" in missing.stderr
