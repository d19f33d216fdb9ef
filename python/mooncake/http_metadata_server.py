# SPDX-License-Identifier: Apache-2.0
"""``python3 -m mooncake.http_metadata_server`` is the program mooncake_http_metadata_server."""
from ._program import run


def main():
    run("mooncake_http_metadata_server")


if __name__ == "__main__":
    main()
