/* link.c - see link.h. */
#include "link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 4096 /* bytes of the buffer for commands */
#define CHUNK 65536
#define MOST ((size_t)1 << 30) /* bytes of a command; hiredis counts in ints */

void mg_link_check(const mg_link *link) {
  if (link->state == MG_LINK_CLOSED) assert(link->fd < 0 && !link->ssl);
  else assert(link->fd > STDERR_FILENO && link->reader);
  assert(link->sent <= link->filled && link->filled <= link->size);
  assert((link->ssl != NULL) == (link->secure && link->state != MG_LINK_CLOSED));
}

/* Drops the connection, keeps what was read. */
static void drop(mg_link *link) {
  if (link->ssl) SSL_free(link->ssl);
  if (link->fd >= 0) close(link->fd);
  link->ssl = NULL;
  link->fd = -1;
  link->state = MG_LINK_CLOSED;
  link->sent = link->filled = 0;
}

__attribute__((format(printf, 2, 3))) static int fail(mg_link *link, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(link->why, sizeof link->why, format, args);
  va_end(args);
  drop(link);
  return -1;
}

/* What OpenSSL complains of, in words. */
static const char *why_tls(SSL *ssl) {
  long verify = SSL_get_verify_result(ssl);
  if (verify != X509_V_OK) return X509_verify_cert_error_string(verify);
  unsigned long code = ERR_peek_last_error();
  const char *text = code ? ERR_reason_error_string(code) : NULL;
  return text ? text : "the connection was closed in the handshake";
}

/* A socket, or -errno.  It is no standard descriptor: where the program has closed those, it may print all the same. */
static int new_socket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (fd > STDERR_FILENO) return fd;
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), rc = higher < 0 ? -errno : higher;
  close(fd);
  return rc;
}

/* A socket that begins to connect to an address: 0, or -errno. */
static int begin(mg_link *link, int family, const struct sockaddr *address, socklen_t length) {
  int fd = new_socket(family), one = 1;
  if (fd < 0) return fd;
  if (family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  if (connect(fd, address, length) < 0 && errno != EINPROGRESS) {
    int rc = -errno;
    close(fd);
    return rc;
  }
  link->fd = fd;
  link->state = MG_LINK_CONNECTING;
  return 0;
}

static int begin_unix(mg_link *link, const char *path) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
  strcpy(address.sun_path, path);
  return begin(link, AF_UNIX, (struct sockaddr *)&address, sizeof address);
}

/* Begins with the next of the host's addresses: 0, or -errno, `rc` where none is left. */
static int begin_next(mg_link *link, int rc) {
  for (const struct addrinfo *each; rc < 0 && (each = link->next);) {
    link->next = each->ai_next;
    link->begun++;
    rc = begin(link, each->ai_family, each->ai_addr, each->ai_addrlen);
  }
  return rc;
}

static int begin_host(mg_link *link, const mg_link_options *options) {
  struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
  int rc = getaddrinfo(options->host, options->port, &hints, &link->found);
  if (rc != 0) {
    link->found = NULL;
    return fail(link, "the host's name is not found: %s", gai_strerror(rc)), 1;
  }
  link->next = link->found;
  for (; link->begun < options->skip && link->next; link->begun++) link->next = link->next->ai_next;
  return begin_next(link, -EADDRNOTAVAIL);
}

/* Makes the TLS object, which gets the socket when that is connected.  The authorities are read anew for each
 * connection: there are few. */
static int prepare_tls(mg_link *link, const mg_link_options *options) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (!context) return fail(link, "TLS: no memory");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  int ok = options->ca ? SSL_CTX_load_verify_locations(context, options->ca, NULL) == 1
                       : SSL_CTX_set_default_verify_paths(context) == 1;
  if (!ok) {
    SSL_CTX_free(context);
    return fail(link, "TLS: cannot read the authorities '%s'", options->ca ? options->ca : "of the system");
  }
  if (options->certificate &&
      (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, options->key ? options->key : options->certificate,
                                   SSL_FILETYPE_PEM) != 1)) {
    SSL_CTX_free(context);
    return fail(link, "TLS: cannot read the certificate '%s', or its key", options->certificate);
  }
  link->ssl = SSL_new(context);
  SSL_CTX_free(context); /* the object keeps it */
  if (!link->ssl) return fail(link, "TLS: no memory");
  SSL_set_tlsext_host_name(link->ssl, options->host);
  return SSL_set1_host(link->ssl, options->host) == 1 ? 0 : fail(link, "TLS: no memory");
}

