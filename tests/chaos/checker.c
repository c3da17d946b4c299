/* The judge; see checker.h. What is legal, and why:
 *
 * Every version has a place [lo, hi] on a line, and version a is older than b if
 * a.hi < b.lo. For a sourced key the line is the source's counter, lo = hi = version. For
 * a plain key it is time: lo and hi are the start and the end of its write. Two writes
 * that overlap may have come to Redis in either order, so neither is older.
 *
 * Each sidecar has a floor for each key: the largest lo that it has let anybody know of,
 * by the reply to a change made through it (promise 2) or by the reply to a read (promise
 * 3). A read that starts after that reply must not return a version with hi below the
 * floor. What a foreign client or another sidecar has changed puts no floor under this
 * one: the news may be on its way, and a read meanwhile is stale, not wrong. How long it
 * stays stale is measured.
 *
 * A nil of a plain key may come from any removal that had begun before the read ended:
 * it is wrong only if all of these, and the absence at the beginning, are older than the
 * floor; and as nobody can say which it was, its own lo is that of the oldest possible.
 * A nil of a sourced key is always wrong, since its row exists from beginning to end.
 *
 * A sourced key's row is changed first (born), the cache told then (start to end). A read
 * may return the new version from born on; the floor rises at end. A client that tells
 * the cache by a plain DEL in Redis which finds no key has left no trace of it (the
 * exception of promise 4): the load makes it tell a sidecar too, and end is the latter's
 * reply. A client that SETs a sourced key in Redis keeps other writers of the key away
 * meanwhile, else it would itself put an older version over a newer one.
 *
 * Per key and sidecar, starts and ends are walked in the order of time; at one and the
 * same time starts come first, as nothing can be said of their order. */
#include "checker.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

/* The versions of one key. */
struct versions {
	const struct op **of;           /* by version, the write or removal; NULL: none such */
	size_t n;
	const struct op **removals;     /* by start */
	size_t n_removals;
	int64_t *known;                 /* of a sourced key, by op: the newest version the source surely had at its start */
	bool is_sourced;
};

struct place {
	int64_t lo, hi;
};

struct mark {
	int64_t at_ns;
	const struct op *op;
	bool is_end;
};

struct sides {
	int64_t own, seen;              /* the two floors */
};

struct samples {
	double *ms;
	size_t n, room;
};

#define TOLD_MAX 40
#define NOWHERE INT64_MIN               /* before all else */

/* ---- order ---- */

