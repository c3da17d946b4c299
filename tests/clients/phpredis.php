<?php
// phpredis, the extension. It gives false both for nil and for an error, and tells of errors in getLastError().

require __DIR__ . '/checks.php';

function connect()
{
    $r = new Redis();
    $r->connect(SOCKET);
    if (NAMED) {
        $r->select(0);
        $r->client('setname', 'gateway');
    }
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    return $r;
}

// Code of the error that the call ends with.
function code($r, $call)
{
    $r->clearLastError();
    $result = $call();
    return $result === false ? strtok((string)$r->getLastError(), ' ') : $result;
}

function basics($r)
{
    check('answers_ping', true, fn() => $r->ping());
    check('has_its_name', NAMED ? 'gateway' : false, fn() => $r->client('getname'));
    check('declared_key_is_fetched', CATALOG, fn() => $r->get('catalog:one'));
    check('missing_key_is_nil', [false, null], fn() => [$r->get('state:none'), $r->getLastError()]);
    check('set_then_get', [true, 'v'], fn() => [$r->set('state:a', 'v'), $r->get('state:a')]);
    check('set_ex_gives_a_ttl', [true, true, true, true], fn() => [
        $r->set('state:ex', 'v', 100), about100($r->ttl('state:ex')),
        $r->set('state:ex', 'v', ['ex' => 100]), about100($r->ttl('state:ex'))]);
    check('set_nx_keeps_the_first', [true, false, '1'], fn() => [
        $r->set('state:nx', '1', ['nx', 'ex' => 100]), $r->set('state:nx', '2', ['nx']), $r->get('state:nx')]);
    check('set_xx_needs_a_value', [false, false, true, '2'], fn() => [
        $r->set('state:xx', '1', ['xx']), $r->get('state:xx'), $r->set('state:nx', '2', ['xx']), $r->get('state:nx')]);
    check('set_get_returns_the_old', [false, '1', '2'], fn() => [
        $r->rawCommand('SET', 'state:get', '1', 'GET'), $r->rawCommand('SET', 'state:get', '2', 'GET'), $r->get('state:get')]);
    check('set_keepttl_keeps_the_ttl', [true, true, '2'], fn() => [
        $r->rawCommand('SET', 'state:ex', '2', 'KEEPTTL'), about100($r->ttl('state:ex')), $r->get('state:ex')]);
}

function many_keys($r)
{
    check('mget_mixes_kinds', [true, [CATALOG, 'v', 'p', false]], fn() => [
        $r->set('n:plain', 'p'), $r->mget(['catalog:one', 'state:a', 'n:plain', 'state:none'])]);
    check('mset_mixes_kinds', [true, ['1', '2']], fn() => [
        $r->mset(['state:m' => '1', 'n:m' => '2']), $r->mget(['state:m', 'n:m'])]);
    check('expire_ttl_persist', [-1, true, true, true, -1, -2], fn() => [
        $r->ttl('state:m'), $r->expire('state:m', 100), about100($r->ttl('state:m')), $r->persist('state:m'),
        $r->ttl('state:m'), $r->ttl('state:none')]);
    $replies = [true, '1', 1, CATALOG, 1, 1, false];
    check('pipeline_mixes_kinds', $replies, fn() => mixed($r->pipeline(), 'p'));
    check('transaction_mixes_kinds', $replies, fn() => mixed($r->multi(), 't'));
}

function mixed($pipe, $name)
{
    $key = "state:$name";
    return $pipe->set($key, '1')->get($key)->incr("n:$name")->get('catalog:one')->hSet("h:$name", 'f', 'v')
        ->del($key)->get($key)->exec();
}

