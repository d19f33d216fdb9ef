# SPDX-License-Identifier: Apache-2.0
"""Runs the C program of the same name in place of this process."""
import os
import shutil
import sys

OTHER_NAMES = {"mc_store_rest_server": "mooncake_store_service"}


def find(name, on_path=True):
    """MOONCAKE_BIN_DIR, the package's own bin folder, then PATH."""
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.environ.get("MOONCAKE_BIN_DIR"),
                   os.path.join(here, "bin")):
        path = folder and os.path.join(folder, name)
        if path and os.access(path, os.X_OK):
            return path
    return shutil.which(name) if on_path else None


def run(name, argv=None, on_path=True):
    """Does not return; exit status 127 when the program is not there."""
    path = find(name, on_path)
    if not path:
        sys.stderr.write(
            f"{name}: the program was not found; install Mooncake-C, put it "
            "on PATH or point MOONCAKE_BIN_DIR to its folder\n")
        sys.exit(127)
    os.execv(path, [name, *(sys.argv[1:] if argv is None else argv)])


def main():
    """The wheel's console scripts: the program has the script's name."""
    name = os.path.basename(sys.argv[0])
    # On PATH would be this script itself.
    run(OTHER_NAMES.get(name, name), on_path=False)
