<?php
// predis, which is PHP alone.

require __DIR__ . '/checks.php';
require 'Predis/Autoloader.php';

Predis\Autoloader::register();

function connect()
{
    $r = new Predis\Client(['scheme' => 'unix', 'path' => SOCKET] + (NAMED ? ['database' => 0] : []));
    if (NAMED)
        $r->client('SETNAME', 'gateway');
    return $r;
}

// Whether the reply is the status OK, which predis makes an object.
function ok($reply)
{
    return $reply instanceof Predis\Response\Status && $reply->getPayload() === 'OK';
}

// Code of the error that the call ends with.
function code($call)
{
    try {
        return $call();
    } catch (Predis\Response\ServerException $error) {
        return $error->getErrorType();
    }
}

function raw($r, ...$command)
{
    return $r->executeCommand(new Predis\Command\RawCommand($command));
}

function basics($r)
{
    check('answers_ping', 'PONG', fn() => (string)$r->ping());
    check('has_its_name', NAMED ? 'gateway' : null, fn() => $r->client('GETNAME'));
    check('declared_key_is_fetched', CATALOG, fn() => $r->get('catalog:one'));
    check('missing_key_is_nil', null, fn() => $r->get('state:none'));
    check('set_then_get', [true, 'v'], fn() => [ok($r->set('state:a', 'v')), $r->get('state:a')]);
    check('set_ex_gives_a_ttl', [true, true], fn() => [ok($r->set('state:ex', 'v', 'EX', 100)), about100($r->ttl('state:ex'))]);
    check('set_nx_keeps_the_first', [true, null, '1'], fn() => [
        ok($r->set('state:nx', '1', 'NX')), $r->set('state:nx', '2', 'NX'), $r->get('state:nx')]);
    check('set_xx_needs_a_value', [null, null, true, '2'], fn() => [
        $r->set('state:xx', '1', 'XX'), $r->get('state:xx'), ok($r->set('state:nx', '2', 'XX')), $r->get('state:nx')]);
    check('set_get_returns_the_old', [null, '1', '2'], fn() => [
        $r->set('state:get', '1', 'GET'), $r->set('state:get', '2', 'GET'), $r->get('state:get')]);
    check('set_keepttl_keeps_the_ttl', [true, true, '2'], fn() => [
        ok($r->set('state:ex', '2', 'KEEPTTL')), about100($r->ttl('state:ex')), $r->get('state:ex')]);
}

function many_keys($r)
{
    check('mget_mixes_kinds', [true, [CATALOG, 'v', 'p', null]], fn() => [
        ok($r->set('n:plain', 'p')), $r->mget('catalog:one', 'state:a', 'n:plain', 'state:none')]);
    check('mset_mixes_kinds', [true, ['1', '2']], fn() => [
        ok($r->mset(['state:m' => '1', 'n:m' => '2'])), $r->mget('state:m', 'n:m')]);
    check('expire_ttl_persist', [-1, 1, true, 1, -1, -2], fn() => [
        $r->ttl('state:m'), $r->expire('state:m', 100), about100($r->ttl('state:m')), $r->persist('state:m'),
        $r->ttl('state:m'), $r->ttl('state:none')]);
    $replies = ['OK', '1', 1, CATALOG, 1, 1, null];
    check('pipeline_mixes_kinds', $replies, fn() => plain($r->pipeline(fn($pipe) => mixed($pipe, 'p'))));
    check('transaction_mixes_kinds', $replies, fn() => plain($r->transaction(fn($pipe) => mixed($pipe, 't'))));
}

function mixed($pipe, $name)
{
    $key = "state:$name";
    $pipe->set($key, '1')->get($key)->incr("n:$name")->get('catalog:one')->hset("h:$name", 'f', 'v')->del($key)->get($key);
}

function plain($replies)
{
    return array_map(fn($reply) => is_object($reply) ? (string)$reply : $reply, $replies);
}

