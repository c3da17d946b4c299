"""nc: bytes typed by a person or a shell script."""

import subprocess

from checks import CATALOG, DAEMON, SOCKET, check


def nc(text):
    """What comes back; -N ends the sending side after the text, and all replies still arrive."""
    return subprocess.run(["nc", "-N", "-U", SOCKET], input=text, capture_output=True, check=True, timeout=20).stdout


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


def main():
    check("a_line_is_a_request", b"+PONG\r\n", lambda: nc(b"PING\n"))
    check("lines_may_end_like_in_dos", b"+OK\r\n$1\r\nv\r\n", lambda: nc(b"SET state:a v\r\nGET state:a\r\n"))
    check("an_empty_line_is_nothing", b"+PONG\r\n", lambda: nc(b"\r\n   \n\nping\n"))
    check("words_may_be_quoted", b"+OK\r\n" + bulk(b"a b\n\xff"),
          lambda: nc(b"SET 'state:q' \"a b\\n\\xff\"\nGET state:q\n"))
    check("declared_key_is_fetched", bulk(CATALOG), lambda: nc(b"GET catalog:one\n"))
    check("missing_key_is_nil", b"$-1\r\n", lambda: nc(b"GET state:none\n"))
    check("arrays_are_requests_too", b"+OK\r\n$3\r\na\r\n\r\n",
          lambda: nc(b"*3\r\n$3\r\nSET\r\n$7\r\nstate:r\r\n$3\r\na\r\n\r\n*2\r\n$3\r\nget\r\n$7\r\nstate:r\r\n"))
    check("other_commands_reach_redis", b":1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n", lambda: nc(b"HSET h f v\nHGETALL h\n"))
    check("hello_3_gives_maps_and_doubles", b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n:1\r\n,1.5\r\n_\r\n",
          lambda: nc(b"HELLO 3\nHGETALL h\nZADD z 1.5 m\nZSCORE z m\nGET state:none\n").split(b"modules\r\n*0\r\n")[1])
    check("a_transaction", b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n",
          lambda: nc(b"MULTI\nSET state:t 1\nINCR n:t\nEXEC\n"))
    check("a_transaction_with_an_error",
          b"+OK\r\n-ERR wrong number of arguments for 'get' command\r\n+QUEUED\r\n"
          b"-EXECABORT Transaction discarded because of previous errors.\r\n$1\r\n1\r\n",
          lambda: nc(b"MULTI\nGET\nSET state:t 2\nEXEC\nGET state:t\n"))
    check("errors_are_in_redis_words",
          b"-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n"
          b"-ERR wrong number of arguments for 'get' command\r\n"
          b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n+PONG\r\n",
          lambda: nc(b"NOSUCH a\nGET\nGET h\nPING\n"))
    check("quit_closes", b"+OK\r\n", lambda: nc(b"QUIT\nPING\n"))
    check("a_broken_frame_closes", b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n",
          lambda: nc(b"PING\r\n*1\r\n$x\r\nPING\r\n"))
    if DAEMON:
        check("a_transaction_fetches", b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" + bulk(b'[{"id":"c"}]') + b":1\r\n",
              lambda: nc(b"MULTI\nGET catalog:two\nINCR n:f\nEXEC\n"))
        check("refused_commands_leave_the_connection", [True, True, True, True, b"+PONG"],
              lambda: [line.startswith(b"-") or line for line in
                       nc(b"SUBSCRIBE c\nBLPOP nothing 1\nWATCH state:a\nMONITOR\nPING\n").splitlines()])


main()
