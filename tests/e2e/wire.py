# SPDX-License-Identifier: Apache-2.0
"""A port in front of another one, which can be cut or stand still."""
import select
import socket
import threading


class Wire:
    """Forwards a port to another one, until it is cut or frozen, which it
    also is when left is a number and so many bytes have gone through."""

    def __init__(self, to):
        self.to, self.is_frozen, self.is_cut = to, False, False
        self.ends, self.left = {}, None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.is_over = False
        self.thread.start()

    def set(self, **what):
        self.__dict__.update(what)
        self.waker.send(b"x")

    def close(self):
        self.set(is_over=True)
        self.thread.join()
        for end in (self.listener, self.wake, self.waker):
            end.close()

    def drop(self, end):
        for s in (end, self.ends.pop(end, None)):
            if s:
                self.ends.pop(s, None)
                s.close()

    def accept(self):
        near, _ = self.listener.accept()
        if self.is_cut:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self.to))
        self.ends[near], self.ends[far] = far, near

    def forward(self, end):
        try:
            data = end.recv(min(1 << 18, self.left or 1 << 18))
            if data:
                self.ends[end].sendall(data)
                if self.left:
                    self.left -= len(data)
                    self.is_frozen = self.left == 0
                return
        except OSError:
            pass
        self.drop(end)

    def run(self):
        while not self.is_over:
            if self.is_cut:
                while self.ends:
                    self.drop(next(iter(self.ends)))
            ends = [] if self.is_frozen else [self.listener, *self.ends]
            for end in select.select([self.wake, *ends], [], [])[0]:
                if end is self.wake:
                    end.recv(4096)
                elif end is self.listener:
                    self.accept()
                elif end in self.ends and not self.is_frozen:
                    self.forward(end)
        while self.ends:
            self.drop(next(iter(self.ends)))
