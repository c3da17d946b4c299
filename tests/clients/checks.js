// What the programs for Node report with; the other languages do alike.
"use strict";

const [socket, way, target] = process.argv.slice(3);

// One counted test: the call has to give what is expected.
async function check(name, expected, call) {
    const wanted = short(expected);
    const got = short(await Promise.resolve().then(call).catch((error) => String(error)));
    if (got === wanted)
        console.log("ok " + name);
    else
        console.log(`bad ${name}: expected ${wanted}, got ${got}`);
}

function short(value) {
    return String(JSON.stringify(value)).slice(0, 600);
}

// The results of the calls; each is made when the one before has its reply.
async function each(...calls) {
    const results = [];
    for (const call of calls)
        results.push(await call());
    return results;
}

// What describe makes of the error that the call is to end with.
async function errorOf(call, describe) {
    try {
        return await call();
    } catch (error) {
        return describe(error);
    }
}

// Whether an error says that the daemon knows the command, and refuses it.
function clear(error, command) {
    const text = error.message.toLowerCase();
    return text.includes(command) && !text.includes("unknown command");
}

// Has the server restarted.
function restart() {
    return new Promise((resolve) => {
        process.stdin.once("data", () => resolve(true));
        console.log("restart");
    });
}

// Runs the program, and ends when it does: open connections and timers would keep Node alive.
function main(program) {
    program().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
}

module.exports = {
    check, each, errorOf, clear, restart, main, socket, way,
    daemon: target === "daemon",
    ALL_BYTES: Buffer.from(Array.from({length: 256}, (_, i) => i)),
    LARGE: Buffer.alloc(5 * 1024 * 1024, "0123456789abcdef"),
    CATALOG: '[{"id":"a"},{"id":"b"}]',
    KEYS: Array.from({length: 100}, (_, i) => "k:" + i).sort(),
};
