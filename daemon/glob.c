/* Patterns of keys; see glob.h. All but * stands for one byte, so it is enough to go back to the last *:
 * what matched before it needs no second try. */
#include "glob.h"

struct pattern {
	const char *at, *end;
};

static size_t left(const struct pattern *p)
{
	return (size_t)(p->end - p->at);
}

/* A byte of a class, or a range of them; goes behind it. */
static bool in_item(struct pattern *p, unsigned char c)
{
	bool is_range = left(p) >= 3 && p->at[1] == '-';
	if (left(p) >= 2 && p->at[0] == '\\') {
		p->at += 2;
		return (unsigned char)p->at[-1] == c;
	}
	unsigned char low = (unsigned char)p->at[0], high = (unsigned char)p->at[is_range ? 2 : 0];
	p->at += is_range ? 3 : 1;
	return low <= high ? low <= c && c <= high : high <= c && c <= low;
}

static bool in_class(struct pattern *p, unsigned char c)
{
	bool is_negated = left(p) && *p->at == '^', is_in = false;
	p->at += is_negated;
	while (left(p) && *p->at != ']')
		is_in |= in_item(p, c);
	p->at += left(p) > 0;
	return is_in != is_negated;
}

/* Whether c is what the pattern has next, which is no *; goes behind that. */
static bool takes(struct pattern *p, unsigned char c)
{
	if (!left(p))
		return false;
	char first = *p->at++;
	if (first == '?')
		return true;
	if (first == '[')
		return in_class(p, c);
	if (first == '\\' && left(p))
		first = *p->at++;
	return (unsigned char)first == c;
}

bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
	struct pattern p = {pattern, pattern + pattern_len}, star = {NULL, NULL};
	const char *end = text + len, *resume = text;
	while (text < end) {
		if (left(&p) && *p.at == '*') {
			p.at++;
			star = p;
			resume = text;
		} else if (takes(&p, (unsigned char)*text)) {
			text++;
		} else if (star.at) {
			p = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (left(&p) && *p.at == '*')
		p.at++;
	return !left(&p);
}
