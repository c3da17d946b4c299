/* The terminal as a screen that is drawn anew each time, by plain escape sequences; and the
 * wait for keys and signals, which a program without a screen has, too. */
#ifndef CATCACHED_CTL_SCREEN_H
#define CATCACHED_CTL_SCREEN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct buf;

struct screen {
	bool is_on;
	bool has_keys;                  /* stdin is a terminal */
	struct termios before;          /* its settings, to be restored */
	sigset_t signals;               /* those let through before */
};

/* Holds the signals that end a program back for screen_wait. is_on: another screen, no cursor,
 * keys at once and not shown. */
void screen_enter(struct screen *s, bool is_on);

/* The terminal is as before, and what was on it. */
void screen_leave(const struct screen *s);

/* Draws the lines of frame from the upper left corner, cut to what fits. Returns an exit status. */
int screen_draw(const struct buf *frame);

/* Appends the lines of text behind a label, broken at blanks where they are wider than the screen. */
void screen_add_folded(struct buf *b, const char *label, const char *text);

/* Until end_us (see ctl_now_us), or a key, or a new size. False: q, Ctrl-C, or a signal to end. */
bool screen_wait(const struct screen *s, int64_t end_us);

#endif
