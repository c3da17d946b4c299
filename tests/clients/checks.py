"""What the programs in Python report with; the other languages do alike."""

import sys

ALL_BYTES = bytes(range(256))
LARGE = b"0123456789abcdef" * (5 * 1024 * 1024 // 16)
CATALOG = b'[{"id":"a"},{"id":"b"}]'

SOCKET, WAY, TARGET = sys.argv[1:4]
DAEMON = TARGET == "daemon"


def check(name, expected, call):
    """One counted test: the call has to give what is expected."""
    try:
        got = call()
    except Exception as error:      # whatever it is, it is not what was expected
        got = error
    if got == expected:
        print("ok", name, flush=True)
    else:
        print(f"bad {name}: expected {short(expected)}, got {short(got)}", flush=True)


def short(value):
    return repr(value)[:600].replace("\n", "\\n")


def clear(error, command):
    """Whether an error says that the daemon knows the command, and refuses it."""
    text = str(error).lower()
    return command.lower() in text and "unknown command" not in text


def restart():
    """Has the server restarted."""
    print("restart", flush=True)
    sys.stdin.readline()
