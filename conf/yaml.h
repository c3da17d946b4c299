/* A YAML file as a small tree that remembers where each thing stood, with its
 * environment variables expanded. Says nothing about what a key means: that is
 * schema.c's. Depends on libyaml and proto/buf only.
 *
 * Refused, each at its place: anchors, aliases, tags, a second document, a key
 * given twice in one mapping, a key that is not a scalar, NUL bytes. */
#ifndef CATCACHED_YAML_H
#define CATCACHED_YAML_H

#include <stdbool.h>
#include <stddef.h>

#define YAML_MAX_BYTES ((size_t)1 << 20)        /* of a file */
#define YAML_MAX_NODES 20000                    /* scalars, sequences and mappings of a file */
#define YAML_MAX_DEPTH 32

struct yaml_mark {
	unsigned line, column;          /* from 1; columns are characters, not bytes */
};

enum yaml_node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct yaml_node {
	enum yaml_node_kind kind;
	struct yaml_mark at;            /* where it begins */
	char *key;                      /* under a mapping: the key it is the value of, else NULL */
	struct yaml_mark key_at;        /* where that key stands; without a key the same as at */
	char *text;                     /* a scalar's value, else NULL */
	bool bad;                       /* rejected already: nothing more is said about it */
	struct yaml_node *first;        /* of a sequence or mapping: its values in the order of the file */
	struct yaml_node *next;         /* the next value of the same parent */
};

struct yaml_problem {
	struct yaml_mark at;
	size_t order;                   /* 0 for the first found */
	char *text;
};

/* What is wrong with a file, in the order it was found. Begins as {0}. */
struct yaml_problems {
	struct yaml_problem *list;
	size_t n;
};

/* Reads a file, or len bytes of text, and expands in its values (not its keys):
 *   ${VAR}           the variable; a problem when it is not set
 *   ${VAR:-default}  the variable, or default when it is not set or empty
 *   $${              a literal ${
 * What a variable holds stays one scalar, whatever characters are in it.
 * Returns the tree (free with yaml_tree_free), a lone empty mapping for an empty
 * file; or NULL when there is no tree to look at. Adds what is wrong to problems,
 * also when it returns a tree. */
struct yaml_node *yaml_tree_read(const char *file, struct yaml_problems *problems);
struct yaml_node *yaml_tree_parse(const char *text, size_t len, struct yaml_problems *problems);
void yaml_tree_free(struct yaml_node *node);

/* The value of key in a mapping; NULL if it has none, is no mapping, or is NULL. */
struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key);

/* Adds a problem: at a place, or with a node, which is bad from then on. Of the
 * problems with one node only the first is kept: the others follow from it. Its
 * text becomes one line: control bytes are replaced by ?. */
void yaml_problem_add(struct yaml_problems *problems, struct yaml_mark at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void yaml_node_reject(struct yaml_node *node, struct yaml_problems *problems, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts problems in the order of lines and columns; those of one place stay as they were. */
void yaml_problems_sort(struct yaml_problems *problems);
void yaml_problems_free(struct yaml_problems *problems);

/* text as a problem may show it, in double quotes: a long text is cut, and of a URL
 * only the scheme is shown, since the rest may hold a password. To be freed. */
char *yaml_quote(const char *text);

#endif
