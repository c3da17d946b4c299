/* How the keys of a configuration must agree. Called by conf.c. */
#ifndef CATCACHED_RULES_H
#define CATCACHED_RULES_H

struct conf;
struct yaml_node;
struct yaml_problems;

/* Finishes c, which was read from the tree at root: sets the defaults that follow
 * other keys, and the pointers from type to type; rejects what does not agree. */
void rules_apply(struct conf *c, const struct yaml_node *root, struct yaml_problems *problems);

#endif
