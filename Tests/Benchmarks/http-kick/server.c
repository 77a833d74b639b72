// The yardstick of a kick over HTTP: libmicrohttpd and a hand-written VM, and nothing between them. Prints the port it
// listens on; ends when its standard input does.
//
//   POST …/kick     kicks the vCPU and answers when it has acknowledged
//   POST …/pause    takes the vCPU out of the guest
//   POST …/resume   lets it run
//
// usage: server VM-ID [PROCESSOR-FOR-THE-VCPU]

#include "CBareKVM.h"
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

static struct barekvm_vm *vm;
static const char *vm_id;

static void check(int result, const char *what) {
  if (result >= 0) return;
  fprintf(stderr, "server: %s: %s\n", what, strerror(-result));
  exit(1);
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && strcmp(text + length - tail, end) == 0;
}

// Writes the answer; returns its status.
static int kick(char *body, size_t size) {
  struct barekvm_kick kick;
  int error = barekvm_kick(vm, 0, 1000000000, &kick);
  if (error) {
    snprintf(body, size, "{\"error\":\"%s\"}", strerror(-error));
    return MHD_HTTP_GATEWAY_TIMEOUT;
  }
  // As long as the answer of the server that it is compared with.
  snprintf(body, size,
           "{\"vm\":\"%s\",\"vcpu\":0,\"generation\":%llu,\"mechanism\":\"immediate_exit\",\"phase\":\"guest\","
           "\"coalesced\":false,\"signals_sent\":1,\"latency_ns\":%llu,\"signal_latency_ns\":%llu}",
           vm_id, (unsigned long long)kick.generation, (unsigned long long)kick.latency_ns,
           (unsigned long long)kick.latency_ns);
  return MHD_HTTP_OK;
}

static enum MHD_Result answer(struct MHD_Connection *connection, int status, const char *body) {
  struct MHD_Response *response =
      MHD_create_response_from_buffer(strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
  if (!response) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
  enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **request) {
  (void)context, (void)version, (void)upload;
  static int begun;
  if (*request != &begun) {
    *request = &begun;
    return MHD_YES;
  }
  if (*upload_size) {
    *upload_size = 0;
    return MHD_YES;
  }
  char body[512] = "{}";
  int status = MHD_HTTP_OK;
  if (strcmp(method, MHD_HTTP_METHOD_POST) != 0) status = MHD_HTTP_METHOD_NOT_ALLOWED;
  else if (ends_with(url, "/kick")) status = kick(body, sizeof body);
  else if (ends_with(url, "/pause")) status = barekvm_park(vm) == 0 ? MHD_HTTP_OK : MHD_HTTP_GATEWAY_TIMEOUT;
  else if (ends_with(url, "/resume")) status = barekvm_run(vm) == 0 ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR;
  else status = MHD_HTTP_NOT_FOUND;
  return answer(connection, status, body);
}

static void create_vm(int processor) {
  static const unsigned char spin[] = {0x31, 0xC0, 0x48, 0xFF, 0xC0, 0xEB, 0xFB}; // xor eax, eax; 1: inc rax; jmp 1b
  struct barekvm_host *host;
  int processors[1024];
  int count = barekvm_processors(processors, 1024);
  check(count, "asking for the processors");
  if (processor >= 0) check(barekvm_use_processors(&processor, 1), "moving the vCPU");
  check(barekvm_open(&host), "opening KVM");
  struct barekvm_options options = {.code = spin, .code_size = sizeof spin, .memory_size = 2 << 20, .vcpus = 1,
                                    .ring = 3, .mechanism = BAREKVM_IMMEDIATE_EXIT};
  check(barekvm_create(host, &options, &vm), "creating the VM");
  check(barekvm_use_processors(processors, count), "moving back");
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: server VM-ID [PROCESSOR-FOR-THE-VCPU]\n"), 64;
  vm_id = argv[1];
  create_vm(argc > 2 ? atoi(argv[2]) : -1);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct MHD_Daemon *daemon =
      MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                       handle, NULL, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
  if (!daemon) return fprintf(stderr, "server: libmicrohttpd does not start\n"), 1;
  printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
  fflush(stdout);
  while (getchar() != EOF) {}
  MHD_stop_daemon(daemon);
  barekvm_destroy(vm);
  return 0;
}
