"""redis-py: in pure Python, and with hiredis for its parser."""

import redis
from redis.connection import HiredisParser, PythonParser

from checks import ALL_BYTES, CATALOG, DAEMON, LARGE, SOCKET, WAY, check, clear, restart


def connect():
    options = {"db": 0, "client_name": "gateway"} if WAY == "named" else {}
    pool = redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=SOCKET, max_connections=1,
                                parser_class=HiredisParser if WAY == "hiredis" else PythonParser, **options)
    return redis.Redis(connection_pool=pool)


def error_of(call):
    """Class and code of the error; redis-py drops the code ERR."""
    try:
        return call()
    except redis.RedisError as error:
        return type(error).__name__, str(error).split()[0]


def basics(r):
    check("answers_ping", True, r.ping)
    check("has_its_name", "gateway" if WAY == "named" else None, r.client_getname)
    check("declared_key_is_fetched", CATALOG, lambda: r.get("catalog:one"))
    check("missing_key_is_nil", None, lambda: r.get("state:none"))
    check("set_then_get", [True, b"v"], lambda: [r.set("state:a", "v"), r.get("state:a")])
    check("set_ex_gives_a_ttl", [True, True], lambda: [r.set("state:ex", "v", ex=100), 90 < r.ttl("state:ex") <= 100])
    check("set_nx_keeps_the_first", [True, None, b"1"],
          lambda: [r.set("state:nx", "1", nx=True), r.set("state:nx", "2", nx=True), r.get("state:nx")])
    check("set_xx_needs_a_value", [None, None, True, b"2"],
          lambda: [r.set("state:xx", "1", xx=True), r.get("state:xx"),
                   r.set("state:nx", "2", xx=True), r.get("state:nx")])
    check("set_get_returns_the_old", [None, b"1", b"2"],
          lambda: [r.set("state:get", "1", get=True), r.set("state:get", "2", get=True), r.get("state:get")])
    check("set_keepttl_keeps_the_ttl", [True, True, b"2"],
          lambda: [r.set("state:ex", "2", keepttl=True), 90 < r.ttl("state:ex") <= 100, r.get("state:ex")])


def many_keys(r):
    check("mget_mixes_kinds", [True, [CATALOG, b"v", b"p", None]],
          lambda: [r.set("n:plain", "p"), r.mget("catalog:one", "state:a", "n:plain", "state:none")])
    check("mset_mixes_kinds", [True, [b"1", b"2"]],
          lambda: [r.mset({"state:m": "1", "n:m": "2"}), r.mget("state:m", "n:m")])
    check("expire_ttl_persist", [-1, True, True, True, -1, -2],
          lambda: [r.ttl("state:m"), r.expire("state:m", 100), 90 < r.ttl("state:m") <= 100, r.persist("state:m"),
                   r.ttl("state:m"), r.ttl("state:none")])
    check("pipeline_mixes_kinds", MIXED_REPLIES, lambda: mixed(r.pipeline(transaction=False), "p"))
    check("transaction_mixes_kinds", MIXED_REPLIES, lambda: mixed(r.pipeline(), "t"))


MIXED_REPLIES = [True, b"1", 1, CATALOG, 1, 1, None]


def mixed(pipe, name):
    key = f"state:{name}"
    pipe.set(key, 1).get(key).incr(f"n:{name}").get("catalog:one").hset(f"h:{name}", "f", "v").delete(key).get(key)
    return pipe.execute()


def passed_through(r):
    check("counter", [1, 6], lambda: [r.incr("n:c"), r.incrby("n:c", 5)])
    check("hash", [2, {b"a": b"1", b"b": b"2"}], lambda: [r.hset("h", mapping={"a": 1, "b": 2}), r.hgetall("h")])
    check("set", [2, {b"x", b"y"}], lambda: [r.sadd("s", "x", "y"), r.smembers("s")])
    check("sorted_set", [1, 1.5], lambda: [r.zadd("z", {"m": 1.5}), r.zscore("z", "m")])
    check("list", [2, [b"b", b"a"]], lambda: [r.lpush("l", "a", "b"), r.lrange("l", 0, -1)])
    check("script", [b"x1", b"x2", True, ("NoScriptError", "No")], lambda: scripts(r))
    check("lock", [True, False, True, None], lambda: lock(r))
    check("scan_finds_all_keys", KEYS, lambda: sorted(scan(r, match="k:*", count=10)))


def scripts(r):
    text = "return KEYS[1] .. ARGV[1]"
    sha = r.script_load(text)
    return [r.eval(text, 1, "x", "1"), r.evalsha(sha, 1, "x", "2"), len(sha) == 40,
            error_of(lambda: r.evalsha("0" * 40, 0))]


def lock(r):
    """redis-py's own locks: SET NX PX, and scripts to give back only what is one's own."""
    mine, other = r.lock("lock:a", timeout=30), r.lock("lock:a", timeout=30)
    results = [mine.acquire(), other.acquire(blocking=False), mine.extend(30)]
    return results + [mine.release()]


KEYS = sorted(b"k:%d" % i for i in range(100))


def scan(r, **options):
    for key in KEYS:
        r.set(key, "")
    return set(r.scan_iter(**options))


def values(r):
    check("all_bytes_survive", True, lambda: r.set("state:b", ALL_BYTES) and r.get("state:b") == ALL_BYTES)
    check("five_megabytes_survive", True, lambda: r.set("state:l", LARGE) and r.get("state:l") == LARGE)


def errors(r):
    check("wrong_type_is_an_error", [1] + [("ResponseError", "WRONGTYPE")] * 3,
          lambda: [r.lpush("state:list", "x"), error_of(lambda: r.get("state:list")),
                   error_of(lambda: r.get("l")), error_of(lambda: r.incr("h"))])
    check("unknown_command_is_an_error", ("ResponseError", "unknown"),
          lambda: error_of(lambda: r.execute_command("NOSUCH", "a")))
    check("wrong_arity_is_an_error", ("ResponseError", "wrong"), lambda: error_of(lambda: r.execute_command("GET")))


def own(r):
    check("broken_json_is_refused", [("ResponseError", "invalid"), None],
          lambda: [error_of(lambda: r.set("price:a", "{")), r.get("price:a")])
    check("own_keys_stay_hidden", [],
          lambda: [key for key in [*scan(r), *r.keys("*")] if key.startswith(b"catcached:")])
    check("subscribe_is_refused", REFUSED, lambda: refused(r, "SUBSCRIBE", "channel"))
    check("blpop_is_refused", REFUSED, lambda: refused(r, "BLPOP", "nothing", "1"))
    check("watch_is_refused", REFUSED, lambda: refused(r, "WATCH", "state:a"))
    check("monitor_is_refused", REFUSED, lambda: refused(r, "MONITOR"))


REFUSED = ["ResponseError", True, True]


def refused(r, *command):
    """The error is the client's own and clear, and the connection goes on."""
    before = r.client_id()
    try:
        return r.execute_command(*command)
    except redis.RedisError as error:
        return [type(error).__name__, clear(error, command[0]), r.client_id() == before]


def reconnects(r):
    restart()
    return [r.set("state:again", "v"), r.get("state:again")]


def main():
    r = connect()
    basics(r)
    many_keys(r)
    passed_through(r)
    values(r)
    errors(r)
    if DAEMON:
        own(r)
    check("reconnects_after_restart", [True, b"v"], lambda: reconnects(r))


main()
