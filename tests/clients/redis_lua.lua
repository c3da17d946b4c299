-- redis-lua, the client of Lua. Replies are compared as text: see text().

local redis = require 'redis'

local SOCKET, WAY, TARGET = arg[1], arg[2], arg[3]
local CATALOG = '[{"id":"a"},{"id":"b"}]'
local SCRIPT = 'return KEYS[1] .. ARGV[1]'
local LARGE = ('0123456789abcdef'):rep(5 * 1024 * 1024 / 16)
local ALL_BYTES = ''
for i = 0, 255 do ALL_BYTES = ALL_BYTES .. string.char(i) end
local KEYS = {}
for i = 0, 99 do table.insert(KEYS, 'k:' .. i) end
table.sort(KEYS)

io.stdout:setvbuf('line')

-- The values as text, lists and tables (by their keys) in brackets.
local function text(...)
    local words = {}
    for i = 1, select('#', ...) do
        local value = select(i, ...)
        if type(value) == 'table' and next(value) and #value == 0 then
            local pairs_of = {}
            for k, v in pairs(value) do table.insert(pairs_of, k .. '=' .. tostring(v)) end
            table.sort(pairs_of)
            value = pairs_of
        end
        words[i] = type(value) == 'table' and '[' .. text(unpack(value, 1, value.n or #value)) .. ']' or tostring(value)
    end
    return table.concat(words, ' ')
end

-- One counted test: the call has to give what is expected, as text.
local function check(name, expected, call)
    local got = text(select(2, pcall(call)))
    if got == expected then
        print('ok ' .. name)
    else
        print(('bad %s: expected %s, got %s'):format(name, expected, got:sub(1, 600)))
    end
end

-- The text of the error that the call ends with.
local function error_of(call)
    local good, got = pcall(call)
    return not good and tostring(got):match('redis error: (.*)') or 'no error: ' .. text(got)
end

local function code(call)
    return error_of(call):match('^%S+')
end

local function about100(ttl)
    return ttl > 90 and ttl <= 100
end

local function restart()
    print('restart')
    return io.read()
end

local function connect()
    local r = redis.connect({scheme = 'unix', path = SOCKET})
    if WAY == 'named' then
        r:select(0)
        r:client('SETNAME', 'gateway')
    end
    return r
end

local function basics(r)
    check('answers_ping', 'true', function() return r:ping() end)
    check('has_its_name', WAY == 'named' and 'gateway' or 'nil', function() return r:client('GETNAME') end)
    check('declared_key_is_fetched', CATALOG, function() return r:get('catalog:one') end)
    check('missing_key_is_nil', 'nil', function() return r:get('state:none') end)
    check('set_then_get', 'true v', function() return r:set('state:a', 'v'), r:get('state:a') end)
    check('set_ex_gives_a_ttl', 'true true', function()
        return r:set('state:ex', 'v', 'EX', 100), about100(r:ttl('state:ex'))
    end)
    check('set_nx_keeps_the_first', 'true nil 1', function()
        return r:set('state:nx', '1', 'NX'), r:set('state:nx', '2', 'NX'), r:get('state:nx')
    end)
    check('set_xx_needs_a_value', 'nil nil true 2', function()
        return r:set('state:xx', '1', 'XX'), r:get('state:xx'), r:set('state:nx', '2', 'XX'), r:get('state:nx')
    end)
    check('set_get_returns_the_old', 'nil 1 2', function()
        return r:set('state:get', '1', 'GET'), r:set('state:get', '2', 'GET'), r:get('state:get')
    end)
    check('set_keepttl_keeps_the_ttl', 'true true 2', function()
        return r:set('state:ex', '2', 'KEEPTTL'), about100(r:ttl('state:ex')), r:get('state:ex')
    end)
end

local function mixed(pipe, name)
    local key = 'state:' .. name
    pipe:set(key, 1)
    pipe:get(key)
    pipe:incr('n:' .. name)
    pipe:get('catalog:one')
    pipe:hset('h:' .. name, 'f', 'v')
    pipe:del(key)
    pipe:get(key)
end

-- Replies with a nil at the end: the length has to be told.
local function seven(replies)
    replies.n = 7
    return replies
end

local function many_keys(r)
    check('mget_mixes_kinds', 'true [' .. CATALOG .. ' v p nil]', function()
        local plain = r:set('n:plain', 'p')
        local replies = r:mget('catalog:one', 'state:a', 'n:plain', 'state:none')
        replies.n = 4
        return plain, replies
    end)
    check('mset_mixes_kinds', 'true [1 2]', function()
        return r:mset('state:m', '1', 'n:m', '2'), r:mget('state:m', 'n:m')
    end)
    check('expire_ttl_persist', '-1 true true true -1 -2', function()
        return r:ttl('state:m'), r:expire('state:m', 100), about100(r:ttl('state:m')), r:persist('state:m'),
            r:ttl('state:m'), r:ttl('state:none')
    end)
    local replies = '[true 1 1 ' .. CATALOG .. ' true 1 nil]'
    check('pipeline_mixes_kinds', replies, function()
        return seven((r:pipeline(function(pipe) mixed(pipe, 'p') end)))
    end)
    check('transaction_mixes_kinds', replies, function()
        return seven((r:transaction(function(pipe) mixed(pipe, 't') end)))
    end)
end

local function scan(r, options)
    for _, key in ipairs(KEYS) do r:set(key, '') end
    local seen, found, cursor = {}, {}, '0'
    repeat
        local reply = r:scan(cursor, options)
        cursor = reply[1]
        for _, key in ipairs(reply[2]) do
            if not seen[key] then table.insert(found, key) end
            seen[key] = true
        end
    until cursor == '0'
    table.sort(found)
    return found
end

local function sorted(list)
    table.sort(list)
    return list
end

local function passed_through(r)
    check('counter', '1 6', function() return r:incr('n:c'), r:incrby('n:c', 5) end)
    check('hash', 'true [a=1 b=2]', function() return r:hmset('h', 'a', 1, 'b', 2), r:hgetall('h') end)
    check('set', '2 [x y]', function() return r:sadd('s', 'x', 'y'), sorted(r:smembers('s')) end)
    check('sorted_set', '1 1.5', function() return r:zadd('z', 1.5, 'm'), r:zscore('z', 'm') end)
    check('list', '2 [b a]', function() return r:lpush('l', 'a', 'b'), r:lrange('l', 0, -1) end)
    check('script', 'x1 x2 NOSCRIPT', function()
        return r:eval(SCRIPT, 1, 'x', '1'), r:evalsha(r:script('LOAD', SCRIPT), 1, 'x', '2'),
            code(function() r:evalsha(('0'):rep(40), 0) end)
    end)
    check('scan_finds_all_keys', text(KEYS), function() return scan(r, {match = 'k:*', count = 10}) end)
end

local function values(r)
    for name, value in pairs({all_bytes_survive = ALL_BYTES, five_megabytes_survive = LARGE}) do
        check(name, 'true true', function() return r:set('state:v', value), r:get('state:v') == value end)
    end
end

-- What the client has no function for can be sent as a line.
local function errors(r)
    check('wrong_type_is_an_error', '1 WRONGTYPE WRONGTYPE WRONGTYPE', function()
        return r:lpush('state:list', 'x'), code(function() r:get('state:list') end), code(function() r:get('l') end),
            code(function() r:incr('h') end)
    end)
    check('unknown_command_is_an_error', 'ERR', function() return code(function() r:raw_cmd('NOSUCH a') end) end)
    check('wrong_arity_is_an_error', 'ERR', function() return code(function() r:get() end) end)
end

-- The error is clear, and the connection goes on.
local function refused(r, command, line)
    check(command .. '_is_refused', 'refused true', function()
        local before = r:client('ID')
        local text_of = error_of(function() return r:raw_cmd(line) end)
        local clear = text_of:lower():find(command) and not text_of:find('unknown command') and not text_of:find('^no error')
        return clear and 'refused' or text_of, r:client('ID') == before
    end)
end

local function own(r)
    check('broken_json_is_refused', 'ERR nil', function()
        return code(function() r:set('price:a', '{') end), r:get('price:a')
    end)
    check('own_keys_stay_hidden', '0', function()
        local count = 0
        for _, keys in ipairs({scan(r), r:keys('*')}) do
            for _, key in ipairs(keys) do count = count + (key:find('^catcached:') and 1 or 0) end
        end
        return count
    end)
    refused(r, 'subscribe', 'SUBSCRIBE channel')
    refused(r, 'blpop', 'BLPOP nothing 1')
    refused(r, 'watch', 'WATCH state:a')
    refused(r, 'monitor', 'MONITOR')
end

local r = connect()
basics(r)
many_keys(r)
passed_through(r)
values(r)
errors(r)
if TARGET == 'daemon' then own(r) end
check('reconnects_after_restart', 'true v', function()
    restart()
    r = connect()       -- this client leaves it to its user
    return r:set('state:again', 'v'), r:get('state:again')
end)
