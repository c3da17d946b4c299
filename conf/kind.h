/* What a row of schema.h says about the values of its key, put to use. Called by conf.c. */
#ifndef CATCACHED_KIND_H
#define CATCACHED_KIND_H

struct schema_row;
struct yaml_node;
struct yaml_problems;

/* What a row says of its values, as the documentation prints it, such as
 * "count from 1 to 1000000; default 10000". To be freed. */
char *kind_facts(const struct schema_row *row);

/* Rejects node for not being what row expects. */
void kind_reject(const struct schema_row *row, struct yaml_node *node, struct yaml_problems *problems);

/* Reads node as row's kind of value into its field of base (struct conf or
 * conf_type), which is zero before. Rejects node when it is not such a value. */
void kind_read(const struct schema_row *row, struct yaml_node *node, void *base,
	struct yaml_problems *problems);

#endif
