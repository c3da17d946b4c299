"""What the programs here share: a Redis, a database and the daemon in a folder of their own,
the checks and their summary. Standard library only."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
LIMIT_S = 30                    # for whatever is waited for

CONFIG = """
listen:   {{path: "{folder}/s"}}
admin:    {{listen: "127.0.0.1:{port}"}}
memory:   {{limit: 16M}}
redis:    {{url: "unix://{folder}/redis.sock", timeout: 5s}}     # a busy machine is not what is tested
database: {{url: "sqlite://{folder}/catalog.db"}}
types:
  catalog:
    key: "catalog:{{name}}"
    ttl: 1800
    stale_if_error: 1h
    fetch: {{sql: SELECT id FROM models WHERE provider = :name ORDER BY id}}
  broken: {{key: "broken:{{name}}", ttl: 60, fetch: {{exec: [/bin/sh, -c, exit 3]}}}}
  state: {{key: "state:{{name}}", ttl: none, max_entries: 100}}
"""


# Whatever proxy the environment names: everything here is on this host.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Trouble(Exception):
    """Why something cannot go on."""


def start(argv, **options):
    """A process that dies with this one."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, argv)], stdin=subprocess.DEVNULL, **options)


def stop(process, limit=LIMIT_S):
    if process and process.poll() is None:
        process.terminate()
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode if process else 0


def wait_for(condition, what, limit=LIMIT_S):
    """Looks again and again; what the condition said when it held."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise Trouble(f"waited {limit} s for {what}")
        time.sleep(0.02)
    return found


def get(url, limit=LIMIT_S):
    """(status, body) of a GET; (0, why) if there is no answer."""
    try:
        with OPENER.open(url, timeout=limit) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Rig:
    """In a folder: a Redis, a database, and the daemon with an HTTP port that the system chose."""

    def __init__(self, folder):
        self.folder = folder
        self.redis = self.daemon = None
        self.port = 0

    def start(self):
        with contextlib.closing(sqlite3.connect(self.folder / "catalog.db")) as database, database:
            database.execute("CREATE TABLE models (provider TEXT, id TEXT)")
            database.executemany("INSERT INTO models VALUES (?, ?)", [(f"p{i}", f"m{i}") for i in range(50)])
        self.start_redis()
        self.start_daemon()
        wait_for(lambda: self.status()["health"]["redis"].get("coherence") == "tracking", "tracking")

    def start_redis(self):
        self.redis = self.serve("redis", "redis-server", "--port", "0", "--unixsocket", self.folder / "redis.sock",
                                "--save", "", "--appendonly", "no", "--dir", self.folder)
        wait_for((self.folder / "redis.sock").exists, "Redis")

    def stop_redis(self):
        self.redis.kill()
        self.redis.wait()
        (self.folder / "redis.sock").unlink(missing_ok=True)

    def start_daemon(self, config=CONFIG):
        """At the port it had before, if it had one."""
        (self.folder / "catcached.yaml").write_text(config.format(folder=self.folder, port=self.port))
        (self.folder / "daemon.log").unlink(missing_ok=True)
        self.daemon = self.serve("daemon", BUILD / "catcached", "-c", self.folder / "catcached.yaml")
        self.port = int(wait_for(lambda: re.search(r"event=admin_ready host=\S+ port=(\d+)", self.log("daemon")), "the HTTP port").group(1))
        wait_for(lambda: get(self.url("/readyz"))[0] == 200, "the daemon")

    def serve(self, name, *argv):
        with open(self.folder / f"{name}.log", "ab") as log:
            return start(argv, stdout=log, stderr=log)

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def status(self):
        return json.loads(get(self.url("/status.json"))[1])

    def ask(self, *lines):
        """Sends requests, a line each, and reads until the daemon has answered all."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT_S)
            connection.connect(str(self.folder / "s"))
            connection.sendall("".join(line + "\r\n" for line in [*lines, "QUIT"]).encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def stop(self):
        status = stop(self.daemon)
        stop(self.redis)
        if status:
            raise Trouble(f"the daemon ended with {status}")


def run_checks(checks, make, *arguments):
    """Calls each check with what make(folder) gives, which is stopped afterwards. Prints the summary as Check
    writes it; the exit status."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cc-"))
    passed, failed, errors = 0, 0, 0
    world = None

    def on_signal(number, _frame):      # servers and programs die with us
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        world = make(folder, *arguments)
        for check in checks:
            began = time.monotonic()
            try:
                check(world)
                passed += 1
                word = "ok"
            except (AssertionError, Trouble, OSError, KeyError) as error:
                failed += 1
                word = "FAILED"
                print(traceback.format_exc() if not isinstance(error, Trouble) else f"  {error}")
            print(f"{word:6} {check.__name__:60} {time.monotonic() - began:5.1f} s", flush=True)
    except (Trouble, OSError, subprocess.CalledProcessError) as error:
        errors += 1
        print(f"FAILED preparation: {error}")
    finally:
        try:
            if world:
                world.stop()
        except Trouble as error:
            errors += 1
            print(f"FAILED end: {error}")
        if failed + errors:
            for log in sorted(folder.glob("*.log")):
                print(f"-- {log.name}:\n{log.read_text(errors='replace')[-4000:]}")
        shutil.rmtree(folder, ignore_errors=True)
    done = passed + failed + errors
    print(f"{100 * passed // max(done, 1)}%: Checks: {done}, Failures: {failed}, Errors: {errors}")
    return failed + errors > 0 or done == 0


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            sys.exit(f"{program} is missing: tests/setup check installs it")
