/* job.c - see job.h. */
#include "job.h"

#include <errno.h>

#include "command.h"
#include "pool.h"
#include "screen.h"

static int opened, installed;

static void tell_all(int sig) {
  mg_pool_signal(sig);
  mg_command_signal(sig);
}

static void on_stop(int sig) {
  struct sigaction usual = {.sa_handler = SIG_DFL}, ours;
  int saved = errno;
  mg_screen_leave();
  tell_all(SIGSTOP);
  mg_sys.signal_action(sig, &usual, &ours);
  mg_sys.stop_self(sig); /* comes back when it is let go on */
  mg_sys.signal_action(sig, &ours, NULL);
  tell_all(SIGCONT);
  errno = saved;
}

void mg_job_open(void) {
  if (opened++ > 0) return;
  installed = mg_is_handled_by(SIGTSTP, SIG_DFL) && mg_sys.handle_signal(SIGTSTP, on_stop) == 0;
}

void mg_job_close(void) {
  if (opened == 0 || --opened > 0 || !installed) return;
  installed = 0;
  if (mg_is_handled_by(SIGTSTP, on_stop)) mg_sys.handle_signal(SIGTSTP, SIG_DFL);
}

void mg_job_forget(void) {
  mg_screen_forget();
  if (opened > 1) opened = 1;
  mg_job_close();
}
