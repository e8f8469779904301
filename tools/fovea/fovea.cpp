// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea: the driver. This file holds the command line; each command is a file
// of its own. Nothing of the compiler is set up before the command line is
// known to be good, so that help and usage errors come at once.

#include "tools/fovea/Commands.h"
#include "tools/fovea/Compilation.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/PrettyStackTrace.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

namespace cl = llvm::cl;
using llvm::StringRef;

namespace fovea {
namespace {

struct Command {
  const char *name, *summary, *description, *examples;
  int (*run)(const CommandLine &);
};

constexpr Command commands[] = {
    {"compile", "compile a spec to an object, a library or IR",
     "Compiles an attention spec, or IR at any phase, for the CPU. Without "
     "--emit it\nwrites NAME.o with its header NAME.h and description "
     "NAME.json.",
     "  fovea compile llama.yaml -o out\n"
     "  fovea compile llama.yaml --emit so --target cpu:host -o out\n"
     "  fovea compile llama.yaml --compile-to tiled --target cpu:avx512\n"
     "  fovea compile tiled.mlir --compile-from tiled --target cpu:avx512 "
     "--emit asm -o -\n",
     runCompile},
    {"run", "run a kernel on tensors from files",
     "Compiles a spec for this machine and runs it once. Extents come from the "
     "inputs'\nshapes and from --shape.",
     "  fovea run llama.yaml --in q=q.npy --in k=k.npy --in v=v.npy --out "
     "o=o.npy\n"
     "  fovea run llama.yaml --in tensors.safetensors --out "
     "results.safetensors\n"
     "  fovea run llama.yaml --shape B=1,M=64,N=64 --in 'q=@random(1)' \\\n"
     "      --in 'k=@random(2)' --in 'v=@random(3)' --verify --time\n",
     runRun},
    {"check", "test a kernel against the reference interpreter",
     "Runs the compiled kernel and the f64 reference on drawn shapes, strides "
     "and edge\ncases, and prints the largest error as a share of the stated "
     "bound. With --fuzz\nspecs are drawn too, and what fails is shrunk.",
     "  fovea check llama.yaml\n"
     "  fovea check llama.yaml --cases 500 --seed 7\n"
     "  fovea check llama.yaml --seed 7 --case 41 --shape M=1\n"
     "  fovea check --fuzz --minutes 10 --seed 7\n"
     "  fovea check --fuzz --seed 7 --kernel 3 --case 62\n",
     runCheck},
    {"explain", "show the mask, the work and the choices made",
     "Prints what the mask expands to and how it looks, the tiles that are "
     "skipped, the\nwork that remains, and the configuration with its reasons.",
     "  fovea explain llama.yaml\n"
     "  fovea explain llama.yaml --shape B=1,M=1,N=4096\n",
     runExplain},
    {"bench", "time a kernel on this machine",
     "Times the compiled kernel beside a loop of fused multiply-adds, in "
     "turns, "
     "and\nprints medians and the share of that peak.",
     "  fovea bench llama.yaml --shape B=1,M=1024,N=1024\n"
     "  fovea bench llama.yaml --shape B=8,M=1,N=4096 --threads 2\n",
     runBench},
    {"targets", "list the instruction sets supported and found",
     "Lists the instruction sets that kernels can be compiled for, and which "
     "of them\nthis machine runs.",
     "  fovea targets\n", runTargets},
    {"doctor", "check that everything needed is there",
     "Checks the processor, the linker and the runtime library, and says what "
     "to do\nabout what is missing.",
     "  fovea doctor\n", runDoctor},
    {"spec", "describe the keys of a spec",
     "Prints every key of a spec with its type, default and rule.",
     "  fovea spec --schema\n", runSpec},
};

const Command *findCommand(StringRef name) {
  for (const Command &command : commands)
    if (name == command.name)
      return &command;
  return nullptr;
}

void printHelp(llvm::raw_ostream &os) {
  os << "fovea compiles attention: from a spec to code that a program calls "
        "through C.\n\n"
        "usage: fovea COMMAND [options]\n\ncommands:\n";
  for (const Command &command : commands)
    os << "  " << llvm::left_justify(command.name, 9) << command.summary
       << "\n";
  os << "\n`fovea COMMAND --help` tells a command's options, with examples.\n"
        "`fovea --version` tells the version.\n\n"
        "exit status: 0 good, 1 the input's fault, 2 a usage error, 3 a bug of "
        "fovea.\n";
}

/// Declares and parses the options of one command. They are made for it alone:
/// the names of LLVM's own options stay out of its help.
class OptionParser {
public:
  OptionParser(const Command &command, CommandLine &line)
      : command(command), line(line), sub(command.name, command.summary),
        what("Input and output"), how("Choices") {}

