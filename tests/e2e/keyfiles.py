# SPDX-License-Identifier: Apache-2.0
"""Files of keys, of DH-HMAC-CHAP and of TLS, whose text must not turn up
anywhere."""
import glob
import os
import re

KEY, CTRL_KEY = "MC_NVME_DHCHAP_KEY_FILE", "MC_NVME_DHCHAP_CTRL_KEY_FILE"


class Keys:
    """Files of keys, and where their text must not turn up."""

    def __init__(self, cluster, monkeypatch):
        self.cluster, self.monkeypatch, self.secrets = cluster, monkeypatch, []

    def make(self, name, *flags, command="gen-dhchap-key"):
        path = self.cluster.path(name + ".key")
        r = self.cluster.run("mooncakectl", command, f"--output={path}",
                             *flags)
        assert r.returncode == 0, r.stderr
        with open(path, encoding="ascii") as f:
            self.secrets.append(f.read().strip().split(":")[2])
        assert self.secrets[-1] not in r.stdout + r.stderr
        return path

    def make_tls(self, name, *flags):
        return self.make(name, *flags, command="gen-tls-key")

    def use(self, key=None, ctrl_key=None):
        """What this process and those that it starts have from now on."""
        for name, path in ((KEY, key), (CTRL_KEY, ctrl_key)):
            if path:
                self.monkeypatch.setenv(name, path)
            else:
                self.monkeypatch.delenv(name, raising=False)

    def replace(self, path, new):
        """As docs/security.md says: a new file takes the place of the old."""
        os.rename(new, path)

    def check(self, said):
        for path in glob.glob(self.cluster.path("*.log")):
            with open(path, encoding="utf-8", errors="replace") as f:
                said += f.read()
        for child in self.cluster.children.values():
            with open(f"/proc/{child.pid}/cmdline", encoding="utf-8") as f:
                said += f.read()
        assert self.secrets and not re.search(
            "(DHHC|NVMeTLSkey)-1:[0-9]+:[A-Za-z0-9+/]", said)
        for secret in self.secrets:
            # any piece of it that is long enough to be no accident
            for i in range(0, len(secret) - 12, 4):
                assert secret[i:i + 12] not in said
