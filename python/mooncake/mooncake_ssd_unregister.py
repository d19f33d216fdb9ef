# SPDX-License-Identifier: Apache-2.0
"""``python3 -m mooncake.mooncake_ssd_unregister`` is the program mooncake_ssd_unregister."""
from ._program import run


def main():
    run("mooncake_ssd_unregister")


if __name__ == "__main__":
    main()
