"""Fail if the wheel lacks anything that the package needs at run time: every file of it that git knows."""

from __future__ import annotations

import subprocess
import sys
import zipfile


def main(wheel: str) -> int:
    tracked = subprocess.run(["git", "ls-files", "agent_sessions"], check=True, capture_output=True, text=True)  # noqa: S607
    packed = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in tracked.stdout.split() if name not in packed]
    for name in missing:
        print(f"{wheel} lacks {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
