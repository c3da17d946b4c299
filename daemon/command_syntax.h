/* The words behind a command's name, as the table writes them for people, told as COMMAND DOCS tells
 * them to programs. The notation:
 *
 *      key             a word that is the caller's       NX              a word as it is
 *      EX seconds      one behind the other              A | B           one of these
 *      [x]             may be left out                   x [x ...]       once or more often; [x ...] or not at all
 */
#ifndef CATCACHED_COMMAND_SYNTAX_H
#define CATCACHED_COMMAND_SYNTAX_H

struct buf;

/* An array of maps with name, type, and where they apply token, flags and arguments, in Redis's form. */
void command_syntax_add(struct buf *b, int resp, const char *syntax);

#endif
