# SPDX-License-Identifier: Apache-2.0
"""``python3 -m mooncake.spdk_tgt_create`` is the program spdk_tgt_create."""
from ._program import run


def main():
    run("spdk_tgt_create")


if __name__ == "__main__":
    main()
