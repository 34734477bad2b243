"""Known vulnerabilities of the pinned packages: `make audit`.

Exit status 1 where there are any, 2 where their list cannot be reached. A mirror of the package
index answers without one: so a version that is known to be vulnerable is looked up first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PINS = Path(__file__).resolve().parents[1] / "constraints.txt"
VULNERABLE = "pillow==9.0.0"


def lookup(pins: Path) -> list[dict]:
    """What pip-audit says of the packages of a requirements file. Raises OSError without a list."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--format", "json"]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines()
        raise OSError(lines[-1] if lines else "no answer") from None


def audit(pins: Path) -> tuple[int, list[str]]:
    """Exit status, and what to say of the packages of a requirements file."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "requirements.txt"
            probe.write_text(f"{VULNERABLE}\n", encoding="utf-8")
            if not any(package.get("vulns") for package in lookup(probe)):
                raise OSError(f"the index knows no vulnerability of {VULNERABLE}")
        packages = lookup(pins)
    except OSError as error:
        return 2, [f"error: nothing was checked ({error}): the list of vulnerabilities is online."]
    known = [
        f"{package['name']} {package['version']}: {each['id']}, "
        f"mended in {', '.join(each['fix_versions']) or 'no version yet'}"
        for package in packages
        for each in package.get("vulns", ())
    ]
    summary = f"{len(packages)} packages checked, {len(known)} known vulnerabilities"
    return int(bool(known)), [*known, summary]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pins", nargs="?", type=Path, default=PINS, help="requirements file")
    status, lines = audit(parser.parse_args().pins)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
