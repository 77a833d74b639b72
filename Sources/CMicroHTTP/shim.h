// libmicrohttpd, and wrappers for those of its functions that are variadic and therefore invisible to Swift.
#pragma once
#include <errno.h>
#include <linux/sockios.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/// Receives one line of libmicrohttpd's own diagnostics.
struct cmicrohttp_log {
  void (*_Nonnull sink)(void *_Nonnull context, const char *_Nonnull line);
  void *_Nonnull context;
};

/// What a daemon needs; every callback gets `context`, the log its own. All of it must outlive the daemon.
struct cmicrohttp_options {
  int listen_fd;
  /// Of the TLS that connections speak, in GnuTLS's words; NULL for none.
  const char *_Nullable tls_priorities;
  unsigned int connection_limit;
  size_t memory_limit;
  unsigned int inactivity_s;
  void *_Nullable (*_Nonnull begun)(void *_Nullable context, const char *_Nullable target,
                                   struct MHD_Connection *_Nullable connection);
  MHD_AccessHandlerCallback _Nonnull access;
  MHD_RequestCompletedCallback _Nonnull completed;
  MHD_NotifyConnectionCallback _Nonnull notify;
  void *_Nonnull context;
  const struct cmicrohttp_log *_Nonnull log;
};

static void cmicrohttp_log_line(void *context, const char *format, va_list arguments) {
  const struct cmicrohttp_log *log = (const struct cmicrohttp_log *)context;
  char line[512];
  int length = vsnprintf(line, sizeof line, format, arguments);
  if (length <= 0) return;
  size_t end = strnlen(line, sizeof line);
  while (end > 0 && line[end - 1] == '\n') line[--end] = '\0';
  log->sink(log->context, line);
}

/// Leaves escapes as they came: libmicrohttpd would decode %00 and cut the path there.
static size_t cmicrohttp_keep_escapes(void *context, struct MHD_Connection *connection, char *text) {
  (void)context;
  (void)connection;
  return strlen(text);
}

/// The daemon has no certificate: each session gets credentials of its own before its handshake. The arguments are those of
/// gnutls_certificate_retrieve_function2.
static int cmicrohttp_no_certificate(void *session, const void *names, int name_count, const void *algorithms,
                                     int algorithm_count, void *chain, unsigned int *length, void *key) {
  (void)session, (void)names, (void)name_count, (void)algorithms, (void)algorithm_count;
  (void)chain, (void)length, (void)key;
  return -1;
}

/// Makes a daemon, to be run by one thread of the caller's, on a listening socket, which it owns from then on. NULL when
/// it failed; it has then closed the socket or not, depending on how far it came.
static inline struct MHD_Daemon *_Nullable cmicrohttp_start(const struct cmicrohttp_options *_Nonnull o) {
  struct MHD_OptionItem tls[] = {
      {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)o->tls_priorities},
      {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)&cmicrohttp_no_certificate},
      {MHD_OPTION_END, 0, NULL},
  };
  const struct MHD_OptionItem none = {MHD_OPTION_END, 0, NULL};
  unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  return MHD_start_daemon(
      o->tls_priorities ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, o->access, o->context,
      MHD_OPTION_EXTERNAL_LOGGER, &cmicrohttp_log_line, (void *)o->log,
      MHD_OPTION_LISTEN_SOCKET, o->listen_fd,
      MHD_OPTION_CONNECTION_LIMIT, o->connection_limit,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->memory_limit,
      MHD_OPTION_CONNECTION_TIMEOUT, o->inactivity_s,
      MHD_OPTION_UNESCAPE_CALLBACK, &cmicrohttp_keep_escapes, NULL,
      MHD_OPTION_URI_LOG_CALLBACK, o->begun, o->context,
      MHD_OPTION_NOTIFY_COMPLETED, o->completed, o->context,
      MHD_OPTION_NOTIFY_CONNECTION, o->notify, o->context,
      MHD_OPTION_ARRAY, o->tls_priorities ? tls : &none,
      MHD_OPTION_END);
}

