// One client, one keep-alive connection to each of two servers: kicks them in alternating rounds and prints what the
// kicks took. A server's guest is paused while it is the other's turn.
//
// usage: client free-port
//        client ROUNDS KICKS VM-PATH NAME PORT [NAME PORT]

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct side {
  const char *name;
  int port, socket;
  size_t answer_bytes; // of the last answer: head and body
  double *p50, *p90, *p99, *rate; // one for each round
  uint64_t longest;
};

static void fail(const char *what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int free_port(void) {
  struct sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&address, size) < 0) fail("bind");
  if (getsockname(s, (struct sockaddr *)&address, &size) < 0) fail("getsockname");
  close(s);
  return ntohs(address.sin_port);
}

static void connect_to(struct side *side) {
  struct sockaddr_in address = loopback(side->port);
  const int on = 1;
  side->socket = socket(AF_INET, SOCK_STREAM, 0);
  if (side->socket < 0 || connect(side->socket, (struct sockaddr *)&address, sizeof address) < 0) fail(side->name);
  setsockopt(side->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Reads one answer with a Content-Length; its status must be 200.
static void read_answer(struct side *side, const char *request) {
  char buffer[4096];
  size_t have = 0, want = 0;
  while (want == 0 || have < want) {
    ssize_t got = read(side->socket, buffer + have, sizeof buffer - 1 - have);
    if (got <= 0) fail(side->name);
    have += (size_t)got;
    buffer[have] = 0;
    char *end = strstr(buffer, "\r\n\r\n");
    if (want || !end) continue;
    char *length = strcasestr(buffer, "\r\nContent-Length:");
    if (!length || length > end) errno = EPROTO, fail(side->name);
    want = (size_t)(end + 4 - buffer) + strtoul(length + 17, NULL, 10);
  }
  if (strncmp(buffer, "HTTP/1.1 200 ", 13) != 0) {
    fprintf(stderr, "client: %s answered %s: %s\n", side->name, request, buffer);
    exit(1);
  }
  side->answer_bytes = have;
}

static size_t post(char *request, size_t size, const struct side *side, const char *path, const char *operation) {
  return (size_t)snprintf(request, size,
                          "POST %s/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n", path, operation,
                          side->port);
}

static void ask(struct side *side, const char *path, const char *operation) {
  char request[512];
  size_t size = post(request, sizeof request, side, path, operation);
  if (write(side->socket, request, size) != (ssize_t)size) fail(side->name);
  read_answer(side, operation);
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void run_round(struct side *side, const char *path, int round, uint64_t *durations, int kicks) {
  char request[512];
  size_t size = post(request, sizeof request, side, path, "vcpus/0/kick");
  ask(side, path, "resume");
  for (int i = 0; i < kicks / 10; i++) ask(side, path, "vcpus/0/kick"); // not counted
  uint64_t begin = now_ns();
  for (int i = 0; i < kicks; i++) {
    uint64_t start = now_ns();
    if (write(side->socket, request, size) != (ssize_t)size) fail(side->name);
    read_answer(side, "kick");
    durations[i] = now_ns() - start;
  }
  side->rate[round] = kicks / ((double)(now_ns() - begin) / 1e9);
  size_t answer_bytes = side->answer_bytes;
  ask(side, path, "pause");
  side->answer_bytes = answer_bytes;
  qsort(durations, (size_t)kicks, sizeof *durations, ascending);
  side->p50[round] = (double)durations[(kicks - 1) / 2];
  side->p90[round] = (double)durations[(kicks * 9 + 9) / 10 - 1];
  side->p99[round] = (double)durations[(kicks * 99 + 99) / 100 - 1];
  if (durations[kicks - 1] > side->longest) side->longest = durations[kicks - 1];
}

static int ascending_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double quantile(const double *values, int count, double share) {
  double sorted[count], position = share * (count - 1);
  memcpy(sorted, values, sizeof sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, ascending_double);
  int below = (int)position, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

static void print_ratio(const char *what, const double *ours, const double *bare, int rounds) {
  double ratios[rounds];
  for (int i = 0; i < rounds; i++) ratios[i] = ours[i] / bare[i];
  printf("ratio of %-12s %.3f  (quartiles %.3f to %.3f)\n", what, quantile(ratios, rounds, 0.5),
         quantile(ratios, rounds, 0.25), quantile(ratios, rounds, 0.75));
}

static void print_side(const struct side *side, int rounds) {
  printf("%-10s p50 %7.1f µs   p90 %7.1f µs   p99 %7.1f µs   max %9.1f µs   %8.0f kicks/s   %zu bytes an answer\n",
         side->name, quantile(side->p50, rounds, 0.5) / 1e3, quantile(side->p90, rounds, 0.5) / 1e3,
         quantile(side->p99, rounds, 0.5) / 1e3, (double)side->longest / 1e3, quantile(side->rate, rounds, 0.5),
         side->answer_bytes);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "free-port") == 0) return printf("%d\n", free_port()), 0;
  int rounds = argc > 5 ? atoi(argv[1]) : 0, kicks = argc > 5 ? atoi(argv[2]) : 0;
  int count = (argc - 4) / 2;
  if ((argc != 6 && argc != 8) || rounds < 1 || rounds > 10000 || kicks < 10) {
    return fprintf(stderr, "usage: client ROUNDS KICKS VM-PATH NAME PORT [NAME PORT]\n"), 64;
  }
  struct side sides[2] = {0};
  for (int i = 0; i < count; i++) {
    double *figures = calloc((size_t)rounds * 4, sizeof *figures);
    if (!figures) fail("calloc");
    sides[i] = (struct side){.name = argv[4 + 2 * i], .port = atoi(argv[5 + 2 * i]), .p50 = figures,
                             .p90 = figures + rounds, .p99 = figures + 2 * rounds, .rate = figures + 3 * rounds};
    connect_to(&sides[i]);
  }
  uint64_t *durations = calloc((size_t)kicks, sizeof *durations);
  if (!durations) fail("calloc");
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < count; i++) run_round(&sides[i], argv[3], round, durations, kicks);
  }
  for (int i = 0; i < count; i++) print_side(&sides[i], rounds);
  if (count == 2) {
    print_ratio("p50", sides[1].p50, sides[0].p50, rounds);
    print_ratio("p99", sides[1].p99, sides[0].p99, rounds);
    print_ratio("throughput", sides[1].rate, sides[0].rate, rounds);
  }
  printf("%d rounds of %d kicks a side, by turns; medians over rounds, and the longest of all\n", rounds, kicks);
  return 0;
}
