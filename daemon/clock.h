/* Time. The loop reads the clock once per batch of work and everything in that
 * batch uses the same reading; tests move it. */
#ifndef CATCACHED_CLOCK_H
#define CATCACHED_CLOCK_H

#include <stdint.h>

struct event;

/* Milliseconds that never go back and go on while the machine sleeps
 * (CLOCK_BOOTTIME), as of the last clock_update. TTLs and deadlines use this. */
int64_t clock_ms(void);

/* The same moment in milliseconds since 1970 (CLOCK_REALTIME): only for what people and
 * other programs read or say. */
int64_t clock_wall_ms(void);

/* The same moment as clock_ms in microseconds: for how long requests took, which is so measured in whole turns. */
int64_t clock_turn_us(void);

/* Microseconds that never go back, read now: for measuring durations. */
int64_t clock_us(void);

/* Reads the clock. Called when the loop hands over an event. */
void clock_update(void);

/* A timer: it goes off in ms from now, wherever it stood before. */
void clock_arm(struct event *timer, int64_t ms);

/* Tests: from now on every reading is moved forward by ms. */
void clock_skew(int64_t ms);

#endif