/// Makes a descriptor whose every write ends the daemon's wait for events: such a daemon has no wake-up channel of its
/// own. libmicrohttpd passes over events with a null pointer. The caller closes it. -1 when it failed.
static inline int cmicrohttp_wake_make(struct MHD_Daemon *_Nonnull daemon) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
  int fd = info ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
  // An edge for each write, so that nobody needs to read.
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
  if (fd >= 0 && epoll_ctl(info->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

/// Ends the daemon's wait, or its next one. From any thread.
static inline void cmicrohttp_wake(int fd) { (void)eventfd_write(fd, 1); }

/// An epoll(7) descriptor, or a negated errno.
static inline int cmicrohttp_watch_make(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

/// Makes a descriptor to be given to `cmicrohttp_wake`, for which the watch then reports 0. A negated errno when it
/// failed.
static inline int cmicrohttp_watch_stopper(int epoll) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return -errno;
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

/// Reports `number` once when the peer of a stream socket closes, half-closes or resets it, or has done so. 0 or -1.
static inline int cmicrohttp_watch_add(int epoll, int fd, uint64_t number) {
  struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = number};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static inline void cmicrohttp_watch_remove(int epoll, int fd) { (void)epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); }

/// Whether the peer of a stream socket has closed, half-closed or reset it.
static inline bool cmicrohttp_has_left(int fd) {
  // The kernel's number is the same for both; poll's own name for it wants _GNU_SOURCE.
  struct pollfd look = {.fd = fd, .events = EPOLLRDHUP};
  return poll(&look, 1, 0) == 1;
}

/// Waits for reports and stores the numbers of at most 64; how many, or -1.
static inline int cmicrohttp_watch_wait(int epoll, uint64_t *_Nullable numbers, int capacity) {
  struct epoll_event events[64];
  int count = epoll_wait(epoll, events, capacity < 64 ? capacity : 64, -1);
  for (int i = 0; i < count; i++) numbers[i] = events[i].data.u64;
  return count;
}

/// What the connection's MHD_CONNECTION_NOTIFY_STARTED callback stored.
static inline void *_Nullable cmicrohttp_socket_context(struct MHD_Connection *_Nonnull connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? info->socket_context : NULL;
}

/// The connection's socket, or -1.
static inline int cmicrohttp_socket(struct MHD_Connection *_Nonnull connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}

/// The connection's gnutls_session_t; NULL where it has none.
static inline void *_Nullable cmicrohttp_tls_session(struct MHD_Connection *_Nonnull connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  return info ? info->tls_session : NULL;
}

/// Begins the connection's inactivity timeout anew. Another timeout and back again is libmicrohttpd's only way to that.
static inline void cmicrohttp_renew_timeout(struct MHD_Connection *_Nonnull connection, unsigned int seconds) {
  (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
  (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

/// Bytes that the peer of a TCP socket has acknowledged since it was connected, see tcp(7); -1 for any other socket.
static inline int64_t cmicrohttp_acknowledged(int fd) {
  // The kernel's struct tcp_info (linux/tcp.h) has tcpi_bytes_acked at byte 120. The C library's ends before it.
  int64_t info[16];
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == 0 && size == sizeof info ? info[15] : -1;
}

/// Bytes that a socket still holds for its peer; -1 where the kernel does not tell.
static inline int cmicrohttp_held(int fd) {
  int held = 0;
  return ioctl(fd, SIOCOUTQ, &held) == 0 ? held : -1;
}

/// Length of the request's head, from the method to the end of the empty line; 0 while it is not complete.
static inline size_t cmicrohttp_head_size(struct MHD_Connection *_Nonnull connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  return info ? info->header_size : 0;
}

/// Status of the response that is queued, by us or by libmicrohttpd itself; 0 when there is none.
static inline unsigned int cmicrohttp_status(struct MHD_Connection *_Nonnull connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
  return info ? info->http_status : 0;
}

/// A response with a copy of `size` bytes of `body`. NULL when memory is short.
static inline struct MHD_Response *_Nullable cmicrohttp_response(const void *_Nullable body, size_t size) {
  return MHD_create_response_from_buffer(size, (void *)body, MHD_RESPMEM_MUST_COPY);
}

/// Ends the response with the connection rather than with a last chunk.
static inline void cmicrohttp_response_unchunked(struct MHD_Response *_Nonnull response) {
  (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
}

static const ssize_t cmicrohttp_end_of_stream = MHD_CONTENT_READER_END_OF_STREAM;
static const ssize_t cmicrohttp_end_with_error = MHD_CONTENT_READER_END_WITH_ERROR;
