"""redis-benchmark: it ends at the first error reply, so it is enough that it ends well."""

import subprocess

from checks import SOCKET, check

DEFAULT = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP",
           "ZADD", "ZPOPMIN", "LPUSH (needed to benchmark LRANGE)", "LRANGE_100 (first 100 elements)",
           "LRANGE_300 (first 300 elements)", "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)",
           "MSET (10 keys)"]


def benchmark(*options):
    """Exit status, what went to stderr, and the names of the tests that were done."""
    done = subprocess.run(["redis-benchmark", "-s", SOCKET, "--csv", *options], capture_output=True, text=True,
                          check=False, timeout=50)
    rows = [line.split('","')[0].strip('"') for line in done.stdout.splitlines()]
    return done.returncode, done.stderr, [row for row in rows if row != "test"]


def main():
    check("default_tests_end_well", (0, "", DEFAULT), lambda: benchmark("-n", "2000"))
    check("default_tests_end_well_in_resp3", (0, "", DEFAULT), lambda: benchmark("-n", "1000", "-3"))
    check("pipelines_of_sixteen", (0, "", ["SET", "GET"]), lambda: benchmark("-n", "20000", "-P", "16", "-t", "set,get"))
    check("a_thousand_random_keys", (0, "", ["SET", "GET"]), lambda: benchmark("-n", "5000", "-r", "1000", "-t", "get,set"))
    check("values_of_64_kilobytes", (0, "", ["SET", "GET"]),
          lambda: benchmark("-n", "1000", "-d", "65536", "-t", "set,get"))
    check("two_threads_and_a_command", (0, "", ["get catalog:one"]),
          lambda: benchmark("-n", "2000", "--threads", "2", "get", "catalog:one"))


main()
