/* Requests kept for later; see parked.h. Used by client.c and command_transaction.c. */
#include "parked.h"

#include <stdlib.h>
#include <string.h>

#include "value.h"

struct parked *parked_new(const struct request_arg *argv, size_t argc)
{
	size_t bytes = 0, len = 0;
	for (size_t i = 0; i < argc; i++) {
		len += argv[i].len;
		bytes += argv[i].owner ? 0 : argv[i].len;
	}
	struct parked *p = malloc(sizeof(*p) + argc * sizeof(*argv) + bytes);
	if (!p)
		return NULL;
	*p = (struct parked){.argc = argc, .len = len};
	char *to = (char *)(p->argv + argc);
	for (size_t i = 0; i < argc; i++) {
		p->argv[i] = argv[i];
		if (argv[i].owner) {
			value_ref(argv[i].owner);
			continue;
		}
		memcpy(to, argv[i].data, argv[i].len);
		p->argv[i].data = to;
		to += argv[i].len;
	}
	return p;
}

void parked_release_owners(const struct request_arg *argv, size_t argc)
{
	for (size_t i = 0; i < argc; i++)
		value_unref(argv[i].owner);
}

void parked_free(struct parked *p)
{
	if (!p)
		return;
	parked_release_owners(p->argv, p->argc);
	free(p);
}
