// redigo, a client of Go. Replies are compared as text: see text.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/gomodule/redigo/redis"
)

const (
	catalog = `[{"id":"a"},{"id":"b"}]`
	lua     = "return KEYS[1] .. ARGV[1]"
)

var (
	socket = os.Args[1]
	named  = os.Args[2] == "named"
	daemon = os.Args[3] == "daemon"
)

// report tells of one counted test.
func report(name, expected, got string) {
	if got == expected {
		fmt.Println("ok", name)
	} else {
		fmt.Printf("bad %s: expected %s, got %.600s\n", name, expected, got)
	}
}

// check does the commands one after the other; their replies have to read as expected.
func check(r redis.Conn, name, expected string, commands ...string) {
	var got []string
	for _, command := range commands {
		got = append(got, do(r, command))
	}
	report(name, expected, strings.Join(got, " "))
}

// do does a command of words without blanks, and gives its reply as text.
func do(r redis.Conn, command string) string {
	words := strings.Fields(command)
	return text(r.Do(words[0], arguments(words[1:])...))
}

func arguments(words []string) []interface{} {
	var list []interface{}
	for _, word := range words {
		list = append(list, word)
	}
	return list
}

// text writes a reply: nil, 1, text, [element element], or !CODE of an error from the server.
func text(reply interface{}, err error) string {
	if err != nil {
		reply = err
	}
	switch reply := reply.(type) {
	case redis.Error:
		return "!" + strings.Fields(string(reply))[0]
	case []byte:
		return string(reply)
	case []interface{}:
		var words []string
		for _, element := range reply {
			words = append(words, text(element, nil))
		}
		return "[" + strings.Join(words, " ") + "]"
	case nil:
		return "nil"
	}
	return fmt.Sprint(reply)
}

func about100(r redis.Conn, key string) string {
	ttl, err := redis.Int(r.Do("TTL", key))
	if ttl > 90 && ttl <= 100 {
		return "about100"
	}
	return fmt.Sprint(ttl, err)
}

func basics(r redis.Conn) {
	name := "nil"
	if named {
		name = "gateway"
	}
	check(r, "answers_ping", "PONG", "PING")
	check(r, "has_its_name", name, "CLIENT GETNAME")
	check(r, "declared_key_is_fetched", catalog, "GET catalog:one")
	check(r, "missing_key_is_nil", "nil", "GET state:none")
	check(r, "set_then_get", "OK v", "SET state:a v", "GET state:a")
	report("set_ex_gives_a_ttl", "OK about100", do(r, "SET state:ex v EX 100")+" "+about100(r, "state:ex"))
	check(r, "set_nx_keeps_the_first", "OK nil 1", "SET state:nx 1 NX", "SET state:nx 2 NX", "GET state:nx")
	check(r, "set_xx_needs_a_value", "nil nil OK 2", "SET state:xx 1 XX", "GET state:xx", "SET state:nx 2 XX", "GET state:nx")
	check(r, "set_get_returns_the_old", "nil 1 2", "SET state:get 1 GET", "SET state:get 2 GET", "GET state:get")
	report("set_keepttl_keeps_the_ttl", "OK about100", do(r, "SET state:ex 2 KEEPTTL")+" "+about100(r, "state:ex"))
}

func manyKeys(r redis.Conn) {
	check(r, "mget_mixes_kinds", "OK ["+catalog+" v p nil]", "SET n:plain p", "MGET catalog:one state:a n:plain state:none")
	check(r, "mset_mixes_kinds", "OK [1 2]", "MSET state:m 1 n:m 2", "MGET state:m n:m")
	check(r, "expire_ttl_persist", "-1 1 1 -1 -2",
		"TTL state:m", "EXPIRE state:m 100", "PERSIST state:m", "TTL state:m", "TTL state:none")
	report("pipeline_mixes_kinds", "OK 1 1 "+catalog+" 1 1 nil", pipeline(r))
	report("transaction_mixes_kinds", "[OK 1 1 "+catalog+" 1 1 nil]", transaction(r))
}

func mixed(r redis.Conn, name string) int {
	key := "state:" + name
	commands := []string{"SET " + key + " 1", "GET " + key, "INCR n:" + name, "GET catalog:one", "HSET h:" + name + " f v",
		"DEL " + key, "GET " + key}
	for _, command := range commands {
		words := strings.Fields(command)
		r.Send(words[0], arguments(words[1:])...)
	}
	return len(commands)
}

func pipeline(r redis.Conn) string {
	n := mixed(r, "p")
	r.Flush()
	var got []string
	for ; n > 0; n-- {
		got = append(got, text(r.Receive()))
	}
	return strings.Join(got, " ")
}

func transaction(r redis.Conn) string {
	r.Send("MULTI")
	mixed(r, "t")
	return text(r.Do("EXEC"))
}

