/* Loading libpq; see pg_lib.h. */
#include "pg_lib.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libpq.so.5"

struct pg_lib pg;

static const char *trouble(void)
{
	static char text[256];
	snprintf(text, sizeof(text), "PostgreSQL's library cannot be loaded (install libpq5): %s", dlerror());
	return text;
}

/* POSIX says that what dlsym gives may be made a function; C has no conversion for it. */
static bool find(void *library, const char *name, void *function)
{
	void *symbol = dlsym(library, name);
	memcpy(function, &symbol, sizeof(symbol));
	return symbol;
}

static bool find_all(void *library)
{
	bool is_whole = true;
#define FIND(name) is_whole = is_whole && find(library, #name, &pg.name);
	PG_FUNCTIONS(FIND)
#undef FIND
	return is_whole;
}

const char *pg_lib_load(void)
{
	static bool is_loaded;
	if (is_loaded)
		return NULL;
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library || !find_all(library))
		return trouble();
	is_loaded = true;
	return NULL;
}
