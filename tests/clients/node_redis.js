// node-redis, in the version that the first argument names.
"use strict";

const redis = require(process.argv[2]);
const {check, each, errorOf, clear, restart, main, socket, way, daemon, ALL_BYTES, LARGE, CATALOG, KEYS} =
    require("./checks.js");

const MAJOR = Number(process.argv[2].split("-").pop());
const WAYS = {
    plain: {},
    named: {database: 0, name: "gateway"},
    resp2: {RESP: 2},
    resp3: {RESP: 3},
};
const RESP3 = way === "resp3" || (MAJOR >= 6 && way !== "resp2");

// Class and code of the error.
function code(call) {
    return errorOf(call, (error) => [error instanceof redis.ErrorReply, error.message.split(" ")[0]]);
}

async function basics(r) {
    await check("answers_ping", "PONG", () => r.ping());
    await check("has_its_name", way === "named" ? "gateway" : null, () => r.clientGetName());
    await check("declared_key_is_fetched", CATALOG, () => r.get("catalog:one"));
    await check("missing_key_is_nil", null, () => r.get("state:none"));
    await check("set_then_get", ["OK", "v"], () => each(() => r.set("state:a", "v"), () => r.get("state:a")));
    await check("set_ex_gives_a_ttl", ["OK", true], () => each(
        () => r.set("state:ex", "v", {EX: 100}), () => about100(r, "state:ex")));
    await check("set_nx_keeps_the_first", ["OK", null, "1"], () => each(
        () => r.set("state:nx", "1", {NX: true}), () => r.set("state:nx", "2", {NX: true}), () => r.get("state:nx")));
    await check("set_xx_needs_a_value", [null, null, "OK", "2"], () => each(
        () => r.set("state:xx", "1", {XX: true}), () => r.get("state:xx"),
        () => r.set("state:nx", "2", {XX: true}), () => r.get("state:nx")));
    await check("set_get_returns_the_old", [null, "1", "2"], () => each(
        () => r.set("state:get", "1", {GET: true}), () => r.set("state:get", "2", {GET: true}),
        () => r.get("state:get")));
    await check("set_keepttl_keeps_the_ttl", ["OK", true, "2"], () => each(
        () => r.set("state:ex", "2", {KEEPTTL: true}), () => about100(r, "state:ex"), () => r.get("state:ex")));
}

async function about100(r, key) {
    const ttl = await r.ttl(key);
    return ttl > 90 && ttl <= 100;
}

async function manyKeys(r) {
    await check("mget_mixes_kinds", ["OK", [CATALOG, "v", "p", null]], () => each(
        () => r.set("n:plain", "p"), () => r.mGet(["catalog:one", "state:a", "n:plain", "state:none"])));
    await check("mset_mixes_kinds", ["OK", ["1", "2"]], () => each(
        () => r.mSet({"state:m": "1", "n:m": "2"}), () => r.mGet(["state:m", "n:m"])));
    const flag = MAJOR === 4 ? true : 1;
    await check("expire_ttl_persist", [-1, flag, true, flag, -1, -2], () => each(
        () => r.ttl("state:m"), () => r.expire("state:m", 100), () => about100(r, "state:m"),
        () => r.persist("state:m"), () => r.ttl("state:m"), () => r.ttl("state:none")));
    const replies = ["OK", "1", 1, CATALOG, 1, 1, null];
    await check("pipeline_mixes_kinds", replies, () => mixed(r.multi(), "p").execAsPipeline());
    await check("transaction_mixes_kinds", replies, () => mixed(r.multi(), "t").exec());
}

function mixed(multi, name) {
    const key = "state:" + name;
    return multi.set(key, "1").get(key).incr("n:" + name).get("catalog:one").hSet("h:" + name, "f", "v")
        .del(key).get(key);
}

async function passedThrough(r) {
    await check("counter", [1, 6], () => each(() => r.incr("n:c"), () => r.incrBy("n:c", 5)));
    await check("hash", [2, {a: "1", b: "2"}, RESP3 ? {a: "1", b: "2"} : ["a", "1", "b", "2"]], () => each(
        () => r.hSet("h", {a: "1", b: "2"}), () => r.hGetAll("h"), () => r.sendCommand(["HGETALL", "h"])));
    await check("set", [2, ["x", "y"]], () => each(
        () => r.sAdd("s", ["x", "y"]), () => r.sMembers("s").then((members) => [...members].sort())));
    await check("sorted_set", [1, 1.5, RESP3 ? 1.5 : "1.5"], () => each(
        () => r.zAdd("z", {score: 1.5, value: "m"}), () => r.zScore("z", "m"),
        () => r.sendCommand(["ZSCORE", "z", "m"])));
    await check("list", [2, ["b", "a"]], () => each(() => r.lPush("l", ["a", "b"]), () => r.lRange("l", 0, -1)));
    await check("script", ["x1", "x2", [true, "NOSCRIPT"]], () => scripts(r));
    await check("scan_finds_all_keys", KEYS, () => scan(r, {MATCH: "k:*", COUNT: 10}));
}

async function scripts(r) {
    const text = "return KEYS[1] .. ARGV[1]";
    const sha = await r.scriptLoad(text);
    return each(() => r.eval(text, {keys: ["x"], arguments: ["1"]}),
        () => r.evalSha(sha, {keys: ["x"], arguments: ["2"]}),
        () => code(() => r.evalSha("0".repeat(40))));
}

// Up to version 4 the iterator gives one key at a time, then as many as a reply has.
async function scan(r, options) {
    await Promise.all(KEYS.map((key) => r.set(key, "")));
    const found = new Set();
    for await (const keys of r.scanIterator(options))
        [].concat(keys).forEach((key) => found.add(key));
    return [...found].sort();
}

async function values(r) {
    for (const [name, value] of [["all_bytes_survive", ALL_BYTES], ["five_megabytes_survive", LARGE]])
        await check(name, ["OK", true], () => each(
            () => r.set("state:v", value), async () => value.equals(await getBuffer(r, "state:v"))));
}

function getBuffer(r, key) {
    if (MAJOR === 4)
        return r.get(redis.commandOptions({returnBuffers: true}), key);
    return r.withTypeMapping({[redis.RESP_TYPES.BLOB_STRING]: Buffer}).get(key);
}

async function errors(r) {
    await check("wrong_type_is_an_error", [1, ...Array(3).fill([true, "WRONGTYPE"])], () => each(
        () => r.lPush("state:list", "x"),
        () => code(() => r.get("state:list")), () => code(() => r.get("l")), () => code(() => r.incr("h"))));
    await check("unknown_command_is_an_error", [true, "ERR"], () => code(() => r.sendCommand(["NOSUCH", "a"])));
    await check("wrong_arity_is_an_error", [true, "ERR"], () => code(() => r.sendCommand(["GET"])));
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
async function refused(r, ...command) {
    await check(command[0] + "_is_refused", [true, true, true], async () => {
        const before = await r.clientId();
        const [own, told] = await errorOf(() => r.sendCommand(command), (error) =>
            [error instanceof redis.ErrorReply, clear(error, command[0])]);
        return [own, told, await r.clientId() === before];
    });
}

main(async () => {
    const r = redis.createClient({socket: {path: socket}, ...WAYS[way]});
    r.on("error", (error) => console.error(error.message));
    await r.connect();
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
