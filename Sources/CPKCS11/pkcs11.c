#include "CPKCS11.h"

// Header alone; a target of C needs a source.
