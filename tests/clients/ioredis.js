// ioredis, in the version that the first argument names.
"use strict";

const Redis = require(process.argv[2]);
const {check, each, errorOf, clear, restart, main, socket, way, daemon, ALL_BYTES, LARGE, CATALOG, KEYS} =
    require("./checks.js");

const WAYS = {
    plain: {},
    named: {db: 0, connectionName: "gateway"},
    resp2: {protocol: 2},
    mapped: {replyMapping: "resp3"},    // RESP3's types as JavaScript's
};

// Class and code of the error.
function code(call) {
    return errorOf(call, (error) => [error instanceof Redis.ReplyError, error.message.split(" ")[0]]);
}

async function basics(r) {
    await check("answers_ping", "PONG", () => r.ping());
    await check("has_its_name", way === "named" ? "gateway" : null, () => r.client("GETNAME"));
    await check("declared_key_is_fetched", CATALOG, () => r.get("catalog:one"));
    await check("missing_key_is_nil", null, () => r.get("state:none"));
    await check("set_then_get", ["OK", "v"], () => each(() => r.set("state:a", "v"), () => r.get("state:a")));
    await check("set_ex_gives_a_ttl", ["OK", true], () => each(
        () => r.set("state:ex", "v", "EX", 100), () => about100(r, "state:ex")));
    await check("set_nx_keeps_the_first", ["OK", null, "1"], () => each(
        () => r.set("state:nx", "1", "NX"), () => r.set("state:nx", "2", "NX"), () => r.get("state:nx")));
    await check("set_xx_needs_a_value", [null, null, "OK", "2"], () => each(
        () => r.set("state:xx", "1", "XX"), () => r.get("state:xx"),
        () => r.set("state:nx", "2", "XX"), () => r.get("state:nx")));
    await check("set_get_returns_the_old", [null, "1", "2"], () => each(
        () => r.set("state:get", "1", "GET"), () => r.set("state:get", "2", "GET"), () => r.get("state:get")));
    await check("set_keepttl_keeps_the_ttl", ["OK", true, "2"], () => each(
        () => r.set("state:ex", "2", "KEEPTTL"), () => about100(r, "state:ex"), () => r.get("state:ex")));
}

async function about100(r, key) {
    const ttl = await r.ttl(key);
    return ttl > 90 && ttl <= 100;
}

async function manyKeys(r) {
    await check("mget_mixes_kinds", ["OK", [CATALOG, "v", "p", null]], () => each(
        () => r.set("n:plain", "p"), () => r.mget("catalog:one", "state:a", "n:plain", "state:none")));
    await check("mset_mixes_kinds", ["OK", ["1", "2"]], () => each(
        () => r.mset({"state:m": "1", "n:m": "2"}), () => r.mget("state:m", "n:m")));
    await check("expire_ttl_persist", [-1, 1, true, 1, -1, -2], () => each(
        () => r.ttl("state:m"), () => r.expire("state:m", 100), () => about100(r, "state:m"),
        () => r.persist("state:m"), () => r.ttl("state:m"), () => r.ttl("state:none")));
    const replies = ["OK", "1", 1, CATALOG, 1, 1, null];
    await check("pipeline_mixes_kinds", replies, () => mixed(r.pipeline(), "p"));
    await check("transaction_mixes_kinds", replies, () => mixed(r.multi(), "t"));
}

async function mixed(pipe, name) {
    const key = "state:" + name;
    pipe.set(key, 1).get(key).incr("n:" + name).get("catalog:one").hset("h:" + name, "f", "v").del(key).get(key);
    return (await pipe.exec()).map(([error, reply]) => error ? String(error) : reply);
}

