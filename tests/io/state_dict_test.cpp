#include "minimind/io/state_dict.h"
#include <gtest/gtest.h>