static int by_key_and_start(const void *x, const void *y)
{
	const struct op *a = x, *b = y;
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

static int by_time(const void *x, const void *y)
{
	const struct mark *a = x, *b = y;
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns ? -1 : 1;
	if (a->is_end != b->is_end)
		return a->is_end ? 1 : -1;
	return a->op < b->op ? -1 : a->op > b->op;
}

static int by_size(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;
	return a < b ? -1 : a > b;
}

static void lift(int64_t *floor, int64_t lo)
{
	if (lo > *floor)
		*floor = lo;
}

static struct place place_of_write(const struct versions *all, const struct op *op)
{
	if (all->is_sourced)
		return (struct place){op->version, op->version};
	return (struct place){op->start_ns, op->end_ns};
}

/* ---- violations ---- */

static void complain(struct verdict *v, size_t *counter, const char *what, const struct op *read, int64_t floor)
{
	if (verdict_violations(v) == 0)
		v->culprit = *read;
	if (verdict_violations(v) == 0)
		snprintf(v->first, sizeof(v->first), "%s: client %u on sidecar %u read version %lld of key %u from %lld to %lld ns;"
			" the floor was %lld", what, read->client, read->sidecar, (long long)read->version, read->key,
			(long long)read->start_ns, (long long)read->end_ns, (long long)floor);
	++*counter;
}

size_t verdict_violations(const struct verdict *v)
{
	return v->old_after_own + v->went_back + v->invented + v->false_nils;
}

/* ---- reads ---- */

/* Where an absence may have come from; false if from nowhere. */
static bool place_nil(const struct versions *all, const struct op *read, const struct sides *floor, struct place *p)
{
	int64_t least = floor->own > floor->seen ? floor->own : floor->seen;
	bool found = least == NOWHERE;          /* it was absent at the beginning */
	*p = (struct place){NOWHERE, NOWHERE};
	for (size_t i = 0; i < all->n_removals && all->removals[i]->start_ns < read->end_ns; i++) {
		const struct op *d = all->removals[i];
		if (d->end_ns > p->hi)
			p->hi = d->end_ns;
		if (d->end_ns >= least && !found) {
			p->lo = d->start_ns;
			found = true;
		}
	}
	return found || p->hi > NOWHERE;
}

/* False if the read is wrong whatever the floor. */
static bool place_read(const struct versions *all, const struct op *read, const struct sides *floor, struct place *p,
	struct verdict *v)
{
	if (read->version == CHECKER_NIL) {
		if (!all->is_sourced && place_nil(all, read, floor, p))
			return true;
		complain(v, &v->false_nils, "a false nil", read, 0);
		return false;
	}
	bool is_known = read->version > 0 && (size_t)read->version < all->n && all->of[read->version];
	const struct op *write = is_known ? all->of[read->version] : NULL;
	if (!write || write->kind != OP_WRITE || write->born_ns > read->end_ns) {
		complain(v, &v->invented, "an invented version", read, 0);
		return false;
	}
	*p = place_of_write(all, write);
	return true;
}

static void judge_read(const struct versions *all, const struct op *read, const struct sides *floor, struct place *p,
	struct verdict *v)
{
	v->reads++;
	*p = (struct place){NOWHERE, NOWHERE};
	if (!place_read(all, read, floor, p, v))
		return;
	if (p->hi < floor->own)
		complain(v, &v->old_after_own, "older than an acknowledged change", read, floor->own);
	else if (p->hi < floor->seen)
		complain(v, &v->went_back, "went back", read, floor->seen);
}

/* All that one sidecar answered about one key. */
static void judge_sidecar(const struct op *ops, size_t n, unsigned sidecar, const struct versions *all, struct verdict *v)
{
	struct mark *marks = xcalloc(2 * n + 1, sizeof(*marks));
	struct sides floor = {NOWHERE, NOWHERE};
	size_t n_marks = 0;
	for (size_t i = 0; i < n; i++) {
		if (ops[i].sidecar != sidecar)
			continue;
		marks[n_marks++] = (struct mark){.at_ns = ops[i].start_ns, .op = &ops[i]};
		marks[n_marks++] = (struct mark){.at_ns = ops[i].end_ns, .op = &ops[i], .is_end = true};
	}
	qsort(marks, n_marks, sizeof(*marks), by_time);
	struct place *places = xcalloc(n + 1, sizeof(*places));
	for (size_t i = 0; i < n_marks; i++) {
		const struct op *op = marks[i].op;
		struct place *p = &places[op - ops];
		if (!marks[i].is_end && op->kind == OP_READ)
			judge_read(all, op, &floor, p, v);
		else if (marks[i].is_end && op->kind == OP_READ)
			lift(&floor.seen, p->lo);
		else if (marks[i].is_end && op->end_ns != CHECKER_UNKNOWN)
			lift(&floor.own, all->is_sourced ? all->known[op - ops] : op->start_ns);
	}
	free(places);
	free(marks);
}

/* ---- staleness ---- */

static void add_sample(struct samples *s, double ms)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->ms = xrealloc(s->ms, s->room * sizeof(*s->ms));
	}
	s->ms[s->n++] = ms;
}

/* How long after each change the sidecar still answered with something older. reads: its
 * reads of the key, by start. */
static void measure_sidecar(const struct op *ops, size_t n, unsigned sidecar, struct samples *s)
{
	const struct op **reads = xcalloc(n + 1, sizeof(*reads));
	size_t n_reads = 0, first = 0;
	for (size_t i = 0; i < n; i++)
		if (ops[i].sidecar == sidecar && ops[i].kind == OP_READ)
			reads[n_reads++] = &ops[i];
	for (size_t i = 0; i < n; i++) {
		const struct op *w = &ops[i];
		if (w->kind != OP_WRITE || w->sidecar == sidecar || w->end_ns == CHECKER_UNKNOWN)
			continue;
		while (first < n_reads && reads[first]->start_ns <= w->start_ns)
			first++;
		int64_t last_ns = w->end_ns;
		for (size_t r = first; r < n_reads && (reads[r]->version < w->version || reads[r]->start_ns < w->end_ns); r++)
			if (reads[r]->start_ns > w->end_ns)
				last_ns = reads[r]->start_ns;
		add_sample(s, (double)(last_ns - w->end_ns) / 1e6);
	}
	free(reads);
}

