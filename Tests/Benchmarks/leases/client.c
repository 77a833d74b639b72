// One client with one keep-alive connection: asks for /livez and for a lease by turns, prints what both took. So both meet
// the same machine: it makes a VM for each that is leased. The VMs of a round are given back after it, and are waited for
// until the pool has made as many again.
//
// usage: client PORT POOL ROUNDS LEASES BODY

#include "../measuring.h"

static int connection, port;

// Sends a request and returns the status; the answer's head and body stay in `answer`.
static int exchange(const char *method, const char *path, const char *body, char *answer, size_t size) {
  char request[1024];
  int length = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %zu\r\n\r\n%s",
                        method, path, port, strlen(body), body);
  if (write(connection, request, (size_t)length) != length) fail(path);
  size_t have = 0, want = 0;
  do {
    ssize_t got = read(connection, answer + have, size - 1 - have);
    if (got <= 0) fail(path);
    have += (size_t)got;
    answer[have] = 0;
    char *end = strstr(answer, "\r\n\r\n");
    if (want || !end) continue;
    char *told = strcasestr(answer, "\r\nContent-Length:");
    want = (size_t)(end + 4 - answer) + (told && told < end ? strtoul(told + 17, NULL, 10) : 0);
  } while (want == 0 || have < want);
  return atoi(answer + 9);
}

static void expect(int status, int wanted, const char *what, const char *answer) {
  if (status == wanted) return;
  fprintf(stderr, "client: %s: %s\n", what, answer);
  exit(1);
}

static void wait_until_ready(const char *pool, int count) {
  char path[128], answer[4096], wanted[32];
  snprintf(path, sizeof path, "/v1/pools/%s", pool);
  snprintf(wanted, sizeof wanted, "\"status\":{\"ready\":%d,", count);
  do {
    usleep(2000);
    expect(exchange("GET", path, "", answer, sizeof answer), 200, path, answer);
  } while (!strstr(answer, wanted));
}

static double at(uint64_t *durations, int count, int percent) {
  qsort(durations, (size_t)count, sizeof *durations, ascending);
  return (double)durations[(count * percent + 99) / 100 - 1];
}

int main(int argc, char **argv) {
  int rounds = argc == 6 ? atoi(argv[3]) : 0, leases = argc == 6 ? atoi(argv[4]) : 0;
  if (rounds < 1 || rounds > 10000 || leases < 10 || leases > 1000) {
    return fprintf(stderr, "usage: client PORT POOL ROUNDS LEASES BODY\n"), 64;
  }
  port = atoi(argv[1]);
  connection = connect_to_port(port, "vmpoold");
  char path[128], answer[4096], (*ids)[32] = calloc((size_t)leases, sizeof *ids);
  uint64_t *gets = calloc((size_t)leases * 2, sizeof *gets), *durations = gets + leases;
  double *figures = calloc((size_t)rounds * 4, sizeof *figures);
  if (!ids || !gets || !figures) fail("calloc");
  double *get50 = figures, *get99 = get50 + rounds, *lease50 = get99 + rounds, *lease99 = lease50 + rounds;
  for (int round = 0; round < rounds; round++) {
    wait_until_ready(argv[2], leases);
    snprintf(path, sizeof path, "/v1/pools/%s/leases", argv[2]);
    for (int i = 0; i < leases; i++) {
      uint64_t start = now_ns();
      expect(exchange("GET", "/livez", "", answer, sizeof answer), 200, "/livez", answer);
      uint64_t between = now_ns();
      gets[i] = between - start;
      expect(exchange("POST", path, argv[5], answer, sizeof answer), 201, path, answer);
      durations[i] = now_ns() - between;
      char *id = strstr(answer, "\"lease-");
      if (!id || sscanf(id, "\"%31[^\"]", ids[i]) != 1) errno = EPROTO, fail("lease");
    }
    get50[round] = at(gets, leases, 50), get99[round] = at(gets, leases, 99);
    lease50[round] = at(durations, leases, 50), lease99[round] = at(durations, leases, 99);
    for (int i = 0; i < leases; i++) {
      snprintf(path, sizeof path, "/v1/leases/%s", ids[i]);
      expect(exchange("DELETE", path, "", answer, sizeof answer), 204, path, answer);
    }
  }
  double p50[rounds], p99[rounds];
  for (int i = 0; i < rounds; i++) p50[i] = lease50[i] / get50[i], p99[i] = lease99[i] / get99[i];
  // One line for a program: both at p50 and p99 in ns, then the ratios with their quartiles.
  printf("%.0f %.0f %.0f %.0f", quantile(get50, rounds, 0.5), quantile(lease50, rounds, 0.5),
         quantile(get99, rounds, 0.5), quantile(lease99, rounds, 0.5));
  for (int i = 1; i < 4; i++) printf(" %.4f", quantile(p50, rounds, i / 4.0));
  for (int i = 1; i < 4; i++) printf(" %.4f", quantile(p99, rounds, i / 4.0));
  puts("");
  return 0;
}
