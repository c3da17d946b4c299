"""Load on the daemon's socket that knows what became of each request.

A client keeps a connection, sends requests one after the other, in pairs now and then, and
connects anew when it sees the end of the connection. What the daemon promises over a restart:
no connect is refused, no reply is an error or half, and a request that could be sent has its
reply. One that could not be sent (EPIPE) was not carried out, and is sent again."""

import collections
import threading

LIMIT_S = 30    # any one reply


class Load:
    """n threads that run until stop(). requests: (line, the reply must begin with), both bytes."""

    def __init__(self, connect, requests, n):
        self.connect = connect
        self.requests = requests
        self.counts = collections.Counter()
        self.failures = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(n)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(LIMIT_S + 10)
            if thread.is_alive():
                self._fail("a client hangs")

    def answered(self):
        return self.counts["answered"]

    def _count(self, what, n=1):
        with self.lock:
            self.counts[what] += n

    def _fail(self, what):
        with self.lock:
            self.failures.append(what)

    def _client(self, i):
        while not self.stopping.is_set():
            try:
                connection = self.connect(LIMIT_S)
            except OSError as error:
                self._fail(f"connect: {error}")
                return
            self._count("connections")
            with connection, connection.makefile("rb") as replies:
                try:
                    i = self._talk(connection, replies, i)
                except OSError as error:
                    self._fail(f"read: {error!r}")

    def _talk(self, connection, replies, i):
        """Until the end of the connection. Returns the number of the request to go on with."""
        while not self.stopping.is_set():
            batch = [self.requests[(i + k) % len(self.requests)] for k in range(1 + i % 3)]
            text = b"".join(line + b"\r\n" for line, _ in batch)
            try:
                connection.sendall(text)
            except (BrokenPipeError, ConnectionResetError):
                self._count("sent_again")
                return i
            for line, expected in batch:
                reply = self._read(replies)
                if not reply.startswith(expected):
                    self._fail(f"{line!r} was answered {reply[:80]!r}")
                    return i + len(batch)
                self._count("answered")
            i += len(batch)
        return i

    @staticmethod
    def _read(replies):
        """One reply: a line, and the bytes that it announces. Shorter if the connection ends."""
        head = replies.readline()
        if not head.startswith(b"$") or head == b"$-1\r\n" or not head.endswith(b"\r\n"):
            return head if head.endswith(b"\r\n") else b"half: " + head
        length = int(head[1:]) + 2
        body = replies.read(length)
        return head + body if len(body) == length else b"half: " + head
