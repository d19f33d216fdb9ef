# SPDX-License-Identifier: Apache-2.0
"""``python3 -m mooncake.mooncake_ssd_register`` is the program mooncake_ssd_register."""
from ._program import run


def main():
    run("mooncake_ssd_register")


if __name__ == "__main__":
    main()
