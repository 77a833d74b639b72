// What the measuring clients share: the clock, quantiles, and an HTTP connection that is kept.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void fail(const char *what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int free_port(void) {
  struct sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&address, size) < 0) fail("bind");
  if (getsockname(s, (struct sockaddr *)&address, &size) < 0) fail("getsockname");
  close(s);
  return ntohs(address.sin_port);
}

static inline int connect_to_port(int port, const char *name) {
  struct sockaddr_in address = loopback(port);
  const int on = 1;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) < 0) fail(name);
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return s;
}

// Reads one answer with a Content-Length, whose status must be 200; returns its length.
static inline size_t read_answer(int s, const char *name, const char *request) {
  char buffer[4096];
  size_t have = 0, want = 0;
  while (want == 0 || have < want) {
    ssize_t got = read(s, buffer + have, sizeof buffer - 1 - have);
    if (got <= 0) fail(name);
    have += (size_t)got;
    buffer[have] = 0;
    char *end = strstr(buffer, "\r\n\r\n");
    if (want || !end) continue;
    char *length = strcasestr(buffer, "\r\nContent-Length:");
    if (!length || length > end) errno = EPROTO, fail(name);
    want = (size_t)(end + 4 - buffer) + strtoul(length + 17, NULL, 10);
  }
  if (strncmp(buffer, "HTTP/1.1 200 ", 13) != 0) {
    fprintf(stderr, "client: %s answered %s: %s\n", name, request, buffer);
    exit(1);
  }
  return have;
}

static inline size_t write_post(char *request, size_t size, int port, const char *path, const char *operation) {
  return (size_t)snprintf(request, size,
                          "POST %s/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n", path, operation, port);
}

static inline int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static inline int ascending_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static inline double quantile(const double *values, int count, double share) {
  double sorted[count], position = share * (count - 1);
  memcpy(sorted, values, sizeof sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, ascending_double);
  int below = (int)position, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}
