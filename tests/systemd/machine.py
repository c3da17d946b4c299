"""A machine for the tests: a real systemd as process 1 of its own namespaces, over layers of
files that it cannot change. It dies with this process, and leaves nothing."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
BOOT_LIMIT_S = 60
RUN_LIMIT_S = 60
SOCKET = "/run/catcached/catcached.sock"
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None)


class Failure(Exception):
    """What a test found wrong."""


def wait_until(condition, what, limit_s=20):
    """Polls; returns what the condition returned when it was true."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failure(f"waited {limit_s} s in vain for: {what}")
        time.sleep(0.02)
    return value


class Machine:
    """layers: folders, the upmost first."""

    def __init__(self, layers):
        self.cgroup = f"catcached-test-{os.getpid()}-{time.monotonic_ns()}"
        self.mount = tempfile.mkdtemp(prefix="cc-machine-")
        self.unshare = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", HERE / "boot",
             self.mount, ":".join(str(layer) for layer in layers), self.cgroup],
            stdin=subprocess.DEVNULL, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        try:
            self.pid = wait_until(self._init, "the first process", BOOT_LIMIT_S)
            wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip()
                       in ("running", "degraded"), "systemd to be up", BOOT_LIMIT_S)
        except BaseException:
            self.end()
            raise

    def _init(self):
        """systemd's process, once boot has become it."""
        if self.unshare.poll() is not None:
            raise Failure(f"the machine did not start: exit status {self.unshare.returncode}")
        with open(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children") as file:
            for pid in file.read().split():
                try:
                    if os.readlink(f"/proc/{pid}/exe").endswith("/systemd"):
                        return int(pid)
                except OSError:
                    pass
        return None

    def end(self):
        """Kills all that runs there, and removes what is left of it here."""
        self.unshare.kill()     # process 1 dies with it (--kill-child), and all others with that
        self.unshare.wait()
        groups = [line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"]
        for top in groups[:1]:
            wait_until(lambda: self._remove_groups(f"{top}/{self.cgroup}"), "the end of all processes")
        shutil.rmtree(self.mount, ignore_errors=True)

    @staticmethod
    def _remove_groups(top):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    # ---- what is done in it ----

    def run(self, *argv, check=True, limit_s=RUN_LIMIT_S, stdin=""):
        """Runs a command there. stdout and stderr are text."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
             "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
             "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive", *map(str, argv)],
            input=stdin, capture_output=True, text=True, timeout=limit_s)
        if check and done.returncode:
            raise Failure(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def systemctl(self, *argv, **how):
        return self.run("systemctl", *argv, **how)

    def show(self, what, unit="catcached.service"):
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={what}", unit).stdout.strip()

    def main_pid(self):
        """The service's process, as it is called out here."""
        there = self.show("MainPID")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status") as file:
                    ids = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
                if ids[1:] == [there] and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid"):
                    return int(pid)
            except OSError:
                pass
        raise Failure("the service has no process")

    def path(self, path):
        """A file of it, as it can be opened out here."""
        return pathlib.Path(f"/proc/{self.pid}/root{path}")

    def write(self, path, text):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def journal(self):
        return self.run("journalctl", "--no-hostname", "-o", "cat", "-u", "catcached", "-n", "400").stdout

    def connect(self, limit_s=10):
        """A connection to the daemon's socket."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(limit_s)
        try:
            s.connect(str(self.path(SOCKET)))
        except OSError:
            s.close()
            raise
        return s

    def ask(self, line, limit_s=10):
        """Sends a line; returns the first bytes of the reply."""
        with self.connect(limit_s) as s:
            s.sendall(line.encode() + b"\r\n")
            return s.recv(65536).decode()
