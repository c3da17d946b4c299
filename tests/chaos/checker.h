/* Judges the history of a fleet: what each client asked of which sidecar, when it began
 * and ended, and what came of it. Pure: no sockets, no clock. */
#ifndef CATCACHED_TESTS_CHECKER_H
#define CATCACHED_TESTS_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKER_FOREIGN 255             /* no sidecar: a plain client of Redis */
#define CHECKER_NIL 0                   /* the version of a key that does not exist */
#define CHECKER_UNKNOWN INT64_MAX       /* the end of a write of which nobody knows whether it happened */

enum op_kind {
	OP_READ,
	OP_WRITE,               /* sourced key: the source was changed, then the cache told; plain key: SET */
	OP_REMOVE,              /* plain key: DEL, or lost with Redis */
};

struct op {
	int64_t born_ns;        /* sourced OP_WRITE: before the source was changed; else as start_ns */
	int64_t start_ns;       /* before the request was sent; sourced OP_WRITE: after the source had changed */
	int64_t end_ns;         /* after the reply had come */
	int64_t version;        /* read, or written; of a key's writes and removals each has its own, from 1 on */
	uint32_t key;
	uint8_t kind;
	uint8_t sidecar;
	uint16_t client;
};

struct history {
	struct op *ops;
	size_t n;
};

/* Keys below n_sourced have a fetch, and their versions are the source's: of two, the
 * larger is the newer. The others are plain: of two writes, the one is older that ended
 * before the other began. */
struct checker_options {
	uint32_t n_sourced, n_keys;
	unsigned n_sidecars;
};

struct spread {
	size_t n;
	double p50_ms, p99_ms, max_ms;
};

struct verdict {
	size_t reads, writes;
	size_t old_after_own;   /* promise 2: a read older than a change that this sidecar had acknowledged */
	size_t went_back;       /* promise 3: a read older than one that had ended before on this sidecar */
	size_t invented;        /* a version that nobody had written yet */
	size_t false_nils;      /* a sourced key that does not exist, or a plain one that nobody had removed */
	struct spread staleness; /* of sourced keys, at the other sidecars: ack of a change to the start of the last older read */
	char first[400];        /* the first violation in words; "" if there is none */
	struct op culprit;      /* its read */
};

/* Sorts h->ops. */
void checker_judge(struct history *h, const struct checker_options *options, struct verdict *v);

size_t verdict_violations(const struct verdict *v);

/* Prints what was done last with the key before a time, newest first. After checker_judge. */
void checker_tell(const struct history *h, uint32_t key, int64_t at_ns);

/* When all is quiet: may this version of a plain key be the last word? False if every write or
 * removal it may come from ended before another had begun. */
bool checker_may_be_last(const struct history *h, uint32_t key, int64_t version);

#endif