function passed_through($r)
{
    check('counter', [1, 6], fn() => [$r->incr('n:c'), $r->incrBy('n:c', 5)]);
    check('hash', [true, ['a' => '1', 'b' => '2']], fn() => [$r->hMSet('h', ['a' => '1', 'b' => '2']), $r->hGetAll('h')]);
    check('set', [2, ['x', 'y']], fn() => [$r->sAdd('s', 'x', 'y'), sorted($r->sMembers('s'))]);
    check('sorted_set', [1, 1.5], fn() => [$r->zAdd('z', 1.5, 'm'), $r->zScore('z', 'm')]);
    check('list', [2, ['b', 'a']], fn() => [$r->lPush('l', 'a', 'b'), $r->lRange('l', 0, -1)]);
    check('script', ['x1', 'x2', 'NOSCRIPT'], fn() => [
        $r->eval(SCRIPT, ['x', '1'], 1), $r->evalSha($r->script('load', SCRIPT), ['x', '2'], 1),
        code($r, fn() => $r->evalSha(str_repeat('0', 40)))]);
    check('sessions', [null, 'kept'], fn() => [session('kept'), session('other')]);
    check('scan_finds_all_keys', keys(), fn() => scan($r, 'k:*'));
}

// One request of a visitor: PHP's session in Redis, locked while in use. Leaves a word and gives the one before.
function session($word)
{
    $options = ['save_handler' => 'redis', 'save_path' => 'unix://' . SOCKET, 'use_cookies' => '0', 'cache_limiter' => ''];
    ini_set('redis.session.locking_enabled', '1');
    session_id('visitor');
    session_start($options);
    $before = $_SESSION['word'] ?? null;
    $_SESSION['word'] = $word;
    session_write_close();
    return $before;
}

function scan($r, $pattern)
{
    foreach (keys() as $key)
        $r->set($key, '');
    $found = [];
    $cursor = null;
    while ($keys = $r->scan($cursor, $pattern, 10))
        $found = array_merge($found, $keys);
    return sorted(array_unique($found));
}

function values($r)
{
    foreach (['all_bytes_survive' => ALL_BYTES, 'five_megabytes_survive' => LARGE] as $name => $value)
        check($name, [true, true], fn() => [$r->set('state:v', $value), $r->get('state:v') === $value]);
}

function errors($r)
{
    check('wrong_type_is_an_error', [1, 'WRONGTYPE', 'WRONGTYPE', 'WRONGTYPE'], fn() => [
        $r->lPush('state:list', 'x'), code($r, fn() => $r->get('state:list')), code($r, fn() => $r->get('l')),
        code($r, fn() => $r->incr('h'))]);
    check('unknown_command_is_an_error', 'ERR', fn() => code($r, fn() => $r->rawCommand('NOSUCH', 'a')));
    check('wrong_arity_is_an_error', 'ERR', fn() => code($r, fn() => $r->rawCommand('GET')));
}

function own($r)
{
    check('broken_json_is_refused', ['ERR', false], fn() => [code($r, fn() => $r->set('price:a', '{')), $r->get('price:a')]);
    check('own_keys_stay_hidden', [], fn() =>
        preg_grep('/^catcached:/', array_merge(scan($r, '*'), $r->keys('*'))));
    check('subscribe_is_refused', [true, true], fn() => refused($r, 'SUBSCRIBE', 'channel'));
    check('blpop_is_refused', [true, true], fn() => refused($r, 'BLPOP', 'nothing', '1'));
    check('watch_is_refused', [true, true], fn() => refused($r, 'WATCH', 'state:a'));
    check('monitor_is_refused', [true, true], fn() => refused($r, 'MONITOR'));
}

// The error is clear, and the connection goes on: the client would open a new one unasked.
function refused($r, ...$command)
{
    $before = $r->client('id');
    $r->clearLastError();
    $refused = $r->rawCommand(...$command) === false && clear($r->getLastError(), $command[0]);
    return [$refused, $r->client('id') === $before];
}

$r = connect();
basics($r);
many_keys($r);
passed_through($r);
values($r);
errors($r);
if (DAEMON)
    own($r);
check('reconnects_after_restart', [true, true, 'v'], fn() => [restart(), $r->set('state:again', 'v'), $r->get('state:again')]);
