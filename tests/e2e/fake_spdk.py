#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers JSON-RPC as SPDK's nvmf_tgt does, as far as deployment asks.

What it is told is what it tells, in the words of the release that a file
"release" in its folder names: 23.01 (without that file) or 26.05.  With a file "serve" in its folder it serves
it, too: a mooncake_nof_target does what it is told, with a file for each disk.
"""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(sys.argv[0]))))


RELEASE = "23.01"
if os.path.exists(os.path.join(ROOT, "release")):
    with open(os.path.join(ROOT, "release")) as f_:
        RELEASE = f_.read().strip()
IS_OLD = RELEASE == "23.01"


def is_told(name):
    """To fail so: an empty file of that name, or one with our core mask."""
    try:
        with open(os.path.join(ROOT, name)) as f:
            mask = f.read()
    except OSError:
        return False
    return not mask or mask == option("-m")


class Error(Exception):
    pass


class DataPath:
    """The target that moves the bytes."""
    SAME = ("nvmf_create_transport", "nvmf_create_subsystem",
            "nvmf_delete_subsystem", "nvmf_subsystem_add_ns",
            "nvmf_subsystem_remove_ns", "nvmf_subsystem_add_listener",
            "nvmf_subsystem_remove_listener", "nvmf_subsystem_add_host",
            "nvmf_subsystem_remove_host", "nvmf_subsystem_set_keys",
            "nvmf_subsystem_allow_any_host", "keyring_file_add_key",
            "keyring_file_remove_key")

    def __init__(self, program, disks):
        self.path = os.path.join(ROOT, "data.sock")
        self.disks = disks
        prctl = ctypes.CDLL(None).prctl
        self.proc = subprocess.Popen(
            [program, f"--rpc_socket={self.path}"],
            preexec_fn=lambda: prctl(1, signal.SIGKILL))
        end = time.monotonic() + 30
        while not os.path.exists(self.path):
            if self.proc.poll() is not None or time.monotonic() > end:
                sys.exit("the data path does not start")
            time.sleep(0.01)

    def call(self, method, params):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                  "params": params}).encode())
            got = b""
            while True:
                got += s.recv(65536)
                try:
                    answer = json.loads(got)
                    break
                except ValueError:
                    continue
        if "error" in answer:
            raise Error(answer["error"]["code"], answer["error"]["message"])

    def follow(self, method, params):
        if method == "bdev_nvme_attach_controller":
            self.call("bdev_aio_create", {
                "name": params["name"] + "n1", "block_size": 4096,
                "filename": self.disks[params["traddr"]]})
        elif method == "bdev_nvme_detach_controller":
            self.call("bdev_aio_delete", {"name": params["name"] + "n1"})
        elif method in self.SAME:
            self.call(method, params)


class Target:
    def __init__(self):
        self.data = None
        if os.path.exists(os.path.join(ROOT, "serve")):
            with open(os.path.join(ROOT, "serve")) as f:
                self.data = DataPath(**json.load(f))
        self.transports, self.ctrls, self.bdevs = [], [], []
        self.keys, self.is_old = {}, os.path.exists(
            os.path.join(ROOT, "no-keys"))
        self.subsystems = [{
            "nqn": "nqn.2014-08.org.nvmexpress.discovery",
            "subtype": "Discovery", "listen_addresses": [],
            "allow_any_host": True, "hosts": []}]

    def find(self, nqn):
        for s in self.subsystems:
            if s["nqn"] == nqn:
                return s
        raise Error(-32602, "Invalid parameters")

    def spdk_get_version(self):
        major, minor = map(int, RELEASE.split("."))
        return {"version": f"SPDK v{RELEASE}", "fields": {
            "major": major, "minor": minor, "patch": 0, "suffix": ""}}

    def nvmf_get_transports(self):
        if IS_OLD:
            return self.transports
        # The newer one does not tell of the pools that all share.
        hidden = ("io_unit_size", "num_shared_buffers", "buf_cache_size")
        return [{"iobuf_small_cache_size": t.get("buf_cache_size", 0),
                 "iobuf_large_cache_size": 0xffffffff,
                 **{k: v for k, v in t.items() if k not in hidden}}
                for t in self.transports]

    def nvmf_create_transport(self, trtype, **p):
        if any(t["trtype"] == trtype for t in self.transports):
            raise Error(-32603, f"Transport type '{trtype}' already exists")
        size = p.get("max_io_size", 131072)
        if size < 8192 or size & (size - 1):
            raise Error(-32603, f"Transport type '{trtype}' create failed")
        # The older one cuts its own pool into units.
        unit, cache = p.get("io_unit_size", size), p.get("buf_cache_size", 32)
        if IS_OLD and (size > 16 * unit or unit > 1 << 17 or
                       p.get("num_shared_buffers", 511) < cache):
            raise Error(-32603, f"Transport type '{trtype}' create failed")
        p["in_capsule_data_size"] = min(
            p.get("in_capsule_data_size", 4096), size)
        self.transports.append({"trtype": trtype, **p})
        return True

    def bdev_nvme_get_controllers(self):
        return self.ctrls

    def bdev_nvme_attach_controller(self, name, trtype, traddr):
        driver = os.path.join(ROOT, "../sys/bus/pci/devices", traddr, "driver")
        if not os.path.lexists(driver) or \
                os.path.basename(os.readlink(driver)) != "vfio-pci":
            raise Error(-19, "No such device")
        # A second namespace where a test has said so.
        two = os.path.exists(os.path.join(ROOT, "two-namespaces"))
        names = [f"{name}n{i + 1}" for i in range(2 if two else 1)]
        self.ctrls.append({"name": name, "ctrlrs": [
            {"state": "enabled", "trid": {"trtype": "PCIe",
                                          "traddr": traddr}}]})
        self.bdevs += names
        return names

    def bdev_nvme_detach_controller(self, name):
        self.ctrls = [c for c in self.ctrls if c["name"] != name]
        self.bdevs = [b for b in self.bdevs if not b.startswith(name + "n")]
        return True

    def bdev_get_bdevs(self):
        taken = {n["bdev_name"] for s in self.subsystems
                 for n in s.get("namespaces", [])}
        # What somebody else has taken, a volume's store for one.
        path = os.path.join(ROOT, "claimed")
        if os.path.exists(path):
            with open(path) as f:
                taken |= set(f.read().split())
        return [{"name": b, "block_size": 512, "num_blocks": 1 << 21,
                 "claimed": b in taken} for b in self.bdevs]

    def nvmf_create_subsystem(self, nqn, serial_number="", max_namespaces=32,
                              allow_any_host=False):
        if any(s["nqn"] == nqn for s in self.subsystems):
            raise Error(-32603, f"Unable to create subsystem {nqn}")
        self.subsystems.append({
            "nqn": nqn, "subtype": "NVMe", "listen_addresses": [],
            "allow_any_host": allow_any_host, "hosts": [],
            "serial_number": serial_number, "namespaces": [],
            "max_namespaces": max_namespaces})
        return True

    def nvmf_subsystem_get_controllers(self, nqn):
        self.find(nqn)
        return [{"cntlid": 1, "hostnqn": "nqn.x:engine"}] \
            if is_told("connected") else []

    def nvmf_delete_subsystem(self, nqn):
        if is_told("no-delete"):
            raise Error(-32602, "Invalid parameters")
        self.subsystems.remove(self.find(nqn))
        return True

    def nvmf_subsystem_add_ns(self, nqn, namespace):
        taken = self.find(nqn)["namespaces"]
        if namespace["bdev_name"] not in self.bdevs or \
                namespace["nsid"] in [n["nsid"] for n in taken]:
            raise Error(-32602, "Invalid parameters")
        taken.append({**namespace, "name": namespace["bdev_name"]})
        return namespace["nsid"]

    def nvmf_subsystem_remove_ns(self, nqn, nsid):
        s = self.find(nqn)
        s["namespaces"] = [n for n in s["namespaces"] if n["nsid"] != nsid]
        return True

    def nvmf_subsystem_add_listener(self, nqn, listen_address):
        if is_told("no-listener"):
            raise Error(-32602, "Invalid parameters")
        self.find(nqn)["listen_addresses"].append(listen_address)
        return True

    def nvmf_subsystem_remove_listener(self, nqn, listen_address):
        self.find(nqn)["listen_addresses"].remove(listen_address)
        return True

    def known(self, keys):
        if set(keys) - {"dhchap_key", "dhchap_ctrlr_key"} or \
                set(keys.values()) - set(self.keys):
            raise Error(-32602, "Invalid parameters")
        return keys

    def nvmf_subsystem_add_host(self, nqn, host, **keys):
        self.find(nqn)["hosts"].append({"nqn": host, **self.known(keys)})
        return True

    def nvmf_subsystem_set_keys(self, nqn, host, **keys):
        self.nvmf_subsystem_remove_host(nqn, host)
        return self.nvmf_subsystem_add_host(nqn, host, **keys)

    def nvmf_subsystem_remove_host(self, nqn, host):
        s = self.find(nqn)
        s["hosts"] = [h for h in s["hosts"] if h["nqn"] != host]
        return True

    def nvmf_subsystem_allow_any_host(self, nqn, allow_any_host):
        self.find(nqn)["allow_any_host"] = allow_any_host
        return True

    def keyring_get_keys(self):
        return [{"name": k, "module": "keyring_file"} for k in self.keys]

    def keyring_file_add_key(self, name, path):
        if name in self.keys:
            raise Error(-17, "File exists")
        st = os.stat(path)
        if st.st_mode & 0o777 != 0o600 or st.st_uid != os.getuid():
            raise Error(-1, "Operation not permitted")
        self.keys[name] = path
        return True

    def keyring_file_remove_key(self, name):
        del self.keys[name]
        return True

    def nvmf_get_subsystems(self):
        more = {} if IS_OLD else {"passthrough": False, "dmrsl": 0, "wzsl": 0}
        return [{**s, **(more if s["subtype"] == "NVMe" else {}),
                 "listen_addresses": [
                     {**({"transport": a["trtype"]} if IS_OLD else {}), **a}
                     for a in s["listen_addresses"]]}
                for s in self.subsystems]

    def framework_get_subsystems(self):
        return [{"subsystem": "keyring", "depends_on": []},
                {"subsystem": "bdev", "depends_on": []},
                {"subsystem": "nvmf", "depends_on": ["bdev"]}]

    def framework_get_config(self, name):
        if name == "keyring":
            return [{"method": "keyring_file_add_key", "params": {
                "name": k, "path": path}} for k, path in self.keys.items()]
        if name == "bdev":
            return [{"method": "bdev_nvme_attach_controller", "params": {
                "name": c["name"], "trtype": "PCIe",
                "traddr": c["ctrlrs"][0]["trid"]["traddr"]}}
                for c in self.ctrls]
        out = [{"method": "nvmf_create_transport", "params": t}
               for t in self.transports]
        for s in self.subsystems[1:]:
            out.append({"method": "nvmf_create_subsystem", "params": {
                "nqn": s["nqn"], "allow_any_host": s["allow_any_host"],
                "serial_number": s["serial_number"],
                "max_namespaces": s["max_namespaces"]}})
            out += [{"method": "nvmf_subsystem_add_host", "params": {
                "nqn": s["nqn"], "host": h["nqn"],
                **{k: v for k, v in h.items() if k != "nqn"}}}
                    for h in s["hosts"]]
            out += [{"method": "nvmf_subsystem_add_ns", "params": {
                "nqn": s["nqn"], "namespace": {
                    "bdev_name": n["bdev_name"], "nsid": n["nsid"]}}}
                    for n in s["namespaces"]]
            out += [{"method": "nvmf_subsystem_add_listener", "params": {
                "nqn": s["nqn"], "listen_address": a}}
                    for a in s["listen_addresses"]]
        return out

    def load(self, path):
        with open(path) as f:
            for sub in json.load(f)["subsystems"]:
                for item in sub["config"] or []:
                    self.run(item["method"], item["params"])

    def run(self, method, params):
        if self.is_old and "key" in method:  # SPDK before 24.09
            raise AttributeError
        result = getattr(self, method)(**params)
        if self.data:
            self.data.follow(method, params)
        return result

    def answer(self, request):
        out = {"jsonrpc": "2.0", "id": request.get("id")}
        with open(os.path.join(ROOT, "calls"), "a") as f:
            f.write(request["method"] + "\n")
        try:
            if not IS_OLD and set(request) - {"jsonrpc", "id", "method",
                                              "params"}:
                raise Error(-32600, "Invalid request")
            out["result"] = self.run(request["method"],
                                     request.get("params", {}))
        except Error as e:
            out["error"] = {"code": e.args[0], "message": e.args[1]}
        except (TypeError, KeyError):
            out["error"] = {"code": -32602, "message": "Invalid parameters"}
        except AttributeError:
            out["error"] = {"code": -32601, "message": "Method not found"}
        return out


def option(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def on_term(*_):
    if is_told("never-ends"):
        return
    after = os.path.join(ROOT, "ends-after")  # holds a path
    if os.path.exists(after):
        with open(after) as f:
            path = f.read()
        while not os.path.exists(path):
            time.sleep(0.02)
        time.sleep(2)  # and not before whoever made it has looked at us
    os._exit(0)


def main():
    signal.signal(signal.SIGTERM, on_term)
    path = option("-r", "/var/tmp/spdk.sock")
    target = Target()
    if option("-c"):
        target.load(option("-c"))
    if is_told("no-start"):
        sys.exit("cannot reserve memory")
    server = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    server.bind(path)
    server.listen(8)
    # SPDK names its threads, and the first one is the process.
    ctypes.CDLL(None).prctl(15, b"reactor_0", 0, 0, 0)
    while True:
        client, _ = server.accept()
        got = b""
        while True:
            part = client.recv(65536)
            if not part:
                break
            got += part
            try:
                request = json.loads(got)
            except ValueError:
                continue
            got = b""
            client.sendall(json.dumps(target.answer(request)).encode())
        client.close()


main()
