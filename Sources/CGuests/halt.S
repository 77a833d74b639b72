// Halts, again and again. Needs ring 0.
#include "guest.h"
GUEST_BEGIN(halt)
1:
  hlt
  jmp 1b
GUEST_END(halt)
