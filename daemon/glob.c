/* Patterns; see glob.h.
 *
 * A star first takes nothing. When what follows it does not match, the last star takes one byte more and
 * what follows is tried anew; earlier stars need not be looked at again, since what stands between two
 * stars has matched as early as it can. */
#include "glob.h"

struct glob {
	const char *at, *end;           /* of the pattern */
	bool ignores_case;
};

static char fold(const struct glob *g, char c)
{
	return g->ignores_case && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* As Redis's compiler orders them: char may be signed. */
static bool is_between(const struct glob *g, char a, char b, char c)
{
	char low = a < b ? a : b, high = a < b ? b : a;
	return fold(g, c) >= fold(g, low) && fold(g, c) <= fold(g, high);
}

/* at stands behind the bracket, and then behind its end. */
static bool matches_bracket(struct glob *g, char c)
{
	bool is_inverted = g->at < g->end && *g->at == '^', found = false;
	g->at += is_inverted;
	for (; g->at < g->end && *g->at != ']'; g->at++) {
		bool is_range = g->end - g->at >= 3 && g->at[1] == '-';
		if (*g->at == '\\' && g->end - g->at >= 2) {
			found |= fold(g, *++g->at) == fold(g, c);
		} else if (is_range) {
			found |= is_between(g, g->at[0], g->at[2], c);
			g->at += 2;
		} else {
			found |= fold(g, *g->at) == fold(g, c);
		}
	}
	g->at += g->at < g->end;
	return found != is_inverted;
}

/* What the pattern has for one byte, which is no star; at moves behind it. */
static bool matches_byte(struct glob *g, char c)
{
	char p = *g->at++;
	if (p == '?')
		return true;
	if (p == '[')
		return matches_bracket(g, c);
	if (p == '\\' && g->at < g->end)
		p = *g->at++;
	return fold(g, p) == fold(g, c);
}

bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t text_len, bool ignores_case)
{
	struct glob g = {.at = pattern, .end = pattern + pattern_len, .ignores_case = ignores_case};
	const char *behind_star = NULL, *tried = text, *end = text + text_len;
	while (text < end) {
		if (g.at < g.end && *g.at == '*') {
			behind_star = ++g.at;
			tried = text;
		} else if (g.at < g.end && matches_byte(&g, *text)) {
			text++;
		} else if (behind_star) {
			g.at = behind_star;
			text = ++tried;
		} else {
			return false;
		}
	}
	while (g.at < g.end && *g.at == '*')
		g.at++;
	return g.at == g.end;
}
