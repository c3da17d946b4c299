/* The terminal as a screen; see ctl_screen.h. */
#include "ctl_screen.h"

#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

/* What is taken for the size of a terminal that does not tell. */
#define COLUMNS 80
#define LINES 24

/* Set by the signals that end it. */
static volatile sig_atomic_t must_stop;

static void on_stop(int sig)
{
	(void)sig;
	must_stop = 1;
}

/* Ends the wait, so that the screen is drawn anew. */
static void on_resize(int sig)
{
	(void)sig;
}

/* Outside of the wait these signals are held back, so none is missed. */
static void hold_signals(sigset_t *before)
{
	static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t held;
	sigemptyset(&held);
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		sigaction(stops[i], &(struct sigaction){.sa_handler = on_stop}, NULL);
		sigaddset(&held, stops[i]);
	}
	sigaction(SIGWINCH, &(struct sigaction){.sa_handler = on_resize}, NULL);
	sigaddset(&held, SIGWINCH);
	sigprocmask(SIG_BLOCK, &held, before);
}

void screen_enter(struct screen *s, bool is_on)
{
	static const char enter[] = "\033[?1049h\033[?25l";
	hold_signals(&s->signals);
	s->is_on = is_on;
	if (!is_on)
		return;
	s->has_keys = tcgetattr(STDIN_FILENO, &s->before) == 0;
	if (s->has_keys) {
		struct termios keys = s->before;
		keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		keys.c_cc[VSUSP] = _POSIX_VDISABLE;     /* the shell would be left with this screen */
		tcsetattr(STDIN_FILENO, TCSANOW, &keys);
	}
	(void)ctl_write(enter, sizeof(enter) - 1);      /* the first drawing tells */
}

void screen_leave(const struct screen *s)
{
	static const char leave[] = "\033[?25h\033[?1049l";
	if (s->is_on)
		(void)ctl_write(leave, sizeof(leave) - 1);      /* nothing to be done about it */
	if (s->has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

static struct winsize screen_size(void)
{
	struct winsize size = {0};
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
		size = (struct winsize){.ws_row = LINES, .ws_col = COLUMNS};
	return size;
}

int screen_draw(const struct buf *frame)
{
	struct winsize size = screen_size();
	struct buf b = BUF_INIT;
	const char *at = frame->data, *end = at + frame->len;
	buf_add_str(&b, "\033[H");
	for (int line = 0; at < end && line < size.ws_row; line++) {
		size_t len = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) - at);
		bool is_head = len > 4 && memcmp(at, "TYPE", 4) == 0;
		buf_addf(&b, "%s%s%.*s\033[K%s", line ? "\r\n" : "", is_head ? "\033[7m" : "", (int)(len < size.ws_col ? len : size.ws_col), at,
			is_head ? "\033[m" : "");
		at += len + 1;
	}
	buf_add_str(&b, "\033[J");
	return ctl_show(&b, CTL_GOOD);
}

void screen_add_folded(struct buf *b, const char *label, const char *text)
{
	size_t columns = screen_size().ws_col, label_len = strlen(label), width = columns > label_len ? columns - label_len : 1;
	while (*text) {
		size_t len = strcspn(text, "\n"), cut = len > width ? width : len;
		while (cut < len && cut > 0 && text[cut] != ' ')
			cut--;
		cut = cut ? cut : len;
		buf_addf(b, "%s%.*s\n", label, (int)cut, text);
		text += cut + (text[cut] != '\0');
	}
}

bool screen_wait(const struct screen *s, int64_t end_us)
{
	int64_t left_us = end_us - ctl_now_us();
	struct timespec left = {.tv_sec = left_us > 0 ? left_us / 1000000 : 0, .tv_nsec = left_us > 0 ? left_us % 1000000 * 1000 : 0};
	struct pollfd keys = {.fd = s->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
	char key = 0;
	if (ppoll(&keys, 1, &left, &s->signals) > 0 && read(STDIN_FILENO, &key, 1) <= 0)
		return false;
	return !must_stop && key != 'q' && key != 'Q';
}
