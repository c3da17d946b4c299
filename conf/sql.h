/* What must be known of SQL to load a configuration and to run its queries. */
#ifndef CATCACHED_SQL_H
#define CATCACHED_SQL_H

/* Rewrites :name parameters of sql for a database that numbers them ($1): string
 * and quoted identifiers, comments, dollar quotes and ::casts are left alone.
 * Returns the text (free it) and *uses: how often :name occurs; or NULL and
 * *error (a sentence, free it) when another :word occurs. With sql unchanged as
 * far as SQLite is concerned it also serves as the check of a configuration. */
char *sql_number_parameters(const char *sql, unsigned *uses, char **error);

#endif
