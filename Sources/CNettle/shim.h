// Nettle's hash functions.
#pragma once
#include <nettle/sha2.h>