func passedThrough(r redis.Conn) {
	check(r, "counter", "1 6", "INCR n:c", "INCRBY n:c 5")
	check(r, "hash", "2 [a 1 b 2]", "HSET h a 1 b 2", "HGETALL h")
	check(r, "set", "2 0 1 2", "SADD s x y", "SADD s x", "SISMEMBER s y", "SCARD s")
	check(r, "sorted_set", "1 1.5", "ZADD z 1.5 m", "ZSCORE z m")
	check(r, "list", "2 [b a]", "LPUSH l a b", "LRANGE l 0 -1")
	report("script", "x1 x2 x2 !NOSCRIPT", script(r))
	report("scan_finds_all_keys", strings.Join(keys(), " "), strings.Join(scan(r, "MATCH", "k:*", "COUNT", 10), " "))
}

// A script of redigo's own is called by EVALSHA, and by EVAL where Redis does not know it yet.
func script(r redis.Conn) string {
	own := redis.NewScript(1, lua)
	return strings.Join([]string{text(r.Do("EVAL", lua, 1, "x", 1)), text(own.Do(r, "x", 2)),
		text(r.Do("EVALSHA", text(r.Do("SCRIPT", "LOAD", lua)), 1, "x", 2)),
		text(r.Do("EVALSHA", strings.Repeat("0", 40), 0))}, " ")
}

func keys() []string {
	var list []string
	for i := 0; i < 100; i++ {
		list = append(list, fmt.Sprint("k:", i))
	}
	sort.Strings(list)
	return list
}

func scan(r redis.Conn, options ...interface{}) []string {
	for _, key := range keys() {
		r.Do("SET", key, "")
	}
	found := map[string]bool{}
	for cursor := "0"; ; {
		reply, err := redis.Values(r.Do("SCAN", append([]interface{}{cursor}, options...)...))
		if err != nil {
			return []string{err.Error()}
		}
		var some []string
		redis.Scan(reply, &cursor, &some)
		for _, key := range some {
			found[key] = true
		}
		if cursor == "0" {
			break
		}
	}
	var list []string
	for key := range found {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}

func values(r redis.Conn) {
	var all []byte
	for i := 0; i < 256; i++ {
		all = append(all, byte(i))
	}
	report("all_bytes_survive", "OK true", survives(r, all))
	report("five_megabytes_survive", "OK true", survives(r, bytes.Repeat([]byte("0123456789abcdef"), 5*1024*1024/16)))
}

func survives(r redis.Conn, value []byte) string {
	set := text(r.Do("SET", "state:v", value))
	got, _ := redis.Bytes(r.Do("GET", "state:v"))
	return fmt.Sprint(set, " ", bytes.Equal(got, value))
}

func errors(r redis.Conn) {
	check(r, "wrong_type_is_an_error", "1 !WRONGTYPE !WRONGTYPE !WRONGTYPE",
		"LPUSH state:list x", "GET state:list", "GET l", "INCR h")
	check(r, "unknown_command_is_an_error", "!ERR", "NOSUCH a")
	check(r, "wrong_arity_is_an_error", "!ERR", "GET")
}

func own(r redis.Conn) {
	check(r, "broken_json_is_refused", "!ERR nil", "SET price:a {", "GET price:a")
	hidden := 0
	list, _ := redis.Strings(r.Do("KEYS", "*"))
	for _, key := range append(list, scan(r)...) {
		if strings.HasPrefix(key, "catcached:") {
			hidden++
		}
	}
	report("own_keys_stay_hidden", "0 of some", fmt.Sprint(hidden, " of ", some(list)))
	refused(r, "subscribe", "channel")
	refused(r, "blpop", "nothing", "1")
	refused(r, "watch", "state:a")
	refused(r, "monitor")
}

func some(list []string) string {
	if len(list) > 0 {
		return "some"
	}
	return "none"
}

// refused: the error is the client's own and clear, and the connection goes on.
func refused(r redis.Conn, command string, words ...string) {
	before := do(r, "CLIENT ID")
	_, err := r.Do(command, arguments(words)...)
	got := fmt.Sprint(err)
	told, isError := err.(redis.Error)
	lower := strings.ToLower(string(told))
	if isError && strings.Contains(lower, command) && !strings.Contains(lower, "unknown command") {
		got = "refused"
	}
	report(command+"_is_refused", "refused true", fmt.Sprint(got, " ", do(r, "CLIENT ID") == before))
}

// A pool finds the connection broken when it is used, and makes a new one for the next user.
func reconnects(pool *redis.Pool) {
	fmt.Println("restart")
	bufio.NewReader(os.Stdin).ReadString('\n')
	old := pool.Get()
	old.Do("PING")
	old.Close()
	r := pool.Get()
	defer r.Close()
	check(r, "reconnects_after_restart", "OK v", "SET state:again v", "GET state:again")
}

func dial() (redis.Conn, error) {
	var options []redis.DialOption
	if named {
		options = []redis.DialOption{redis.DialDatabase(0), redis.DialClientName("gateway")}
	}
	return redis.Dial("unix", socket, options...)
}

func main() {
	pool := &redis.Pool{MaxIdle: 1, Dial: dial}
	r := pool.Get()
	basics(r)
	manyKeys(r)
	passedThrough(r)
	values(r)
	errors(r)
	if daemon {
		own(r)
	}
	r.Close()
	reconnects(pool)
}
