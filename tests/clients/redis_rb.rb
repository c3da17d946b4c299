# redis-rb, the client of Ruby.

require 'redis'

SOCKET, way, target = ARGV
NAMED = way == 'named'
DAEMON = target == 'daemon'
ALL_BYTES = (0..255).to_a.pack('C*')
LARGE = '0123456789abcdef' * (5 * 1024 * 1024 / 16)
CATALOG = '[{"id":"a"},{"id":"b"}]'
KEYS = (0...100).map { |i| "k:#{i}" }.sort
SCRIPT = 'return KEYS[1] .. ARGV[1]'

$stdout.sync = true

# One counted test: the block has to give what is expected.
def check(name, expected)
  got = begin
    yield
  rescue StandardError => e
    e
  end
  puts got == expected ? "ok #{name}" : "bad #{name}: expected #{expected.inspect[0, 600]}, got #{got.inspect[0, 600]}"
end

def restart
  puts 'restart'
  $stdin.gets
end

# The error that the block ends with.
def error
  yield
rescue Redis::CommandError => e
  e.message
end

# Its code.
def code(&block)
  error(&block).split.first
end

def about100(ttl)
  ttl > 90 && ttl <= 100
end

def basics(r)
  check('answers_ping', 'PONG') { r.ping }
  check('has_its_name', NAMED ? 'gateway' : nil) { r.client(:getname) }
  check('declared_key_is_fetched', CATALOG) { r.get('catalog:one') }
  check('missing_key_is_nil', nil) { r.get('state:none') }
  check('set_then_get', %w[OK v]) { [r.set('state:a', 'v'), r.get('state:a')] }
  check('set_ex_gives_a_ttl', ['OK', true]) { [r.set('state:ex', 'v', ex: 100), about100(r.ttl('state:ex'))] }
  check('set_nx_keeps_the_first', [true, false, '1']) do
    [r.set('state:nx', '1', nx: true), r.set('state:nx', '2', nx: true), r.get('state:nx')]
  end
  check('set_xx_needs_a_value', [false, nil, true, '2']) do
    [r.set('state:xx', '1', xx: true), r.get('state:xx'), r.set('state:nx', '2', xx: true), r.get('state:nx')]
  end
  check('set_get_returns_the_old', [nil, '1', '2']) do
    [r.set('state:get', '1', get: true), r.set('state:get', '2', get: true), r.get('state:get')]
  end
  check('set_keepttl_keeps_the_ttl', ['OK', true, '2']) do
    [r.set('state:ex', '2', keepttl: true), about100(r.ttl('state:ex')), r.get('state:ex')]
  end
end

def many_keys(r)
  check('mget_mixes_kinds', ['OK', [CATALOG, 'v', 'p', nil]]) do
    [r.set('n:plain', 'p'), r.mget('catalog:one', 'state:a', 'n:plain', 'state:none')]
  end
  check('mset_mixes_kinds', ['OK', %w[1 2]]) { [r.mset('state:m', '1', 'n:m', '2'), r.mget('state:m', 'n:m')] }
  check('expire_ttl_persist', [-1, true, true, true, -1, -2]) do
    [r.ttl('state:m'), r.expire('state:m', 100), about100(r.ttl('state:m')), r.persist('state:m'), r.ttl('state:m'),
     r.ttl('state:none')]
  end
  replies = ['OK', '1', 1, CATALOG, 1, 1, nil]
  check('pipeline_mixes_kinds', replies) { r.pipelined { |pipe| mixed(pipe, 'p') } }
  check('transaction_mixes_kinds', replies) { r.multi { |pipe| mixed(pipe, 't') } }
end

def mixed(pipe, name)
  key = "state:#{name}"
  pipe.set(key, '1')
  pipe.get(key)
  pipe.incr("n:#{name}")
  pipe.get('catalog:one')
  pipe.hset("h:#{name}", 'f', 'v')
  pipe.del(key)
  pipe.get(key)
end

def passed_through(r)
  check('counter', [1, 6]) { [r.incr('n:c'), r.incrby('n:c', 5)] }
  check('hash', [2, { 'a' => '1', 'b' => '2' }]) { [r.hset('h', { a: 1, b: 2 }), r.hgetall('h')] }
  check('set', [2, %w[x y]]) { [r.sadd('s', %w[x y]), r.smembers('s').sort] }
  check('sorted_set', [true, 1.5]) { [r.zadd('z', 1.5, 'm'), r.zscore('z', 'm')] }
  check('list', [2, %w[b a]]) { [r.lpush('l', %w[a b]), r.lrange('l', 0, -1)] }
  check('script', %w[x1 x2 NOSCRIPT]) do
    [r.eval(SCRIPT, ['x'], ['1']), r.evalsha(r.script(:load, SCRIPT), ['x'], ['2']), code { r.evalsha('0' * 40) }]
  end
  check('scan_finds_all_keys', KEYS) { scan(r, match: 'k:*', count: 10) }
end

def scan(r, **options)
  KEYS.each { |key| r.set(key, '') }
  r.scan_each(**options).to_a.uniq.sort
end

def values(r)
  { 'all_bytes_survive' => ALL_BYTES, 'five_megabytes_survive' => LARGE }.each do |name, value|
    check(name, ['OK', true]) { [r.set('state:v', value), r.get('state:v').b == value.b] }
  end
end

def errors(r)
  check('wrong_type_is_an_error', [1, 'WRONGTYPE', 'WRONGTYPE', 'WRONGTYPE']) do
    [r.lpush('state:list', 'x'), code { r.get('state:list') }, code { r.get('l') }, code { r.incr('h') }]
  end
  check('unknown_command_is_an_error', 'ERR') { code { r.call('NOSUCH', 'a') } }
  check('wrong_arity_is_an_error', 'ERR') { code { r.call('GET') } }
end

def own(r)
  check('broken_json_is_refused', ['ERR', nil]) { [code { r.set('price:a', '{') }, r.get('price:a')] }
  check('own_keys_stay_hidden', []) { (scan(r) + r.keys('*')).grep(/^catcached:/) }
  refused(r, 'subscribe', 'channel')
  refused(r, 'blpop', 'nothing', '1')
  refused(r, 'watch', 'state:a')
  refused(r, 'monitor')
end

# The error is the client's own and clear, and the connection goes on.
def refused(r, *command)
  check("#{command.first}_is_refused", [true, true]) do
    before = r.call('CLIENT', 'ID')
    text = error { r.call(*command) && '' }
    [text.downcase.include?(command.first) && !text.include?('unknown command'), r.call('CLIENT', 'ID') == before]
  end
end

options = NAMED ? { db: 0, id: 'gateway' } : {}
r = Redis.new(path: SOCKET, **options)
r.client(:setname, 'gateway') if NAMED
basics(r)
many_keys(r)
passed_through(r)
values(r)
errors(r)
own(r) if DAEMON
check('reconnects_after_restart', %w[OK v]) do
  restart
  [r.set('state:again', 'v'), r.get('state:again')]
end
