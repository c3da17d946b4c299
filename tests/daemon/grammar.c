/* The tables of the differential test; see grammar.h. */
#include "grammar.h"

#define LIST(name, ...) \
	static const char *const name##_items[] = {__VA_ARGS__}; \
	const struct word_list name = {name##_items, sizeof(name##_items) / sizeof(name##_items[0])}

#define ALL "abcde"
#define PASSED "abce"           /* needs a Redis behind the daemon */
#define MIXED "ae"              /* and is not what a cache is for */

const struct pattern grammar[] = {
	/* strings: what the daemon itself answers for declared keys */
	{ALL, 60, "GET %s"},
	{ALL, 6, "GET %k"},
	{ALL, 14, "MGET %S"},
	{PASSED, 4, "MGET %K"},
	{ALL, 30, "SET %s %v"},
	{ALL, 70, "SET %s %v %o"},
	{PASSED, 4, "SET %k %v %o"},
	{ALL, 8, "SETEX %s %n %v"},
	{ALL, 8, "PSETEX %s %m %v"},
	{ALL, 8, "SETNX %s %v"},
	{ALL, 12, "MSET %p"},
	{PASSED, 4, "MSETNX %p"},
	{ALL, 24, "GETEX %s %g"},
	{ALL, 8, "GETDEL %s"},
	{ALL, 8, "GETSET %s %v"},
	{ALL, 8, "STRLEN %s"},

	/* keys of any kind */
	{ALL, 10, "DEL %K"},
	{ALL, 4, "DEL %S"},
	{ALL, 6, "UNLINK %S"},
	{ALL, 10, "EXISTS %K"},
	{ALL, 6, "TOUCH %K"},
	{ALL, 8, "TYPE %k"},
	{ALL, 10, "TTL %s"},
	{ALL, 10, "PTTL %s"},
	{ALL, 4, "TTL %k"},
	{ALL, 6, "EXPIRETIME %s"},
	{ALL, 6, "PEXPIRETIME %s"},
	{ALL, 10, "EXPIRE %s %n"},
	{ALL, 10, "EXPIRE %s %n %c"},
	{ALL, 3, "EXPIRE %k %n %c"},
	{ALL, 6, "PEXPIRE %s %m"},
	{ALL, 10, "PEXPIRE %s %m %c"},
	{ALL, 6, "EXPIREAT %s %t"},
	{ALL, 10, "EXPIREAT %s %t %c"},
	{ALL, 6, "PEXPIREAT %s %u"},
	{ALL, 10, "PEXPIREAT %s %u %c"},
	{ALL, 10, "PERSIST %s"},
	{ALL, 2, "PERSIST %k"},
	{ALL, 2, "KEYS *"},
	{ALL, 2, "SCAN 0 COUNT 10000"},
	{ALL, 1, "SCAN 0 COUNT 10000 MATCH *s*"},
	{ALL, 1, "SCAN 0 COUNT 10000 MATCH ?:[!\\s-k]*"},
	{ALL, 1, "KEYS *[^13]"},
	{ALL, 1, "KEYS [u-b]*[1-4"},
	{PASSED, 1, "SCAN 0 COUNT 10000 TYPE hash"},
	{PASSED, 4, "RENAME %s %s"},
	{PASSED, 2, "RENAME %k %k"},
	{PASSED, 3, "RENAMENX %s %s"},
	{PASSED, 4, "COPY %s %s"},
	{PASSED, 4, "COPY %s %s REPLACE"},
	{PASSED, 2, "COPY %k %k REPLACE"},
	{PASSED, 3, "OBJECT ENCODING %k"},
	{PASSED, 2, "OBJECT REFCOUNT %k"},
	{PASSED, 1, "OBJECT FREQ %k"},
	{PASSED, 1, "OBJECT HELP"},

	/* strings: passed on */
	{PASSED, 6, "INCR %s"},
	{PASSED, 3, "DECR %s"},
	{PASSED, 6, "INCRBY %s %i"},
	{PASSED, 3, "DECRBY %s %i"},
	{PASSED, 6, "INCRBYFLOAT %s %f"},
	{PASSED, 8, "APPEND %s %v"},
	{PASSED, 6, "GETRANGE %s %d %d"},
	{PASSED, 2, "SUBSTR %s %d %d"},
	{PASSED, 6, "SETRANGE %s %d %v"},
	{PASSED, 3, "SETBIT %s %d 1"},
	{PASSED, 2, "GETBIT %s %d"},
	{PASSED, 2, "BITCOUNT %s"},
	{PASSED, 1, "BITCOUNT %s %d %d"},
	{PASSED, 1, "BITPOS %s 1 %d"},
	{PASSED, 2, "BITOP XOR %s %s %s"},
	{PASSED, 1, "BITOP NOT %s %s"},
	{PASSED, 2, "BITFIELD %s SET u8 0 255 GET u4 %d INCRBY i5 0 %i"},
	{PASSED, 1, "BITFIELD %s OVERFLOW FAIL INCRBY u2 0 3"},
	{PASSED, 1, "PFADD %s %W"},
	{PASSED, 1, "PFCOUNT %s %s"},

	/* hashes */
	{PASSED, 6, "HSET %h %F"},
	{PASSED, 2, "HMSET %h %F"},
	{PASSED, 3, "HSETNX %h %w %v"},
	{PASSED, 4, "HGET %h %w"},
	{PASSED, 3, "HMGET %h %W"},
	{PASSED, 4, "HGETALL %h"},
	{PASSED, 2, "HDEL %h %W"},
	{PASSED, 1, "HLEN %h"},
	{PASSED, 1, "HEXISTS %h %w"},
	{PASSED, 1, "HSTRLEN %h %w"},
	{PASSED, 3, "HINCRBY %h %w %i"},
	{PASSED, 2, "HINCRBYFLOAT %h %w %f"},
	{PASSED, 1, "HKEYS %h"},
	{PASSED, 1, "HVALS %h"},
	{PASSED, 1, "HSCAN %h 0 COUNT 1000"},

	/* lists; SORT with ALPHA, for without it a stale errno of Redis decides whether a word is a number */
	{PASSED, 5, "LPUSH %l %W"},
	{PASSED, 5, "RPUSH %l %W"},
	{PASSED, 1, "LPUSHX %l %W"},
	{PASSED, 2, "LPOP %l"},
	{PASSED, 2, "LPOP %l %d"},
	{PASSED, 3, "RPOP %l %d"},
	{PASSED, 4, "LRANGE %l %d %d"},
	{PASSED, 1, "LLEN %l"},
	{PASSED, 2, "LINDEX %l %d"},
	{PASSED, 2, "LSET %l %d %v"},
	{PASSED, 2, "LREM %l %d %w"},
	{PASSED, 2, "LTRIM %l %d %d"},
	{PASSED, 2, "LINSERT %l BEFORE %w %v"},
	{PASSED, 2, "LPOS %l %w COUNT %d"},
	{PASSED, 2, "LMOVE %l %l LEFT RIGHT"},
	{PASSED, 1, "RPOPLPUSH %l %l"},
	{PASSED, 1, "LMPOP 2 %l %l LEFT COUNT 2"},
	{PASSED, 3, "SORT %l ALPHA"},
	{PASSED, 3, "SORT %l ALPHA DESC"},
	{PASSED, 1, "SORT %l ALPHA LIMIT 0 2 STORE %l"},
	{PASSED, 1, "SORT %l ALPHA GET # GET u:s*"},
	{PASSED, 1, "SORT_RO %e ALPHA"},

	/* sets */
	{PASSED, 5, "SADD %e %W"},
	{PASSED, 2, "SREM %e %W"},
	{PASSED, 1, "SCARD %e"},
	{PASSED, 2, "SISMEMBER %e %w"},
	{PASSED, 1, "SMISMEMBER %e %W"},
	{PASSED, 3, "SMEMBERS %e"},
	{MIXED, 2, "SINTER %e %e"},
	{MIXED, 2, "SUNION %e %e"},
	{MIXED, 2, "SDIFF %e %e"},
	{MIXED, 2, "SUNIONSTORE %e %e %e"},
	{MIXED, 1, "SINTERCARD 2 %e %e"},
	{MIXED, 1, "SMOVE %e %e %w"},
	{MIXED, 1, "SSCAN %e 0 COUNT 1000"},

	/* sorted sets */
	{PASSED, 5, "ZADD %z %Z"},
	{PASSED, 1, "ZADD %z NX CH %Z"},
	{PASSED, 1, "ZADD %z XX GT CH %Z"},
	{PASSED, 1, "ZADD %z INCR %f %w"},
	{PASSED, 3, "ZSCORE %z %w"},
	{PASSED, 2, "ZMSCORE %z %W"},
	{PASSED, 2, "ZINCRBY %z %f %w"},
	{PASSED, 3, "ZRANGE %z %d %d WITHSCORES"},
	{PASSED, 1, "ZRANGE %z %d %d REV"},
	{MIXED, 2, "ZRANGEBYSCORE %z -inf (5 WITHSCORES LIMIT 0 3"},
	{MIXED, 1, "ZREVRANGE %z %d %d"},
	{MIXED, 1, "ZCARD %z"},
	{MIXED, 1, "ZCOUNT %z -inf +inf"},
	{MIXED, 2, "ZRANK %z %w"},
	{MIXED, 1, "ZREM %z %W"},
	{MIXED, 2, "ZPOPMIN %z %d"},
	{MIXED, 1, "ZREMRANGEBYRANK %z 0 1"},
	{MIXED, 1, "ZUNIONSTORE %z 2 %z %z"},
	{MIXED, 1, "ZSCAN %z 0 COUNT 1000"},
	{MIXED, 1, "GEOADD %z 13.361389 38.115556 %w"},
	{MIXED, 1, "GEODIST %z %w %w km"},
	{MIXED, 1, "GEOPOS %z %W"},

	/* streams */
	{MIXED, 3, "XADD %x %d %w %v"},
	{MIXED, 1, "XADD %x MAXLEN 2 %d %w %v"},
	{MIXED, 1, "XLEN %x"},
	{MIXED, 2, "XRANGE %x - +"},
	{MIXED, 1, "XDEL %x %d"},
	{MIXED, 2, "XREAD COUNT 2 STREAMS %x %x 0 0"},

	/* scripts */
	{PASSED, 14, "EVAL %E"},
	{PASSED, 2, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0"},
	{PASSED, 1, "EVALSHA none 0"},
	{PASSED, 1, "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db none"},
	{PASSED, 1, "SCRIPT LOAD return"},

	/* the connection */
	{ALL, 4, "PING"},
	{ALL, 3, "PING %v"},
	{ALL, 1, "PING %w %w"},
	{ALL, 4, "ECHO %v"},
	{ALL, 3, "SELECT 0"},
	{ALL, 1, "SELECT 16"},
	{ALL, 1, "SELECT -1"},
	{ALL, 1, "SELECT x"},
	{ALL, 1, "HELLO"},
	{ALL, 8, "HELLO 3"},
	{ALL, 6, "HELLO 2"},
	{ALL, 1, "HELLO %i"},
	{ALL, 1, "HELLO 3 AUTH default %w"},
	{ALL, 1, "HELLO 3 AUTH nobody %w"},
	{ALL, 1, "HELLO 2 SETNAME %w"},
	{ALL, 1, "HELLO 3 %w"},
	{ALL, 2, "RESET"},
	{ALL, 1, "AUTH %w"},
	{ALL, 1, "AUTH default %w"},
	{ALL, 1, "AUTH nobody %w"},
	{ALL, 2, "CLIENT SETNAME %w"},
	{ALL, 2, "CLIENT GETNAME"},

	/* transactions; the generator ends what it began */
	{ALL, 16, "MULTI"},
	{ALL, 2, "EXEC"},
	{ALL, 2, "DISCARD"},

	/* what there is not */
	{ALL, 3, "NOSUCH %w %v"},
	{ALL, 1, "NOSUCH"},
	{ALL, 1, "%v %w"},
	{ALL, 1, "CLIENT NOSUCH %w"},
	{ALL, 1, "CLIENT %v"},
	{ALL, 1, "COMMAND NOSUCH %w"},
	{PASSED, 1, "OBJECT NOSUCH %k"},
};

const size_t grammar_len = sizeof(grammar) / sizeof(grammar[0]);

LIST(grammar_words, "a", "b", "c", "d", "1", "2", "3.5", "", "two words", "\xff\xfe", "NX", "\r\n");

LIST(grammar_integers, "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
	"99999999999999999999", "", " 1", "1 ", "01", "+1", "-0", "-01", "1.5", "0x10", "1e3", "ten", "-", "--1");

LIST(grammar_fractions, "1.5", "-0.1", "0", "3", "1e3", "3.0e-5", "0.1", "-7", "100", "inf", "-inf", "nan", "abc", "",
	" 1", "1 ", "1e400", "0x1p3", "+1", ".5");

/* Those above 2^53 or so are near the bounds of what Redis can add to the clock in milliseconds. */
LIST(grammar_ttls, "0", "-1", "-100000", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
	"-9223372036854775807", "99999999999999999999", "9223372036854775", "9223372036854776", "-9223372036854776",
	"9223370000000000", "9223372036854", "100000000000", "9223370000000000000", "", " 1000", "1000 ", "01000", "+1000",
	"-0", "1000.5", "1e6", "0x1000", "ten");

LIST(grammar_set_options, "EX %n", "EX %n", "PX %m", "PX %m", "EXAT %t", "PXAT %u", "KEEPTTL", "KEEPTTL", "NX", "XX", "GET",
	"EX", "PX", "EXAT", "PXAT", "PERSIST", "FOO", "-5");

LIST(grammar_getex_options, "EX %n", "EX %n", "PX %m", "PX %m", "EXAT %t", "PXAT %u", "PERSIST", "PERSIST", "EX", "PX", "EXAT",
	"PXAT", "KEEPTTL", "NX", "FOO", "-5");

LIST(grammar_expire_conditions, "NX", "XX", "GT", "LT", "NX", "XX", "GT", "LT", "FOO");

LIST(grammar_junk, "junk", "NX", "GET", "\xff\r\n", "-1", "EX", "two words", "*", "$-1");

/* A script is one word, its blanks written as underscores, and those as tildes. */
LIST(grammar_scripts,
	"return_1 0",
	"return_{1,2,{3,'x'},false} 0",
	"return_ARGV 0 %w %v %w",
	"return_KEYS 2 %s %k %v",
	"return_redis.call('get',KEYS[1]) 1 %s",
	"return_redis.call('get',KEYS[1]) 1 %s",
	"return_redis.call('get',KEYS[1]) 1 %k",
	"return_redis.call('set',KEYS[1],ARGV[1]) 1 %s %v",
	"return_redis.call('set',KEYS[1],ARGV[1]) 1 %s %v",
	"return_redis.call('del',KEYS[1],KEYS[2]) 2 %s %s",
	"redis.call('set',KEYS[1],ARGV[1])_redis.call('set',KEYS[2],ARGV[1])_return_redis.status~reply('DONE') 2 %s %s %v",
	"return_redis.pcall('lpush',KEYS[1],ARGV[1]) 1 %s %w",
	"return_redis.error~reply('MINE_it_failed') 0",
	"return_redis.call('nosuch') 0",
	"redis.setresp(3)_return_redis.call('hgetall',KEYS[1]) 1 %h",
	"redis.setresp(3)_return_redis.call('zscore',KEYS[1],ARGV[1]) 1 %z %w",
	"return_tostring(redis.call('exists',KEYS[1])) 1 %k",
	"this_is_no_lua 0",
	"return_1 2 %s",
	"return_1 -1",
	"return_1 x");
