// One client, two VMs that spin: vmpoold's over HTTP and QEMU's over QMP, each paused and resumed again and again, in
// alternating rounds, both through a Unix socket. A VM is paused while it is the other's turn.
//
// usage: client ROUNDS PAUSES HTTP-SOCKET VM-PATH QMP-SOCKET

#include "../measuring.h"
#include <sys/un.h>

struct side {
  const char *name;
  int socket;
  const char *path; // of the VM; NULL: QMP
  char unread[4096]; // what QMP said beyond the last answer
  size_t unread_bytes;
  double *pause_p50, *pause_p99, *resume_p50; // one for each round
};

// What a request costs for which the server does nothing: half a pause's floor, the other half is the kick.
static const char IDLE_REQUEST[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

static int connect_to_socket(const char *path, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) < 0) fail(name);
  return s;
}

// Reads lines until one begins as given. Others are events, which tell of what was asked for.
static void read_line(struct side *side, const char *begin) {
  for (;;) {
    char *end = memchr(side->unread, '\n', side->unread_bytes);
    if (!end) {
      ssize_t got = read(side->socket, side->unread + side->unread_bytes, sizeof side->unread - side->unread_bytes);
      if (got <= 0) fail("QMP");
      side->unread_bytes += (size_t)got;
      continue;
    }
    int found = strncmp(side->unread, begin, strlen(begin)) == 0;
    if (strncmp(side->unread, "{\"error\"", 8) == 0) errno = EPROTO, fail("QMP");
    side->unread_bytes -= (size_t)(end + 1 - side->unread);
    memmove(side->unread, end + 1, side->unread_bytes);
    if (found) return;
  }
}

static void ask(struct side *side, const char *operation) {
  char request[512];
  int size = side->path ? (int)write_post(request, sizeof request, 0, side->path, operation)
                        : snprintf(request, sizeof request, "{\"execute\":\"%s\"}\n", operation);
  if (write(side->socket, request, (size_t)size) != size) fail(side->name);
  if (side->path) read_answer(side->socket, side->name, operation);
  else read_line(side, "{\"return\"");
}

static uint64_t timed(struct side *side, const char *operation) {
  uint64_t start = now_ns();
  ask(side, operation);
  return now_ns() - start;
}

static double idle_request_p50(struct side *side, uint64_t *durations, int count) {
  for (int i = 0; i < count; i++) {
    usleep(1000);
    uint64_t start = now_ns();
    if (write(side->socket, IDLE_REQUEST, sizeof IDLE_REQUEST - 1) != sizeof IDLE_REQUEST - 1) fail(side->name);
    read_answer(side->socket, side->name, "GET /livez");
    durations[i] = now_ns() - start;
  }
  qsort(durations, (size_t)count, sizeof *durations, ascending);
  return (double)durations[(count - 1) / 2];
}

static void pause_side(struct side *side) { ask(side, side->path ? "pause" : "stop"); }

static void run_round(struct side *side, int round, uint64_t *pauses, uint64_t *resumes, int count) {
  for (int i = 0; i < count; i++) {
    resumes[i] = timed(side, side->path ? "resume" : "cont");
    usleep(1000); // for the vCPU to be in its guest
    pauses[i] = timed(side, side->path ? "pause" : "stop");
  }
  qsort(pauses, (size_t)count, sizeof *pauses, ascending);
  qsort(resumes, (size_t)count, sizeof *resumes, ascending);
  side->pause_p50[round] = (double)pauses[(count - 1) / 2];
  side->pause_p99[round] = (double)pauses[(count * 99 + 99) / 100 - 1];
  side->resume_p50[round] = (double)resumes[(count - 1) / 2];
}

static void print_side(const struct side *side, int rounds) {
  printf("%-8s pause p50 %8.1f µs   p99 %8.1f µs   resume p50 %8.1f µs\n", side->name,
         quantile(side->pause_p50, rounds, 0.5) / 1e3, quantile(side->pause_p99, rounds, 0.5) / 1e3,
         quantile(side->resume_p50, rounds, 0.5) / 1e3);
}

int main(int argc, char **argv) {
  int rounds = argc == 6 ? atoi(argv[1]) : 0, count = argc == 6 ? atoi(argv[2]) : 0;
  if (rounds < 1 || rounds > 10000 || count < 1 || count > 1000000) {
    return fprintf(stderr, "usage: client ROUNDS PAUSES HTTP-SOCKET VM-PATH QMP-SOCKET\n"), 64;
  }
  double *figures = calloc((size_t)rounds * 8, sizeof *figures);
  uint64_t *durations = calloc((size_t)count * 2, sizeof *durations);
  if (!figures || !durations) fail("calloc");
  struct side sides[2] = {{.name = "vmpoold", .path = argv[4]}, {.name = "QEMU"}};
  for (int i = 0; i < 2; i++) {
    sides[i].pause_p50 = figures + i * 3 * rounds;
    sides[i].pause_p99 = sides[i].pause_p50 + rounds;
    sides[i].resume_p50 = sides[i].pause_p99 + rounds;
  }
  sides[0].socket = connect_to_socket(argv[3], "vmpoold");
  sides[1].socket = connect_to_socket(argv[5], "QEMU");
  read_line(&sides[1], "{\"QMP\"");
  ask(&sides[1], "qmp_capabilities");
  for (int i = 0; i < 2; i++) pause_side(&sides[i]);
  double *factor = figures + 6 * rounds, *idle = figures + 7 * rounds;
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < 2; i++) run_round(&sides[(round + i) % 2], round, durations, durations + count, count);
    idle[round] = idle_request_p50(&sides[0], durations, count);
  }
  for (int i = 0; i < 2; i++) print_side(&sides[i], rounds);
  printf("vmpoold  GET /livez p50 %4.1f µs\n", quantile(idle, rounds, 0.5) / 1e3);
  for (int i = 0; i < rounds; i++) factor[i] = sides[1].pause_p50[i] / sides[0].pause_p50[i];
  printf("QEMU's pause p50 is %.2f times vmpoold's  (quartiles %.2f to %.2f)\n", quantile(factor, rounds, 0.5),
         quantile(factor, rounds, 0.25), quantile(factor, rounds, 0.75));
  printf("%d rounds of %d pauses a side, by turns; medians over rounds\n", rounds, count);
  return 0;
}