static struct spread spread_of(struct samples *s)
{
	struct spread sp = {.n = s->n};
	if (s->n == 0)
		return sp;
	qsort(s->ms, s->n, sizeof(*s->ms), by_size);
	sp.p50_ms = s->ms[s->n / 2];
	sp.p99_ms = s->ms[s->n * 99 / 100];
	sp.max_ms = s->ms[s->n - 1];
	return sp;
}

/* ---- keys ---- */

static struct versions versions_of(const struct op *ops, size_t n, bool is_sourced)
{
	struct versions all = {.is_sourced = is_sourced};
	for (size_t i = 0; i < n; i++)
		if (ops[i].kind != OP_READ && (size_t)ops[i].version >= all.n)
			all.n = (size_t)ops[i].version + 1;
	all.of = xcalloc(all.n + 1, sizeof(*all.of));
	all.removals = xcalloc(n + 1, sizeof(*all.removals));
	all.known = xcalloc(n + 1, sizeof(*all.known));
	for (size_t i = 0; i < n; i++) {
		all.known[i] = i ? all.known[i - 1] : 0;
		if (ops[i].kind == OP_WRITE)
			lift(&all.known[i], ops[i].version);
		if (ops[i].kind != OP_READ)
			all.of[ops[i].version] = &ops[i];
		if (ops[i].kind == OP_REMOVE)
			all.removals[all.n_removals++] = &ops[i];
	}
	return all;
}

static void judge_key(const struct op *ops, size_t n, const struct checker_options *options, struct samples *s,
	struct verdict *v)
{
	struct versions all = versions_of(ops, n, ops[0].key < options->n_sourced);
	for (size_t i = 0; i < n; i++)
		v->writes += ops[i].kind != OP_READ;
	for (unsigned sidecar = 0; sidecar < options->n_sidecars; sidecar++) {
		judge_sidecar(ops, n, sidecar, &all, v);
		if (all.is_sourced)
			measure_sidecar(ops, n, sidecar, s);
	}
	free(all.of);
	free(all.removals);
	free(all.known);
}

void checker_judge(struct history *h, const struct checker_options *options, struct verdict *v)
{
	struct samples s = {0};
	*v = (struct verdict){0};
	qsort(h->ops, h->n, sizeof(*h->ops), by_key_and_start);
	for (size_t from = 0, to; from < h->n; from = to) {
		for (to = from; to < h->n && h->ops[to].key == h->ops[from].key; to++)
			;
		judge_key(&h->ops[from], to - from, options, &s, v);
	}
	v->staleness = spread_of(&s);
	free(s.ms);
}

static double ms_before(int64_t ns, int64_t at_ns)
{
	return ns == CHECKER_UNKNOWN ? -9999 : (double)(at_ns - ns) / 1e6;
}

void checker_tell(const struct history *h, uint32_t key, int64_t at_ns)
{
	static const char *const names[] = {[OP_READ] = "read", [OP_WRITE] = "wrote", [OP_REMOVE] = "removed"};
	unsigned told = 0;
	for (size_t i = h->n; i-- > 0 && told < TOLD_MAX;) {
		const struct op *op = &h->ops[i];
		if (op->key != key || op->start_ns > at_ns)
			continue;
		printf("    %9.3f to %9.3f ms before: sidecar %3u client %5u %s %lld", ms_before(op->start_ns, at_ns),
			ms_before(op->end_ns, at_ns), op->sidecar, op->client, names[op->kind], (long long)op->version);
		printf(op->born_ns < op->start_ns ? " (row changed %.3f ms before)\n" : "\n", ms_before(op->born_ns, at_ns));
		told++;
	}
}

bool checker_may_be_last(const struct history *h, uint32_t key, int64_t version)
{
	int64_t end_ns = version == CHECKER_NIL ? 0 : NOWHERE, last_start_ns = NOWHERE;
	for (size_t i = 0; i < h->n; i++) {
		const struct op *op = &h->ops[i];
		if (op->key != key || op->kind == OP_READ)
			continue;
		if (version == CHECKER_NIL ? op->kind == OP_REMOVE : op->version == version)
			lift(&end_ns, op->end_ns);
		if (op->end_ns != CHECKER_UNKNOWN)
			lift(&last_start_ns, op->start_ns);
	}
	return end_ns >= last_start_ns;
}
