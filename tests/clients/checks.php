<?php
// What the programs in PHP report with; the other languages do alike.

error_reporting(E_ALL & ~E_DEPRECATED);     // predis is older than this PHP

define('SOCKET', $argv[1]);
define('NAMED', $argv[2] === 'named');
define('DAEMON', $argv[3] === 'daemon');

define('ALL_BYTES', implode('', array_map('chr', range(0, 255))));
define('LARGE', str_repeat('0123456789abcdef', 5 * 1024 * 1024 / 16));
const CATALOG = '[{"id":"a"},{"id":"b"}]';
const SCRIPT = 'return KEYS[1] .. ARGV[1]';

// One counted test: the call has to give what is expected.
function check($name, $expected, $call)
{
    try {
        $got = short($call());
    } catch (Throwable $error) {
        $got = get_class($error) . ': ' . strtok($error->getMessage(), "\n");
    }
    $wanted = short($expected);
    echo $got === $wanted ? "ok $name\n" : "bad $name: expected $wanted, got $got\n";
}

function short($value)
{
    return substr(json_encode($value, JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION | JSON_PARTIAL_OUTPUT_ON_ERROR), 0, 600);
}

function sorted($array)
{
    sort($array);
    return $array;
}

function keys()
{
    return sorted(array_map(fn($i) => "k:$i", range(0, 99)));
}

function about100($ttl)
{
    return $ttl > 90 && $ttl <= 100;
}

// Whether an error says that the daemon knows the command, and refuses it.
function clear($text, $command)
{
    return stripos($text, $command) !== false && stripos($text, 'unknown command') === false;
}

function restart()
{
    echo "restart\n";
    fgets(STDIN);
    return true;
}
