/* job.c - see job.h. */
#include "job.h"

#include <errno.h>

#include "command.h"
#include "pool.h"

static struct sigaction before;
static int opened, installed;

static void tell_all(int sig) {
  mg_pool_signal(sig);
  mg_command_signal(sig);
}

static void on_stop(int sig) {
  struct sigaction usual = {.sa_handler = SIG_DFL}, ours;
  int saved = errno;
  tell_all(SIGSTOP);
  mg_sys.signal_action(sig, &usual, &ours);
  mg_sys.stop_self(sig); /* comes back when somebody lets it go on */
  mg_sys.signal_action(sig, &ours, NULL);
  tell_all(SIGCONT);
  errno = saved;
}

static int is_plain(const struct sigaction *sa, void (*handler)(int)) {
  return !(sa->sa_flags & SA_SIGINFO) && sa->sa_handler == handler;
}

void mg_job_open(void) {
  struct sigaction ours = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
  if (opened++ > 0 || mg_sys.signal_action(SIGTSTP, NULL, &before) < 0 || !is_plain(&before, SIG_DFL)) return;
  sigemptyset(&ours.sa_mask);
  installed = mg_sys.signal_action(SIGTSTP, &ours, NULL) == 0;
}

void mg_job_close(void) {
  struct sigaction now;
  if (opened == 0 || --opened > 0 || !installed) return;
  installed = 0;
  if (mg_sys.signal_action(SIGTSTP, NULL, &now) == 0 && is_plain(&now, on_stop))
    mg_sys.signal_action(SIGTSTP, &before, NULL);
}

void mg_job_forget(void) {
  if (opened > 1) opened = 1;
  mg_job_close();
}