  /// An exit code if the command is not to be run.
  std::optional<int> parse(int argc, char **argv) {
    StringRef name = command.name;
    bool takesSpec = name != "targets" && name != "doctor" && name != "spec";
    if (takesSpec)
      input.emplace(
          cl::Positional, name == "check" ? cl::Optional : cl::Required,
          cl::desc(name == "check" ? "[SPEC]" : "SPEC"), cl::value_desc("SPEC"),
          cl::location(line.input), cl::sub(sub), cl::cat(what));
    if (name == "compile")
      declareCompile();
    if (takesSpec)
      addList(line.targets, "target", "cpu[:ISA,...]",
              name == "compile"
                  ? "instruction sets, the whole list by default; cpu:host is "
                    "this machine's best"
              : name == "check"
                  ? "instruction set; this machine's best by default, with "
                    "--fuzz all that it runs"
                  : "instruction set; this machine's best by default",
              how);
    if (name == "run")
      declareRun();
    if (name == "run" || name == "check" || name == "bench" ||
        name == "explain") {
      addList(line.shape, "shape", "B=1,M=64,...",
              "extents of the symbolic dimensions", what);
      addList(line.params, "param", "NAME=VALUE", "integer parameters", what);
    }
    if (name == "bench" || name == "explain")
      addList(line.values, "value", "NAME=VALUE",
              "what each element of an integer input is; by default the number "
              "of keys, and for `past` a cache that the call fills",
              what);
    if (name == "run" || name == "bench")
      addValue(line.threads, "threads", "N",
               "worker threads; all processors by default", how);
    if (name == "check")
      declareCheck();
    if (name == "bench")
      declareBench();
    if (name == "explain")
      declareExplain();
    if (name == "spec") {
      addFlag(line.schema, "schema", "print every key", what);
      addFlag(line.markdown, "markdown", "as Markdown", how);
    }

    cl::HideUnrelatedOptions({&what, &how}, sub);
    std::string overview = std::string(command.description);
    std::string examplesText = "\nEXAMPLES:\n" + std::string(command.examples);
    cl::extrahelp examples(examplesText);
    std::string errors;
    llvm::raw_string_ostream os(errors);
    if (cl::ParseCommandLineOptions(argc, argv, overview, &os))
      return std::nullopt;
    llvm::errs() << errors;
    return ExitUsage;
  }

private:
  const Command &command;
  CommandLine &line;
  cl::SubCommand sub;
  cl::OptionCategory what, how;
  std::optional<cl::opt<std::string, true>> input;
  std::vector<std::unique_ptr<cl::Option>> options;

  template <typename T>
  void addValue(T &location, StringRef name, StringRef valueName,
                StringRef text, cl::OptionCategory &category) {
    options.push_back(std::make_unique<cl::opt<T, true>>(
        name, cl::desc(text), cl::value_desc(valueName), cl::location(location),
        cl::init(location), cl::sub(sub), cl::cat(category)));
  }
  void addFlag(bool &location, StringRef name, StringRef text,
               cl::OptionCategory &category) {
    options.push_back(std::make_unique<cl::opt<bool, true>>(
        name, cl::desc(text), cl::location(location), cl::sub(sub),
        cl::cat(category)));
  }
  void addList(std::vector<std::string> &location, StringRef name,
               StringRef valueName, StringRef text,
               cl::OptionCategory &category, bool commas = true) {
    auto option =
        std::make_unique<cl::list<std::string, std::vector<std::string>>>(
            name, cl::desc(text), cl::value_desc(valueName),
            cl::location(location), cl::sub(sub), cl::cat(category));
    if (commas)
      option->setMiscFlag(cl::CommaSeparated);
    options.push_back(std::move(option));
  }