/* OpenSSL's own socket writes with write(), which ends a program that has not ignored SIGPIPE. */
static int write_quietly(BIO *bio, const char *bytes, int n) {
  BIO_clear_retry_flags(bio);
  int sent = (int)send((int)BIO_get_fd(bio, NULL), bytes, (size_t)n, MSG_NOSIGNAL);
  if (sent <= 0 && BIO_sock_should_retry(sent)) BIO_set_retry_write(bio);
  return sent;
}

/* The method of sockets that write so: made once, never freed.  NULL: no memory. */
static const BIO_METHOD *quiet_socket(void) {
  static BIO_METHOD *quiet;
  const BIO_METHOD *plain = BIO_s_socket();
  if (quiet || !(quiet = BIO_meth_new(BIO_TYPE_SOCKET, "socket without SIGPIPE"))) return quiet;
  BIO_meth_set_write(quiet, write_quietly);
  BIO_meth_set_read(quiet, BIO_meth_get_read(plain));
  BIO_meth_set_puts(quiet, BIO_meth_get_puts(plain));
  BIO_meth_set_ctrl(quiet, BIO_meth_get_ctrl(plain));
  BIO_meth_set_create(quiet, BIO_meth_get_create(plain));
  BIO_meth_set_destroy(quiet, BIO_meth_get_destroy(plain));
  return quiet;
}

/* Gives the TLS object the socket.  0 or -1. */
static int secure_socket(mg_link *link) {
  const BIO_METHOD *method = quiet_socket();
  BIO *bio = method ? BIO_new(method) : NULL;
  if (!bio) return fail(link, "TLS: no memory");
  BIO_set_fd(bio, link->fd, BIO_NOCLOSE);
  SSL_set_bio(link->ssl, bio, bio); /* the object keeps it */
  return 0;
}

int mg_link_open(mg_link *link, const mg_link_options *options) {
  memset(link, 0, sizeof *link);
  link->fd = -1;
  link->reader = redisReaderCreate();
  if (!link->reader) return fail(link, "no memory");
  int rc = options->path ? begin_unix(link, options->path) : begin_host(link, options);
  if (rc > 0) return -1; /* it says why already */
  if (rc < 0) return fail(link, "cannot connect: %s", strerror(-rc));
  link->secure = options->secure;
  if (link->secure && prepare_tls(link, options) < 0) return link->secure = 0, -1;
  return 0;
}

int mg_link_append(mg_link *link, int n, const char **words, const size_t *lengths) {
  if (link->state == MG_LINK_CLOSED) return -1;
  char *text;
  size_t bytes = 0;
  for (int i = 0; i < n; i++) {
    if (lengths[i] > MOST - bytes) return -1;
    bytes += lengths[i];
  }
  int length = (int)redisFormatCommandArgv(&text, n, words, lengths);
  if (length < 0) return -1;
  if (link->sent > 0) { /* what is sent goes */
    memmove(link->out, link->out + link->sent, link->filled - link->sent);
    link->filled -= link->sent;
    link->sent = 0;
  }
  size_t need = link->filled + (size_t)length, size = link->size ? link->size : FIRST;
  while (size < need) size *= 2;
  if (size > link->size) {
    char *larger = realloc(link->out, size);
    if (!larger) return redisFreeCommand(text), -1;
    link->out = larger;
    link->size = size;
  }
  memcpy(link->out + link->filled, text, (size_t)length);
  link->filled = need;
  redisFreeCommand(text);
  return 0;
}

/* What an operation of OpenSSL that has not worked waits for; -1: it never will. */
static int wait_for_tls(mg_link *link, int result) {
  int error = SSL_get_error(link->ssl, result);
  if (error == SSL_ERROR_WANT_READ) return MG_LINK_READ;
  if (error == SSL_ERROR_WANT_WRITE) return MG_LINK_WRITE;
  return -1;
}

