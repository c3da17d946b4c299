# Redis.pm, the client of Perl. Replies are compared as text: see text().

use strict;
use warnings;
use Redis;

my ($socket, $way, $target) = @ARGV;
my $named = $way eq 'named';

my $CATALOG = '[{"id":"a"},{"id":"b"}]';
my $SCRIPT = 'return KEYS[1] .. ARGV[1]';
my $ALL_BYTES = join '', map { chr } 0 .. 255;
my $LARGE = '0123456789abcdef' x (5 * 1024 * 1024 / 16);
my @KEYS = sort map { "k:$_" } 0 .. 99;

$| = 1;

# One counted test: the call has to give what is expected.
sub check {
    my ($name, $expected, $call) = @_;
    my @got = eval { $call->() };
    my $got = $@ ? "error: $@" : text([@got]);
    my $wanted = text($expected);
    chomp $got;
    print $got eq $wanted ? "ok $name\n" : "bad $name: expected $wanted, got " . substr($got, 0, 600) . "\n";
}

sub text {
    my ($value) = @_;
    return 'nil' unless defined $value;
    return '[' . join(' ', map { text($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return "$value";
}

# The text of the error that the call ends with; it comes as "[command] text, at ...".
sub error {
    my ($call) = @_;
    my $result = eval { $call->() };
    return $@ =~ /^\[\w+\] (.*)/ ? $1 : "no error: " . text($result);
}

# The code of the error.
sub code {
    return (split ' ', error(@_))[0];
}

sub about100 {
    my ($ttl) = @_;
    return $ttl > 90 && $ttl <= 100 ? 'about100' : $ttl;
}

sub restart {
    print "restart\n";
    return scalar <STDIN>;
}

sub basics {
    my ($r) = @_;
    check('answers_ping', ['PONG'], sub { $r->ping });
    check('has_its_name', [$named ? 'gateway' : undef], sub { $r->client_getname });
    check('declared_key_is_fetched', [$CATALOG], sub { $r->get('catalog:one') });
    check('missing_key_is_nil', [undef], sub { $r->get('state:none') });
    check('set_then_get', ['OK', 'v'], sub { $r->set('state:a', 'v'), $r->get('state:a') });
    check('set_ex_gives_a_ttl', ['OK', 'about100'], sub { $r->set('state:ex', 'v', EX => 100), about100($r->ttl('state:ex')) });
    check('set_nx_keeps_the_first', ['OK', undef, '1'],
        sub { $r->set('state:nx', '1', 'NX'), $r->set('state:nx', '2', 'NX'), $r->get('state:nx') });
    check('set_xx_needs_a_value', [undef, undef, 'OK', '2'], sub {
        $r->set('state:xx', '1', 'XX'), $r->get('state:xx'), $r->set('state:nx', '2', 'XX'), $r->get('state:nx') });
    check('set_get_returns_the_old', [undef, '1', '2'],
        sub { $r->set('state:get', '1', 'GET'), $r->set('state:get', '2', 'GET'), $r->get('state:get') });
    check('set_keepttl_keeps_the_ttl', ['OK', 'about100', '2'],
        sub { $r->set('state:ex', '2', 'KEEPTTL'), about100($r->ttl('state:ex')), $r->get('state:ex') });
}

sub many_keys {
    my ($r) = @_;
    check('mget_mixes_kinds', ['OK', $CATALOG, 'v', 'p', undef],
        sub { $r->set('n:plain', 'p'), $r->mget('catalog:one', 'state:a', 'n:plain', 'state:none') });
    check('mset_mixes_kinds', ['OK', '1', '2'], sub { $r->mset('state:m', '1', 'n:m', '2'), $r->mget('state:m', 'n:m') });
    check('expire_ttl_persist', [-1, 1, 'about100', 1, -1, -2], sub {
        $r->ttl('state:m'), $r->expire('state:m', 100), about100($r->ttl('state:m')), $r->persist('state:m'),
        $r->ttl('state:m'), $r->ttl('state:none') });
    my @replies = ('OK', '1', 1, $CATALOG, 1, 1, undef);
    check('pipeline_mixes_kinds', [@replies], sub { pipeline($r) });
    check('transaction_mixes_kinds', [@replies], sub { transaction($r) });
}

sub mixed {
    my ($name) = @_;
    my $key = "state:$name";
    return ([set => $key, 1], [get => $key], [incr => "n:$name"], [get => 'catalog:one'], [hset => "h:$name", 'f', 'v'],
        [del => $key], [get => $key]);
}

sub pipeline {
    my ($r) = @_;
    my @replies;
    for my $command (mixed('p')) {
        my ($name, @arguments) = @$command;
        $r->$name(@arguments, sub { my ($reply, $error) = @_; push @replies, $error // $reply });
    }
    $r->wait_all_responses;
    return @replies;
}

sub transaction {
    my ($r) = @_;
    $r->multi;
    for my $command (mixed('t')) {
        my ($name, @arguments) = @$command;
        $r->$name(@arguments);
    }
    return $r->exec;
}

sub passed_through {
    my ($r) = @_;
    check('counter', [1, 6], sub { $r->incr('n:c'), $r->incrby('n:c', 5) });
    check('hash', [2, 'a', 1, 'b', 2], sub { $r->hset('h', a => 1, b => 2), $r->hgetall('h') });
    check('set', [2, 'x', 'y'], sub { $r->sadd('s', 'x', 'y'), sort($r->smembers('s')) });
    check('sorted_set', [1, 1.5], sub { $r->zadd('z', 1.5, 'm'), $r->zscore('z', 'm') });
    check('list', [2, 'b', 'a'], sub { $r->lpush('l', 'a', 'b'), $r->lrange('l', 0, -1) });
    check('script', ['x1', 'x2', 'NOSCRIPT'], sub {
        $r->eval($SCRIPT, 1, 'x', 1), $r->evalsha($r->script_load($SCRIPT), 1, 'x', 2),
        code(sub { $r->evalsha('0' x 40, 0) }) });
    check('scan_finds_all_keys', [@KEYS], sub { scan($r, MATCH => 'k:*', COUNT => 10) });
}

sub scan {
    my ($r, @options) = @_;
    $r->set($_, '') for @KEYS;
    my %found;
    my ($cursor, $keys) = (0);
    do {
        ($cursor, $keys) = $r->scan($cursor, @options);
        $found{$_} = 1 for @$keys;
    } while ($cursor ne '0');
    return sort keys %found;
}

sub values_survive {
    my ($r) = @_;
    my %values = (all_bytes_survive => $ALL_BYTES, five_megabytes_survive => $LARGE);
    for my $name (sort keys %values) {
        check($name, ['OK', 1], sub { $r->set('state:v', $values{$name}), $r->get('state:v') eq $values{$name} });
    }
}

sub errors {
    my ($r) = @_;
    check('wrong_type_is_an_error', [1, 'WRONGTYPE', 'WRONGTYPE', 'WRONGTYPE'], sub {
        $r->lpush('state:list', 'x'), code(sub { $r->get('state:list') }), code(sub { $r->get('l') }),
        code(sub { $r->incr('h') }) });
    check('unknown_command_is_an_error', ['ERR'], sub { code(sub { $r->nosuch('a') }) });
    check('wrong_arity_is_an_error', ['ERR'], sub { code(sub { $r->get }) });
}

sub own {
    my ($r) = @_;
    check('broken_json_is_refused', ['ERR', undef], sub { code(sub { $r->set('price:a', '{') }), $r->get('price:a') });
    check('own_keys_stay_hidden', [], sub { grep { /^catcached:/ } scan($r), $r->keys('*') });
    refused($r, 'subscribe', 'channel', sub { });
    refused($r, 'blpop', 'nothing', 1);
    refused($r, 'watch', 'state:a');
    $r->unwatch;    # the client itself took the WATCH for done
    refused($r, 'monitor');
}

# The error is clear, and the connection goes on.
sub refused {
    my ($r, $command, @arguments) = @_;
    check("${command}_is_refused", ['refused', 1], sub {
        my $before = $r->client_id;
        my $error = error(sub { $r->$command(@arguments) });
        my $clear = $error =~ /\b$command\b/i && $error !~ /unknown command|^no error/;
        return $clear ? 'refused' : $error, $r->client_id == $before;
    });
}

my $r = Redis->new(sock => $socket, reconnect => 5,
    $named ? (name => 'gateway', on_connect => sub { $_[0]->select(0) }) : ());
basics($r);
many_keys($r);
passed_through($r);
values_survive($r);
errors($r);
own($r) if $target eq 'daemon';
check('reconnects_after_restart', ['OK', 'v'], sub { restart(); $r->set('state:again', 'v'), $r->get('state:again') });
