#include "CGuests.h"

#define GUEST(name)                                                                                  \
  extern const uint8_t cguests_##name##_start[], cguests_##name##_end[];                             \
  cguests_blob cguests_##name(void) {                                                                \
    return (cguests_blob){cguests_##name##_start, (size_t)(cguests_##name##_end - cguests_##name##_start)}; \
  }

GUEST(spin)
GUEST(pio)
GUEST(mmio)
GUEST(halt)
GUEST(hello)
GUEST(echo)
