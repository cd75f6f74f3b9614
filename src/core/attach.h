/* attach.h - how a client and a server meet: one packet each way on a Unix socket that keeps packets apart.
 *
 * The client says which version it speaks and how large it wants the rings; the server answers with a status, the sizes
 * and, where it is welcome, the file of the memory that both have from then on (channel.h).  A client without an answer
 * has cost the server a descriptor and nothing else.  docs/service-protocol.md has the bytes.
 */
#ifndef MG_ATTACH_H
#define MG_ATTACH_H

#include "channel.h"

enum { MG_ATTACH_VERSION = 1, MG_ATTACH_TEXT = 200 };
enum { MG_WELCOME, MG_BUSY, MG_REFUSED, MG_OTHER_VERSION };

typedef struct mg_greeting { /* both packets; of the server's, text follows that says why it is not welcome */
  char magic[8];
  uint32_t version;
  uint32_t status; /* of the client's: 0 */
  uint32_t to_server, to_client; /* bytes of the rings; of the client's, 0: as the server likes */
  uint64_t number;               /* the client's, as the server counts them */
} mg_greeting;

/* Connects and says hello.  0 or -errno; -EAGAIN: the server has not got round to those before. */
int mg_attach_connect(mg_channel *c, const mg_address *to, uint32_t to_server, uint32_t to_client);
/* The server's answer.  1: welcome, and attached; 0: it has not come yet; -ECONNREFUSED: not welcome, out->status says
 * why and `text`, of MG_ATTACH_TEXT bytes, too; -EPROTO: it is none; -EPIPE, -errno. */
int mg_attach_answer(mg_channel *c, mg_greeting *out, char *text);

/* Of a connection that was accepted, what the client says.  1, 0: nothing yet, -EPROTO: it speaks another language,
 * -EPIPE: it is gone. */
int mg_attach_greeting(mg_channel *c, mg_greeting *out);
/* Welcomes a client, with rings of the sizes that *said asks for, or of so many bytes.  0 or -errno. */
int mg_attach_admit(mg_channel *c, const mg_greeting *said, uint32_t to_server, uint32_t to_client, uint64_t number);
/* Turns a client away. */
void mg_attach_refuse(mg_channel *c, uint32_t status, const char *text);

#endif
