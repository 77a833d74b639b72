// Exits with status 0 at once: for what everything around a unikernel costs.
#define DEVICES 0
#include "hvt.h"

INTERFACE_NOTE;
MANIFEST_NOTE = {MANIFEST_HEAD, {RESERVED}};

__attribute__((section(".text.start"))) void start(void) { halt(0); }