  void declareCompile() {
    addList(line.emit, "emit", "KIND,...",
            "what to write: attn, bufferized, tiled, vector, llvm, asm, obj, "
            "a, so, header, json",
            what);
    addValue(line.output, "o", "FOLDER",
             "where to write; - is stdout, for one text output", what);
    addValue(line.to, "compile-to", "PHASE",
             "stop at a phase and write the IR there (to stdout without -o)",
             how);
    addValue(line.from, "compile-from", "PHASE",
             "the phase of the .mlir input; attn by default", how);
    addValue(line.linker, "linker", "PROGRAM",
             "what links a shared library; cc by default", how);
    addValue(line.runtime, "runtime", "static|shared",
             "the runtime of a shared library: a copy inside (the default), or "
             "libfovea_runtime.so, loaded with it",
             how);
  }
  void declareRun() {
    addList(line.inputs, "in", "[NAME=]FILE",
            "an input: .npy, .npz[:KEY], .safetensors[:KEY], @random(SEED) "
            "or @fill(VALUE); without NAME all tensors of "
            "the file",
            what, /*commas=*/false);
    addList(line.outputs, "out", "[NAME=]FILE",
            "where a result goes: .npy, .npz, .safetensors", what,
            /*commas=*/false);
    addFlag(line.verify, "verify", "compare with the f64 reference", how);
    addFlag(line.time, "time", "time the call", how);
  }
  void declareBench() {
    addValue(line.rounds, "rounds", "N",
             "how often to measure both, the kernel and the machine", how);
    addFlag(line.json, "json", "print JSON", how);
  }
  void declareExplain() {
    addFlag(line.ascii, "ascii", "draw the mask in ASCII", how);
    addValue(line.svg, "svg", "FILE", "draw the mask into this file too", what);
  }
  void declareCheck() {
    addFlag(line.fuzz, "fuzz", "draw specs as well as their calls", what);
    addValue(line.cases, "cases", "N",
             "how many cases to draw; 100 by default, or all that --minutes "
             "leaves time for",
             how);
    addValue(line.minutes, "minutes", "N",
             "with --fuzz: begin no kernel after this time", how);
    addValue(line.seed, "seed", "S", "which cases", how);
    addValue(line.onlyKernel, "kernel", "K",
             "with --fuzz: only this one of the drawn specs", how);
    addValue(line.onlyCase, "case", "I", "only this one of the cases", how);
    // For the tests of what a failure prints.
    addValue(line.limit, "limit", "X",
             "the share of its bound that an error may reach", how);
    options.back()->setHiddenFlag(cl::ReallyHidden);
  }
};

int runDriver(int argc, char **argv) {
  StringRef name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h" || name == "help") {
    printHelp(llvm::outs());
    return ExitSuccess;
  }
  if (name == "--version") {
    llvm::outs() << compilerVersion() << "\n";
    return ExitSuccess;
  }
  const Command *command = findCommand(name);
  if (!command) {
    if (name.empty()) {
      printHelp(llvm::errs());
      return ExitUsage;
    }
    const Command *nearest = nullptr;
    unsigned best = 3;
    for (const Command &candidate : commands) {
      unsigned distance = name.edit_distance(candidate.name);
      if (distance < best) {
        best = distance;
        nearest = &candidate;
      }
    }
    return fail(ExitUsage, "unknown command '" + name + "'" +
                               (nearest ? "; did you mean '" +
                                              llvm::Twine(nearest->name) + "'?"
                                        : "; `fovea --help` lists them"));
  }
  CommandLine line;
  OptionParser parser(*command, line);
  if (std::optional<int> code = parser.parse(argc, argv))
    return *code;
  installCrashHandler(argc, argv);
  return command->run(line);
}

} // namespace
} // namespace fovea

int main(int argc, char **argv) { return fovea::runDriver(argc, argv); }
