// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Feeds mutants of Fovea's inputs to the compiler: specs, expressions, IR,
// tensor files, command lines. The only good ends are success and a refusal
// that says why: no signal, no exit status of a bug, at most 10 seconds and
// 2 GiB for each, no file left behind after a refusal. Mutants run in forked
// children, many to a child; a child that ends badly is followed by one that
// goes on after the culprit.
//
//   --kind=NAME|all          what to mutate
//   --seed=S --mutants=N     draw N mutants
//   --first=I                begin with mutant I, which is the same for every N
//   --file=PATH              no mutants: this input, of the kind --kind
//   --out=FOLDER             where inputs that failed are written

#include "test/fuzz/Mutator.h"
#include "test/fuzz/Parsers.h"
#include "tools/fovea/Compilation.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cl = llvm::cl;
namespace fs = std::filesystem;
using fovea::Compilation;
using llvm::StringRef;
using namespace fovea::fuzz;

namespace {

constexpr unsigned maxSeconds = 10;
constexpr unsigned maxWallSeconds = 60; // the machine may be busy
constexpr uint64_t maxBytes = uint64_t(2) << 30;
constexpr uint64_t mutantsPerChild = 250;
constexpr unsigned maxFailures = 20;
// Of what parses, one in so many is lowered to tiles, and compiled.
constexpr uint64_t lowered = 4, compiled = 40;

cl::opt<std::string> kindName("kind", cl::init("all"));
cl::opt<uint64_t> seed("seed", cl::init(1));
cl::opt<uint64_t> mutants("mutants", cl::init(5000));
cl::opt<uint64_t> first("first", cl::init(0));
cl::opt<std::string> replayed("file");
cl::opt<std::string> outFolder("out", cl::init("fuzz-failures"));

/// What a child tells its parent, in memory that both see.
struct Report {
  uint64_t current; // the mutant being run
  uint64_t accepted[numKinds];
  uint64_t refused[numKinds];
  char failure[512];
};
Report *report;
/// What children write to stderr.
int messages = -1;
std::string workFolder;

[[noreturn]] void die(const llvm::Twine &what) {
  llvm::errs() << "fovea-fuzz-inputs: " << what << "\n";
  exit(2);
}

//===----------------------------------------------------------------------===//
// One input, in a child
//===----------------------------------------------------------------------===//

[[noreturn]] void failInChild(const llvm::Twine &what) {
  std::string text = what.str().substr(0, sizeof(report->failure) - 1);
  std::memcpy(report->failure, text.c_str(), text.size() + 1);
  _exit(1);
}

void writeFile(const std::string &path, StringRef bytes) {
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  os << bytes;
  os.close();
  if (code || os.has_error())
    die("cannot write " + path);
}

/// Runs a parser on a copy that ends where memory that faults begins.
bool feedGuarded(bool (*accepts)(StringRef), StringRef bytes) {
  const size_t page = sysconf(_SC_PAGESIZE);
  size_t room = llvm::alignTo(bytes.size(), page);
  char *memory = static_cast<char *>(mmap(nullptr, room + page, PROT_NONE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED ||
      (room && mprotect(memory, room, PROT_READ | PROT_WRITE)))
    failInChild("no memory for the input");
  char *begin = memory + room - bytes.size();
  std::memcpy(begin, bytes.data(), bytes.size());
  bool accepted = accepts(StringRef(begin, bytes.size()));
  munmap(memory, room + page);
  return accepted;
}

/// A spec or IR as the driver takes it; how far depends on the mutant.
bool feedCompiler(Kind kind, StringRef bytes, uint64_t index) {
  std::string path = workFolder + "/input" + getInfo(kind).suffix.str();
  writeFile(path, bytes);
  llvm::scope_exit remove([&] { fs::remove(path); });
  Compilation compilation;
  auto isGood = [&](bool worked) {
    if (!worked && compilation.exitCode == fovea::ExitBug)
      failInChild("refused as a bug of the compiler (exit status 3)");
    return worked;
  };
  if (!isGood(compilation.open(path)))
    return false;
  const fovea::Target &target =
      fovea::getTargets()[index / compiled % fovea::getTargets().size()];
  if (index % compiled == 0)
    isGood(compilation.compileObjects(&target).has_value());
  else if (index % lowered == 0)
    isGood(bool(compilation.lower(fovea::Phase::Tiled, target)));
  return true;
}

/// Every file below the folder.
std::vector<std::string> listFolder(const std::string &folder) {
  std::vector<std::string> paths;
  for (const auto &entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory())
      paths.push_back(entry.path());
  llvm::sort(paths);
  return paths;
}

bool feedCommand(StringRef bytes) {
  std::string folder = workFolder + "/command", temporary = workFolder + "/tmp";
  fs::remove_all(folder);
  fs::remove_all(temporary);
  fs::copy(workFolder + "/fixture", folder, fs::copy_options::recursive);
  fs::create_directory(temporary);
  std::vector<std::string> before = listFolder(folder);

  llvm::SmallVector<StringRef> words;
  bytes.split(words, '\n');
  words.pop_back();
  std::vector<std::string> storage = {FOVEA_DRIVER};
  for (StringRef word : words)
    storage.push_back(word.str());
  std::vector<char *> argv;
  for (std::string &word : storage)
    argv.push_back(word.data());
  argv.push_back(nullptr);

  pid_t child = fork();
  if (child == 0) {
    // Timers end with exec but for alarm.
    rlimit seconds = {maxSeconds, maxSeconds + 1};
    if (setrlimit(RLIMIT_CPU, &seconds) || chdir(folder.c_str()) ||
        setenv("TMPDIR", temporary.c_str(), 1))
      _exit(125);
    alarm(maxWallSeconds);
    execv(argv[0], argv.data());
    _exit(126);
  }
  int status = 0;
  rusage usage = {};
  if (child < 0 || wait4(child, &status, 0, &usage) != child)
    failInChild("cannot run the driver");
  if (WIFSIGNALED(status))
    failInChild(llvm::Twine("the driver ended by the signal ") +
                strsignal(WTERMSIG(status)));
  int code = WEXITSTATUS(status);
  if (code > fovea::ExitUsage)
    failInChild("the driver ended with status " + llvm::Twine(code));
  if (uint64_t(usage.ru_maxrss) * 1024 > maxBytes)
    failInChild("the driver took " + llvm::Twine(usage.ru_maxrss / 1024) +
                " MiB");
  if (!fs::is_empty(temporary))
    failInChild("the driver left a file in TMPDIR");
  if (code != 0 && listFolder(folder) != before)
    failInChild("the driver refused, and left a file");
  return code == 0;
}

bool feed(Kind kind, StringRef bytes, uint64_t index) {
  switch (kind) {
  case Kind::Spec:
  case Kind::IR:
    return feedCompiler(kind, bytes, index);
  case Kind::Expression:
    return feedGuarded(acceptsExpression, bytes);
  case Kind::Npy:
    return feedGuarded(acceptsNpy, bytes);
  case Kind::Npz:
    return feedGuarded(acceptsNpz, bytes);
  case Kind::Safetensors:
    return feedGuarded(acceptsSafetensors, bytes);
  case Kind::Command:
    return feedCommand(bytes);
  }
  llvm_unreachable("no such kind");
}

/// One mutant, from its timers to what must hold after it.
void runInput(Kind kind, StringRef bytes, uint64_t index) {
  if (ftruncate(messages, 0) || lseek(messages, 0, SEEK_SET))
    failInChild("cannot clear the messages");
  itimerval timer = {{0, 0}, {maxSeconds, 0}};
  setitimer(ITIMER_PROF, &timer, nullptr);
  // The driver of a command has timers of its own, which end before this.
  alarm(maxWallSeconds + (kind == Kind::Command ? 10 : 0));
  bool accepted = feed(kind, bytes, index);
  alarm(0);
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  if (uint64_t(usage.ru_maxrss) * 1024 > maxBytes)
    failInChild("took " + llvm::Twine(usage.ru_maxrss / 1024) + " MiB");
  // The other parsers' messages are checked in Parsers.cpp.
  bool prints = kind == Kind::Spec || kind == Kind::IR || kind == Kind::Command;
  if (!accepted && prints && lseek(messages, 0, SEEK_END) == 0)
    failInChild("refused without a message");
  unsigned which = static_cast<unsigned>(kind);
  ++(accepted ? report->accepted : report->refused)[which];
}

/// Limits and streams of a child that runs inputs.
void enterChild() {
  // Sanitizers reserve far more than they use.
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) &&     \
    !__has_feature(thread_sanitizer)
  rlimit space = {maxBytes, maxBytes};
  setrlimit(RLIMIT_AS, &space);
#endif
  rlimit noCore = {0, 0};
  setrlimit(RLIMIT_CORE, &noCore);
  int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  dup2(null, STDOUT_FILENO);
  dup2(messages, STDERR_FILENO);
}

/// "" if the child ended well, or how it ended.
std::string runChild(llvm::function_ref<void()> body) {
  report->failure[0] = 0;
  llvm::outs().flush();
  pid_t child = fork();
  if (child < 0)
    die("cannot fork");
  if (child == 0) {
    enterChild();
    body();
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child)
    die("lost a child");
  if (WIFSIGNALED(status)) {
    int signal = WTERMSIG(status);
    return signal == SIGPROF || signal == SIGALRM
               ? "took too long"
               : "ended by the signal " + std::string(strsignal(signal));
  }
  if (report->failure[0])
    return report->failure;
  return WEXITSTATUS(status)
             ? "exit status " + std::to_string(WEXITSTATUS(status))
             : "";
}

//===----------------------------------------------------------------------===//
// The corpus
//===----------------------------------------------------------------------===//

std::string readFile(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    die("cannot read " + path);
  return (*buffer)->getBuffer().str();
}

/// The files with the suffix below the project's folder, in order.
std::vector<std::string> findFiles(const std::string &folder,
                                   StringRef suffix) {
  std::vector<std::string> paths =
      listFolder(std::string(FOVEA_SOURCE_DIR) + "/" + folder);
  llvm::erase_if(paths,
                 [&](StringRef path) { return !path.ends_with(suffix); });
  if (paths.empty())
    die("no inputs in " + folder);
  return paths;
}

void buildCorpus(Mutator &mutator) {
  for (const char *folder : {"examples", "test/Driver/Inputs"})
    for (const std::string &path : findFiles(folder, ".yaml")) {
      mutator.addSpec(readFile(path));
      Compilation compilation;
      std::string text;
      if (!compilation.open(path))
        die("cannot compile " + path);
      llvm::raw_string_ostream(text) << *compilation.source();
      mutator.addKernel(text);
    }
  for (const std::string &path : findFiles("test/Dialect", ".mlir"))
    mutator.addIR(readFile(path));
  for (const char *text :
       {"causal(bottom_right) and window(127, 0)", "j < len[b] or i == j",
        "causal(top_left) and (chunk(64) or j % 128 == 0 or j >= N - 32)",
        "doc[b, i] == doc[b, j]", "30.0 * tanh(s / 30.0)",
        "s + slope[h] * (j - i)", "0 <= i - j < 2 ** 3", "not keep[b, j]",
        "where(i >= j, s, -1e30)", "min(i, p) // 4 != abs(j - n) % 3"})
    mutator.addExpression(text);

  using Words = std::vector<StringRef>;
  for (const Words &command : std::initializer_list<Words>{
           {"compile", "causal.yaml", "-o", "out"},
           {"compile", "causal.yaml", "--emit", "header,json", "-o", "out"},
           {"compile", "cached.yaml", "--target", "cpu:x86-64-v3", "--emit",
            "so", "--runtime", "static", "-o", "out"},
           {"compile", "window.yaml", "--compile-to", "tiled", "--target",
            "cpu:avx512", "-o", "-"},
           {"compile", "kernel.mlir", "--compile-from", "attn", "--emit",
            "bufferized,llvm", "-o", "out/a/b"},
           {"compile", "causal.yaml", "--emit", "so", "--linker", "missing"},
           {"run", "causal.yaml", "--shape", "B=1,M=4,N=6", "--in",
            "q=@random(1)", "--in", "k=@random(2)", "--in", "v=@fill(0.5)",
            "--out", "o=o.npy", "--verify", "--time", "--threads", "2"},
           {"run", "window.yaml", "--param", "w=3", "--shape", "N=5", "--in",
            "q=q.npy", "--in", "k=@random(2)", "--in", "v=@random(3)", "--out",
            "all.safetensors"},
           {"check", "padded.yaml", "--cases", "2", "--seed", "7"},
           {"check", "cached.yaml", "--seed", "7", "--case", "1"},
           {"explain", "causal.yaml", "--shape", "B=1,M=8,N=64", "--ascii"},
           {"explain", "window.yaml", "--param", "w=9", "--svg", "mask.svg"},
           {"explain", "padded.yaml", "--value", "len=3"},
           {"bench", "causal.yaml", "--shape", "B=1,M=4,N=8", "--rounds", "1",
            "--threads", "1", "--json"},
           {"targets"},
           {"doctor"},
           {"spec", "--schema", "--markdown"},
           {"--help"},
           {"--version"},
           {"compile", "folder", "missing.yaml", "empty.yaml", "--help"}})
    mutator.addCommand(command);
}

/// The folder in which each command line starts.
void buildFixture() {
  std::string folder = workFolder + "/fixture/";
  fs::create_directories(folder + "folder");
  for (const std::string &path : findFiles("test/Driver/Inputs", ".yaml"))
    writeFile(folder + llvm::sys::path::filename(path).str(), readFile(path));
  writeFile(folder + "empty.yaml", "");
  Compilation compilation;
  if (!compilation.open(folder + "causal.yaml"))
    die("cannot compile causal.yaml");
  std::string text;
  llvm::raw_string_ostream(text) << *compilation.source();
  writeFile(folder + "kernel.mlir", text);
  // f32[1, 3, 4, 16], a q of these specs.
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, "
                       "3, 4, 16), }";
  header.resize(118, ' ');
  writeFile(folder + "q.npy", StringRef("\x93NUMPY\1\0\x76\0", 10).str() +
                                  header + std::string(768, '\x3c'));
}

//===----------------------------------------------------------------------===//
// The run
//===----------------------------------------------------------------------===//

Kind kindOf(uint64_t index) {
  for (unsigned k = 0; k != numKinds; ++k)
    if (kinds[k].name == kindName)
      return static_cast<Kind>(k);
  // Any hundred mutants in a row have the shares.
  uint64_t slot = index * 37 % 100;
  unsigned k = 0;
  while (slot >= kinds[k].share)
    slot -= kinds[k++].share;
  return static_cast<Kind>(k);
}

std::string drawInput(const Mutator &mutator, Kind kind, uint64_t index) {
  Random random((seed * numKinds + static_cast<uint64_t>(kind)) *
                    uint64_t(1000000007) +
                index);
  return mutator.mutate(kind, random);
}

/// Prints how to see the failure again, and keeps the input.
void reportFailure(Kind kind, StringRef bytes, uint64_t index,
                   StringRef failure) {
  fs::create_directories(outFolder.getValue());
  std::string path = outFolder + "/" + std::to_string(seed) + "-" +
                     std::to_string(index) + getInfo(kind).suffix.str();
  writeFile(path, bytes);
  llvm::outs() << "FAILED: " << getInfo(kind).name << ": " << failure << "\n"
               << "  fovea-fuzz-inputs --kind=" << kindName
               << " --seed=" << seed << " --first=" << index
               << " --mutants=1\n  input: " << path << "\n";
  char tail[600];
  off_t size = lseek(messages, 0, SEEK_END);
  ssize_t count = pread(messages, tail, sizeof(tail),
                        std::max<off_t>(0, size - off_t(sizeof(tail))));
  llvm::outs() << "  last messages: "
               << StringRef(tail, std::max<ssize_t>(count, 0)).rtrim() << "\n";
}

unsigned runMutants(const Mutator &mutator) {
  unsigned failures = 0;
  uint64_t end = first + mutants;
  for (uint64_t begin = first; begin < end && failures < maxFailures;) {
    uint64_t stop = std::min(begin + mutantsPerChild, end);
    auto run = [&](uint64_t from, uint64_t to) {
      return runChild([&] {
        for (uint64_t index = from; index != to; ++index) {
          report->current = index;
          Kind kind = kindOf(index);
          runInput(kind, drawInput(mutator, kind, index), index);
        }
      });
    };
    std::string failure = run(begin, stop);
    if (failure.empty()) {
      begin = stop;
      continue;
    }
    ++failures;
    uint64_t culprit = report->current;
    // Alone it may pass: then those before it in the child have a part in it.
    std::string alone = run(culprit, culprit + 1);
    if (alone.empty())
      failure += " (only after the mutants from " + std::to_string(begin) + ")";
    else
      failure = alone;
    Kind kind = kindOf(culprit);
    reportFailure(kind, drawInput(mutator, kind, culprit), culprit, failure);
    begin = culprit + 1;
  }
  return failures;
}

} // namespace

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv, "fuzz of Fovea's inputs\n");
  bool isKnown = kindName == "all" && replayed.empty();
  for (const KindInfo &info : kinds)
    isKnown |= info.name == kindName;
  if (!isKnown)
    die("no such kind: " + kindName);

  void *shared = mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  messages = memfd_create("messages", MFD_CLOEXEC);
  llvm::SmallString<128> folder;
  if (shared == MAP_FAILED || messages < 0 ||
      llvm::sys::fs::createUniqueDirectory("fovea-fuzz", folder))
    die("no memory or no folder to work in");
  report = static_cast<Report *>(shared);
  workFolder = folder.str().str();
  llvm::scope_exit remove([] { fs::remove_all(workFolder); });
  buildFixture();

  unsigned failures = 0;
  if (!replayed.empty()) {
    std::string failure =
        runChild([] { runInput(kindOf(0), readFile(replayed), /*index=*/0); });
    failures = !failure.empty();
    llvm::outs() << replayed << ": " << (failures ? failure : "good") << "\n";
  } else {
    Mutator mutator;
    buildCorpus(mutator);
    failures = runMutants(mutator);
  }
  uint64_t total = 0;
  for (unsigned k = 0; k != numKinds; ++k) {
    uint64_t count = report->accepted[k] + report->refused[k];
    total += count;
    if (count)
      llvm::outs() << llvm::left_justify(kinds[k].name, 12) << count
                   << " mutants, " << report->accepted[k] << " accepted, "
                   << report->refused[k] << " refused\n";
  }
  llvm::outs() << total << " mutants ended well, " << failures << " failed\n";
  return failures != 0;
}