async function passedThrough(r) {
    const mapped = way === "mapped";
    await check("counter", [1, 6], () => each(() => r.incr("n:c"), () => r.incrby("n:c", 5)));
    await check("hash", [2, {a: "1", b: "2"}, mapped ? {a: "1", b: "2"} : ["a", "1", "b", "2"]], () => each(
        () => r.hset("h", {a: 1, b: 2}), () => r.hgetall("h"), () => r.call("HGETALL", "h")));
    await check("set", [2, ["x", "y"]], () => each(
        () => r.sadd("s", "x", "y"), () => r.smembers("s").then((members) => members.sort())));
    await check("sorted_set", [1, mapped ? 1.5 : "1.5"], () => each(
        () => r.zadd("z", 1.5, "m"), () => r.zscore("z", "m")));
    await check("list", [2, ["b", "a"]], () => each(() => r.lpush("l", "a", "b"), () => r.lrange("l", 0, -1)));
    await check("script", ["x1", "x2", "x3", [true, "NOSCRIPT"]], () => scripts(r));
    await check("scan_finds_all_keys", KEYS, () => scan(r, {match: "k:*", count: 10}));
}

// A script of ioredis's own is called by EVALSHA and, where Redis does not know it yet, by EVAL.
async function scripts(r) {
    const text = "return KEYS[1] .. ARGV[1]";
    r.defineCommand("join", {numberOfKeys: 1, lua: text + " --"});
    const sha = await r.script("LOAD", text);
    return each(() => r.eval(text, 1, "x", "1"), () => r.evalsha(sha, 1, "x", "2"), () => r.join("x", "3"),
        () => code(() => r.evalsha("0".repeat(40), 0)));
}

async function scan(r, options) {
    await Promise.all(KEYS.map((key) => r.set(key, "")));
    const found = new Set();
    for await (const keys of r.scanStream(options))
        keys.forEach((key) => found.add(key));
    return [...found].sort();
}

async function values(r) {
    for (const [name, value] of [["all_bytes_survive", ALL_BYTES], ["five_megabytes_survive", LARGE]])
        await check(name, ["OK", true], () => each(
            () => r.set("state:v", value), async () => value.equals(await r.getBuffer("state:v"))));
}

async function errors(r) {
    await check("wrong_type_is_an_error", [1, ...Array(3).fill([true, "WRONGTYPE"])], () => each(
        () => r.lpush("state:list", "x"),
        () => code(() => r.get("state:list")), () => code(() => r.get("l")), () => code(() => r.incr("h"))));
    await check("unknown_command_is_an_error", [true, "ERR"], () => code(() => r.call("NOSUCH", "a")));
    await check("wrong_arity_is_an_error", [true, "ERR"], () => code(() => r.call("GET")));
}

async function own(r) {
    await check("broken_json_is_refused", [[true, "ERR"], null], () => each(
        () => code(() => r.set("price:a", "{")), () => r.get("price:a")));
    await check("own_keys_stay_hidden", [], async () =>
        [...await scan(r, {}), ...await r.keys("*")].filter((key) => key.startsWith("catcached:")));
    await refused(r, "subscribe", "channel");
    await refused(r, "blpop", "nothing", "1");
    await refused(r, "watch", "state:a");
    await refused(r, "monitor");
}

// The error is the client's own and clear, and the connection goes on.
async function refused(r, command, ...args) {
    await check(command + "_is_refused", [true, true, true], async () => {
        const before = await r.client("ID");
        const [own, told] = await errorOf(() => r.call(command, ...args), (error) =>
            [error instanceof Redis.ReplyError, clear(error, command)]);
        return [own, told, await r.client("ID") === before];
    });
}

main(async () => {
    const r = new Redis({path: socket, ...WAYS[way]});
    r.on("error", (error) => console.error(error.message));
    await basics(r);
    await manyKeys(r);
    await passedThrough(r);
    await values(r);
    await errors(r);
    if (daemon)
        await own(r);
    await check("reconnects_after_restart", [true, "OK", "v"], () => each(
        restart, () => r.set("state:again", "v"), () => r.get("state:again")));
    await r.quit();
});
