# SPDX-License-Identifier: Apache-2.0
"""``python3 -m mooncake.mooncake_store_service`` is the program mooncake_store_service."""
from ._program import run


def main():
    run("mooncake_store_service")


if __name__ == "__main__":
    main()