function passed_through($r)
{
    check('counter', [1, 6], fn() => [$r->incr('n:c'), $r->incrby('n:c', 5)]);
    check('hash', [true, ['a' => '1', 'b' => '2']], fn() => [ok($r->hmset('h', ['a' => '1', 'b' => '2'])), $r->hgetall('h')]);
    check('set', [2, ['x', 'y']], fn() => [$r->sadd('s', ['x', 'y']), sorted($r->smembers('s'))]);
    check('sorted_set', [1, '1.5'], fn() => [$r->zadd('z', ['m' => 1.5]), $r->zscore('z', 'm')]);
    check('list', [2, ['b', 'a']], fn() => [$r->lpush('l', ['a', 'b']), $r->lrange('l', 0, -1)]);
    check('script', ['x1', 'x2', 'NOSCRIPT'], fn() => [
        $r->eval(SCRIPT, 1, 'x', '1'), $r->evalsha($r->script('LOAD', SCRIPT), 1, 'x', '2'),
        code(fn() => $r->evalsha(str_repeat('0', 40), 0))]);
    check('scan_finds_all_keys', keys(), fn() => scan($r, 'k:*'));
}

function scan($r, $pattern)
{
    foreach (keys() as $key)
        $r->set($key, '');
    return sorted(array_unique(iterator_to_array(new Predis\Collection\Iterator\Keyspace($r, $pattern, 10), false)));
}

function values($r)
{
    foreach (['all_bytes_survive' => ALL_BYTES, 'five_megabytes_survive' => LARGE] as $name => $value)
        check($name, [true, true], fn() => [ok($r->set('state:v', $value)), $r->get('state:v') === $value]);
}

function errors($r)
{
    check('wrong_type_is_an_error', [1, 'WRONGTYPE', 'WRONGTYPE', 'WRONGTYPE'], fn() => [
        $r->lpush('state:list', ['x']), code(fn() => $r->get('state:list')), code(fn() => $r->get('l')), code(fn() => $r->incr('h'))]);
    check('unknown_command_is_an_error', 'ERR', fn() => code(fn() => raw($r, 'NOSUCH', 'a')));
    check('wrong_arity_is_an_error', 'ERR', fn() => code(fn() => raw($r, 'GET')));
}

function own($r)
{
    check('broken_json_is_refused', ['ERR', null], fn() => [code(fn() => $r->set('price:a', '{')), $r->get('price:a')]);
    check('own_keys_stay_hidden', [], fn() =>
        preg_grep('/^catcached:/', array_merge(scan($r, '*'), $r->keys('*'))));
    check('subscribe_is_refused', [true, true], fn() => refused($r, 'SUBSCRIBE', 'channel'));
    check('blpop_is_refused', [true, true], fn() => refused($r, 'BLPOP', 'nothing', '1'));
    check('watch_is_refused', [true, true], fn() => refused($r, 'WATCH', 'state:a'));
    check('monitor_is_refused', [true, true], fn() => refused($r, 'MONITOR'));
}

// The error is the client's own and clear, and the connection goes on.
function refused($r, ...$command)
{
    $before = raw($r, 'CLIENT', 'ID');
    try {
        return raw($r, ...$command);
    } catch (Predis\Response\ServerException $error) {
        return [clear($error->getMessage(), $command[0]), raw($r, 'CLIENT', 'ID') === $before];
    }
}

// predis finds the connection broken by its first use, and makes a new one at the next.
function reconnects($r)
{
    restart();
    try {
        $r->ping();
    } catch (Predis\Connection\ConnectionException $error) {
        $r->disconnect();
    }
    return [ok($r->set('state:again', 'v')), $r->get('state:again')];
}

$r = connect();
basics($r);
many_keys($r);
passed_through($r);
values($r);
errors($r);
if (DAEMON)
    own($r);
check('reconnects_after_restart', [true, 'v'], fn() => reconnects($r));
