#include "tools/fovea/Commands.h"
namespace fovea {
int runRun(const CommandLine &) { return 2; }
int runExplain(const CommandLine &) { return 2; }
int runBench(const CommandLine &) { return 2; }
} // namespace fovea
