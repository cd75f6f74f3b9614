/* listen.h - sockets that listen, and the files of those that have one. */
#ifndef MG_LISTEN_H
#define MG_LISTEN_H

#include "sys.h"

/* Opens a socket of that kind that listens there.  The file of a Unix socket at which no process listens is replaced;
 * that of one at which a process listens, and what is no socket, is left alone: -EADDRINUSE.  Two processes that begin
 * at the same moment are kept apart by a lock of the file's directory.  `file` gets the facts of the file, where there
 * is one; its mode is `mode`, or what the umask leaves where that is < 0.  Returns the descriptor, which is the
 * caller's, or -errno. */
int mg_listen(const mg_address *at, int kind, int mode, int backlog, mg_file *file);
/* Removes the file of a Unix socket, if it still is the one of `file`: not that of another server.  0 or -errno. */
int mg_listen_remove(const char *path, const mg_file *file);

#endif
