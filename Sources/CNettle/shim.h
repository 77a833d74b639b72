// Nettle's hash functions and base64.
#pragma once
#include <nettle/base64.h>
#include <nettle/sha2.h>
