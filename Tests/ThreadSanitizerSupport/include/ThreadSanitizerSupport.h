// Linking this target into a test is all there is to it; see mutex.c.
#pragma once
