// One client, one keep-alive connection to each of two servers: kicks them in alternating rounds and prints what the
// kicks took. A server's guest is paused while it is the other's turn.
//
// usage: client free-port
//        client ROUNDS KICKS VM-PATH NAME PORT [NAME PORT]

#include "../measuring.h"

struct side {
  const char *name;
  int port, socket;
  size_t answer_bytes; // of the last answer: head and body
  double *p50, *p90, *p99, *rate; // one for each round
  uint64_t longest;
};

static void ask(struct side *side, const char *path, const char *operation) {
  char request[512];
  size_t size = write_post(request, sizeof request, side->port, path, operation);
  if (write(side->socket, request, size) != (ssize_t)size) fail(side->name);
  side->answer_bytes = read_answer(side->socket, side->name, operation);
}

static void run_round(struct side *side, const char *path, int round, uint64_t *durations, int kicks) {
  char request[512];
  size_t size = write_post(request, sizeof request, side->port, path, "vcpus/0/kick");
  ask(side, path, "resume");
  for (int i = 0; i < kicks / 10; i++) ask(side, path, "vcpus/0/kick"); // not counted
  uint64_t begin = now_ns();
  for (int i = 0; i < kicks; i++) {
    uint64_t start = now_ns();
    if (write(side->socket, request, size) != (ssize_t)size) fail(side->name);
    side->answer_bytes = read_answer(side->socket, side->name, "kick");
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
    sides[i].socket = connect_to_port(sides[i].port, sides[i].name);
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
