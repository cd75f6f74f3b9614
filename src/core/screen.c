/* screen.c - see screen.h. */
#include "screen.h"

#include <errno.h>
#include <termios.h>

#define ENTER "\033[?1049h\033[?25l\033[?7l\033[0m\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

enum { TRIES = 300, WAIT_MS = 10 }; /* for the few bytes of LEAVE: a terminal far away may be full for a while */

static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM, SIGXCPU};

static int fd = -1, ends_here, kept = -1, kept_out = -1, kept_err = -1;
static unsigned owner;
static volatile sig_atomic_t shown;
static struct termios usual;

static void put(const char *text, size_t n) {
  struct pollfd ready = {.fd = fd, .events = POLLOUT};
  for (int i = 0; n > 0 && i < TRIES; i++) {
    ssize_t wrote = mg_sys.write(fd, text, n);
    if (wrote > 0) text += wrote, n -= (size_t)wrote;
    else if (wrote != -EAGAIN && wrote != -EINTR) return;
    else mg_sys.poll(&ready, 1, WAIT_MS);
  }
}

void mg_screen_leave(void) {
  int saved = errno;
  if (shown && owner == mg_process_serial) {
    put(LEAVE, sizeof LEAVE - 1);
    mg_sys.set_mode(fd, &usual);
    shown = 0; /* last: where a signal that ends the process comes meanwhile, all of it is done again */
  }
  errno = saved;
}

void mg_screen_keep(int from, int out, int err) {
  kept = from;
  kept_out = out;
  kept_err = err;
}

void mg_screen_end(void) {
  char part[4096];
  int saved = errno;
  mg_screen_leave();
  if (kept >= 0 && owner == mg_process_serial) {
    uint64_t at = 0;
    int to = kept_out >= 0 ? kept_out : kept_err;
    for (ssize_t n; (n = mg_sys.read_at(kept, part, sizeof part, at)) > 0; at += (uint64_t)n)
      if (mg_sys.write(to, part, (size_t)n) != n) break;
    kept = -1;
  }
  errno = saved;
}

static void at_end(void) {
  if (kept >= 0 && owner == mg_process_serial) mg_sys.flush(0);
  mg_screen_end();
  if (owner != mg_process_serial) return;
  if (kept_out >= 0) mg_sys.print_into(kept_out, 1, 0);
  if (kept_err >= 0) mg_sys.print_into(kept_err, 0, 1);
}

static void on_fatal(int sig) {
  mg_screen_end();
  mg_sys.handle_signal(sig, SIG_DFL);
  mg_sys.raise(sig);
}

static int is_raw(const struct termios *mode) { return !(mode->c_lflag & (ICANON | ECHO)); }

static int enter(void) {
  struct termios mode;
  int rc = mg_sys.get_mode(fd, &mode);
  if (rc < 0) return rc;
  if (!is_raw(&mode)) usual = mode; /* else it is ours, of before a stop that could not be seen coming */
  mode.c_lflag &= (tcflag_t)~(ICANON | ECHO | ECHONL | IEXTEN);
  mode.c_lflag |= NOFLSH; /* else Ctrl-C throws away what the terminal has not read, of a frame that counts as drawn */
  mode.c_iflag &= (tcflag_t)~(IXON | ICRNL | INLCR | IGNCR);
  mode.c_cc[VMIN] = mode.c_cc[VTIME] = 0;
  shown = 1; /* first, as a signal may come at any moment */
  rc = mg_sys.set_mode(fd, &mode);
  put(ENTER, sizeof ENTER - 1);
  return rc;
}

int mg_screen_check(void) {
  struct termios mode;
  if (fd < 0 || owner != mg_process_serial || !mg_sys.foreground(fd)) return 0;
  if (shown && mg_sys.get_mode(fd, &mode) == 0 && is_raw(&mode)) return 1;
  return enter() < 0 ? 0 : 2;
}

int mg_screen_open(void) {
  if (fd >= 0 && owner == mg_process_own()) return -EBUSY;
  mg_screen_forget(); /* a parent's */
  fd = mg_sys.open_terminal();
  if (fd < 0) return fd;
  int rc = mg_sys.get_mode(fd, &usual);
  if (rc >= 0 && !ends_here) rc = mg_sys.at_end(at_end);
  if (rc < 0) return mg_shut(&fd), rc;
  ends_here = 1;
  owner = mg_process_own();
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
    if (mg_is_handled_by(fatal[i], SIG_DFL)) mg_sys.handle_signal(fatal[i], on_fatal);
  return 0;
}

int mg_screen_fd(void) { return owner == mg_process_serial ? fd : -1; }

void mg_screen_forget(void) {
  shown = 0;
  mg_screen_keep(-1, -1, -1);
  mg_shut(&fd);
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
    if (mg_is_handled_by(fatal[i], on_fatal)) mg_sys.handle_signal(fatal[i], SIG_DFL);
}

void mg_screen_close(void) {
  mg_screen_leave();
  if (owner == mg_process_serial) mg_screen_forget();
}
