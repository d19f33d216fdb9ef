#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ssh into a VM: MOONCAKE_SSH_COMMAND="guest_ssh.py NAME".

The guest calls back over two connections, one for stdin and stdout and one for
stderr; when this program dies, what runs there sees the end of its input.  The
VM must have been started with --reach-host.
"""
import os
import socket
import subprocess
import sys
import threading

VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm")
RUN = ('exec 3<>/dev/tcp/10.0.2.2/$1 4>/dev/tcp/10.0.2.2/$2; '
       'exec sh -c "$3" <&3 >&3 2>&4 3>&- 4>&-')


def listener():
    s = socket.create_server(("127.0.0.1", 0))
    s.settimeout(120)
    return s, str(s.getsockname()[1])


def pump(conn, fd):
    while part := conn.recv(65536):
        while part:
            part = part[os.write(fd, part):]


def feed(conn):
    while part := os.read(0, 65536):
        conn.sendall(part)
    conn.shutdown(socket.SHUT_WR)


def main():
    name, args = sys.argv[1], sys.argv[2:]
    if "-N" in args:  # this one forwards nothing
        return 1
    command = " ".join(args[args.index("--") + 2:])  # behind the host
    (main_end, port), (err_end, err_port) = listener(), listener()
    guest = subprocess.Popen(
        [VM, "exec", "--name", name, "--timeout", "900", "--", "bash", "-c",
         RUN, "bash", port, err_port, command], stdin=subprocess.DEVNULL,
        stdout=sys.stderr)
    conn, errs = main_end.accept()[0], err_end.accept()[0]
    threading.Thread(target=feed, args=(conn,), daemon=True).start()
    said = threading.Thread(target=pump, args=(errs, 2))
    said.start()
    pump(conn, 1)
    said.join()
    return guest.wait()


sys.exit(main())