static int go_on_connecting(mg_link *link) {
  int error = 0;
  socklen_t length = sizeof error;
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
  if (error) {
    close(link->fd);
    link->fd = -1;
    int rc = begin_next(link, -error);
    return rc < 0 ? fail(link, "cannot connect: %s", strerror(-rc)) : MG_LINK_WRITE;
  }
  if (getpeername(link->fd, (struct sockaddr *)&peer, &size) < 0) return MG_LINK_WRITE; /* not yet */
  if (link->secure && secure_socket(link) < 0) return -1;
  link->state = link->secure ? MG_LINK_SECURING : MG_LINK_READY;
  return 0;
}

static int go_on_securing(mg_link *link) {
  ERR_clear_error();
  int result = SSL_connect(link->ssl);
  if (result == 1) return link->state = MG_LINK_READY, 0;
  int wants = wait_for_tls(link, result);
  if (wants > 0) return wants;
  int refused = SSL_get_verify_result(link->ssl) != X509_V_OK;
  return fail(link, "TLS: %s%s", why_tls(link->ssl), refused ? "" : "; does the server speak TLS at this port?");
}

/* Sends what there is: 0, or what to wait for. */
static int send_some(mg_link *link) {
  while (link->sent < link->filled) {
    size_t left = link->filled - link->sent;
    ssize_t n;
    if (link->ssl) {
      ERR_clear_error();
      n = SSL_write(link->ssl, link->out + link->sent, left > CHUNK ? CHUNK : (int)left);
      if (n <= 0) {
        int wants = wait_for_tls(link, (int)n);
        return wants > 0 ? wants : fail(link, "the connection has ended");
      }
    } else {
      n = send(link->fd, link->out + link->sent, left, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return MG_LINK_WRITE;
      if (n < 0) return fail(link, "the connection has ended: %s", strerror(errno));
    }
    link->sent += (size_t)n;
  }
  return 0;
}

/* Reads what there is: what to wait for.  A socket that gives less than there is room for has no more. */
static int read_some(mg_link *link) {
  char bytes[CHUNK];
  for (;;) {
    ssize_t n;
    if (link->ssl) {
      ERR_clear_error();
      n = SSL_read(link->ssl, bytes, sizeof bytes);
      if (n <= 0) {
        int wants = wait_for_tls(link, (int)n);
        return wants > 0 ? wants : fail(link, "the server has closed the connection");
      }
    } else {
      n = recv(link->fd, bytes, sizeof bytes, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return MG_LINK_READ;
      if (n < 0) return fail(link, "the connection has ended: %s", strerror(errno));
      if (n == 0) return fail(link, "the server has closed the connection");
    }
    if (redisReaderFeed(link->reader, bytes, (size_t)n) != REDIS_OK) return fail(link, "no memory");
    if (!link->ssl && (size_t)n < sizeof bytes) return MG_LINK_READ;
  }
}

int mg_link_step(mg_link *link) {
  if (link->state == MG_LINK_CLOSED) return -1;
  int wants = 0;
  if (link->state == MG_LINK_CONNECTING && (wants = go_on_connecting(link)) != 0) return wants;
  if (link->state == MG_LINK_SECURING && (wants = go_on_securing(link)) != 0) return wants;
  int send_wants = send_some(link);
  if (send_wants < 0) return -1;
  int read_wants = read_some(link);
  return read_wants < 0 ? -1 : (send_wants | read_wants | MG_LINK_READ);
}

int mg_link_reply(mg_link *link, redisReply **reply) {
  void *found = NULL;
  if (!link->reader) return -1;
  if (redisReaderGetReply(link->reader, &found) != REDIS_OK) {
    return fail(link, "what the server has sent is no reply: %s", link->reader->errstr);
  }
  *reply = found;
  return found != NULL;
}

int mg_link_others(const mg_link *link) { return link->next ? link->begun : 0; }

void mg_link_close(mg_link *link) {
  if (link->ssl && link->state == MG_LINK_READY) SSL_shutdown(link->ssl);
  mg_link_forget(link);
}

void mg_link_forget(mg_link *link) {
  drop(link);
  if (link->found) freeaddrinfo(link->found);
  link->found = link->next = NULL;
  if (link->reader) redisReaderFree(link->reader);
  free(link->out);
  link->reader = NULL;
  link->out = NULL;
  link->size = 0;
}
