"""redis-cli: each way to use it, the interactive one on a terminal of its own."""

import os
import pty
import select
import subprocess
import termios
import time

from checks import ALL_BYTES, CATALOG, DAEMON, SOCKET, check, clear


def cli(*words, text=b"", status=0):
    """What redis-cli writes, after its exit status has been found right."""
    done = subprocess.run(["redis-cli", "-s", SOCKET, *words], input=text, stdout=subprocess.PIPE, timeout=20,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != status:
        raise AssertionError(f"exit status {done.returncode}: {done.stdout!r}")
    return done.stdout


class Terminal:
    """redis-cli on a terminal, and what it has shown."""

    def __init__(self, *words):
        # The line editor wants a known terminal; a home folder of ours has neither history nor settings.
        environment = {**os.environ, "TERM": "xterm", "HOME": os.getcwd()}
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        self.terminal = ours
        self.process = subprocess.Popen(["redis-cli", "-s", SOCKET, *words], stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=environment, start_new_session=True)
        os.close(theirs)

    def type(self, text):
        os.write(self.terminal, text)

    def shows(self, *texts):
        """Reads until each of the texts was shown after the one before; true, or the end of what was shown."""
        shown, end = b"", time.monotonic() + 5
        for text in texts:
            while (found := shown.find(text)) < 0:
                more = self.read(end - time.monotonic())
                if not more:
                    return shown[-300:]
                shown += more
            shown = shown[found + len(text):]
        return True

    def read(self, limit):
        """What comes within so many seconds, or nothing."""
        if not select.select([self.terminal], [], [], max(limit, 0))[0]:
            return b""
        try:
            return os.read(self.terminal, 65536)
        except OSError:     # redis-cli has ended
            return b""

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


def one_shot():
    check("declared_key_is_fetched", CATALOG + b"\n", lambda: cli("GET", "catalog:one"))
    check("with_a_database_number", b"PONG\n", lambda: cli("-n", "0", "PING"))
    check("in_resp3", [b"(integer) 1\n", b'1# "f" => "v"\n', b"(integer) 1\n", b"(double) 1.5\n", b"(integer) 1\n", b'1~ "m"\n'],
          lambda: [cli("-3", "--no-raw", *line.split()) for line in (
              "HSET h f v", "HGETALL h", "ZADD z 1.5 m", "ZSCORE z m", "SADD s m", "SMEMBERS s")])
    check("in_json", b'{"f":"v"}\n', lambda: cli("-3", "--json", "HGETALL", "h"))
    check("value_from_standard_input", [b"OK\n", ALL_BYTES + b"\n"],
          lambda: [cli("-x", "SET", "state:x", text=ALL_BYTES), cli("GET", "state:x")])
    check("an_error_gives_its_exit_status", b"ERR wrong number of arguments for 'get' command\n",
          lambda: cli("-e", "GET", status=1))
    check("repeated", b"1\n2\n3\n", lambda: cli("-r", "3", "INCR", "n:r"))
    check("a_script_from_a_file", b"x\n", lambda: cli("--eval", script_file(), "x", ",", "1"))


def script_file():
    with open("script.lua", "w", encoding="utf-8") as file:
        file.write("return KEYS[1]")
    return "script.lua"


def from_a_pipe():
    check("commands_from_standard_input", b"OK\n2\nOK\nQUEUED\nQUEUED\nOK\n3\n",
          lambda: cli(text=b"SET state:i 1\nINCR state:i\nMULTI\nSET state:j 'a b'\nINCR state:i\nEXEC\n"))
    check("bulk_loading", b"errors: 0, replies: 1000",
          lambda: cli("--pipe", text=b"".join(b"SET k:%d v\r\n" % i for i in range(1000))).splitlines()[-1])
    check("bulk_loading_of_arrays", b"errors: 1, replies: 3",
          lambda: cli("--pipe", status=1, text=b"*3\r\n$3\r\nSET\r\n$3\r\nk:0\r\n$1\r\nv\r\n*1\r\n$3\r\nGET\r\n"
                                               b"*2\r\n$3\r\nGET\r\n$3\r\nk:0\r\n").splitlines()[-1])


PROMPT = os.path.basename(SOCKET).encode() + b"> "
PROMPT_TX = os.path.basename(SOCKET).encode() + b"(TX)> "


def on_a_terminal():
    with Terminal() as terminal:
        check("a_prompt", True, lambda: terminal.shows(PROMPT))
        terminal.type(b"getr\t")
        check("a_word_completed_by_command_docs", True, lambda: terminal.shows(b"GETRANGE"))
        dialog(terminal)
        terminal.type(b"quit\r")
        check("quit", 0, lambda: terminal.process.wait(20))


def dialog(terminal):
    """What is typed before the prompt is there is lost, so each answer includes the next prompt."""
    def ask(name, line, *answer):
        terminal.type(line + b"\r")
        check(name, True, lambda: terminal.shows(*answer))

    ask("a_reply", b"\x15set state:t 'a b'", b"OK\r\n", PROMPT)        # ^U empties the line
    ask("the_prompt_of_a_transaction", b"multi", b"OK\r\n", PROMPT_TX)
    ask("queued", b"get state:t", b"QUEUED\r\n", PROMPT_TX)
    ask("replies_of_a_transaction", b"exec", b'1) "a b"\r\n', PROMPT)
    ask("help", b"help set", b"summary:", PROMPT)
    ask("an_error", b"nosuch", b"(error) ERR unknown command 'nosuch'", PROMPT)
    ask("hello_3", b"hello 3", b"(integer) 3\r\n", PROMPT)
    ask("a_map", b"hgetall h", b'1# "f" => "v"\r\n', PROMPT)


def looking_around():
    check("scan", sorted(b"k:%d" % i for i in range(1000)), lambda: sorted(set(cli("--scan", "--pattern", "k:*").split())))
    check("bigkeys", True, lambda: b"Biggest string found" in cli("--bigkeys") or cli("--bigkeys"))
    check("memkeys", True, lambda: b"Biggest string found" in cli("--memkeys") or cli("--memkeys"))
    check("latency", 4, lambda: len(cli("--latency", "-i", "0.1").split()))
    with Terminal("--stat", "-i", "0.05") as terminal:
        check("stat", True, lambda: terminal.shows(b"requests", b"(+0)", b"(+", b"(+"))


def own():
    check("own_keys_stay_hidden", [], lambda: [key for key in cli("--scan").split() if key.startswith(b"catcached:")])
    check("monitor_is_refused", True, lambda: clear(cli("MONITOR"), "MONITOR"))
    check("subscribe_is_refused", True, lambda: clear(cli("SUBSCRIBE", "channel"), "SUBSCRIBE"))
    check("a_dump_is_refused", True, lambda: clear(cli("--rdb", "dump.rdb", status=1), "SYNC"))
    check("shutdown_is_refused", [True, b"PONG\n"], lambda: [clear(cli("SHUTDOWN", "NOSAVE"), "SHUTDOWN"), cli("PING")])


def main():
    one_shot()
    from_a_pipe()
    on_a_terminal()
    looking_around()
    if DAEMON:
        own()


main()
