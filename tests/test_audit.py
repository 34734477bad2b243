"""`make audit`: what it says of known vulnerabilities, and where their list cannot be reached."""

import json
import subprocess

import audit
import pytest

VULNERABLE = {"name": "old", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1"]}]}
FINE = {"name": "new", "version": "2.0", "vulns": []}


@pytest.mark.parametrize(
    "answers, status, said",
    [
        ([[VULNERABLE], [FINE]], 0, "1 packages checked, 0 known"),
        ([[VULNERABLE], [FINE, VULNERABLE]], 1, "old 1.0: X-1, mended in 1.1"),
        ([[FINE], [FINE]], 2, "nothing was checked (the index knows no vulnerability"),
        ([None, [FINE]], 2, "nothing was checked (no route)"),
    ],
)
def test_the_audit_says_what_it_found(answers, status, said, monkeypatch, tmp_path):
    waiting = iter(answers)

    def run(command, **options):
        answer = next(waiting)
        text = "" if answer is None else json.dumps({"dependencies": answer})
        return subprocess.CompletedProcess(command, 1, text, "trace\nno route\n")

    monkeypatch.setattr(subprocess, "run", run)
    found, lines = audit.audit(tmp_path / "constraints.txt")
    assert found == status and said in lines[0] and "\n" not in lines[0]
