// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_DIALECTS_CPU_IR_CPUOPS_TD
#define FOVEA_DIALECTS_CPU_IR_CPUOPS_TD

include "mlir/IR/OpBase.td"
include "mlir/Dialect/LLVMIR/LLVMTypes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Cpu_Dialect : Dialect {
  let name = "cpu";
  let cppNamespace = "::fovea::cpu";
  let summary = "What a CPU kernel asks of the runtime";
  let description = [{
    The few things a kernel cannot say with upstream dialects: a parallel loop
    whose body knows its worker, the number of workers, the workspace, and a
    check that ends the call with a status. `attn-cpu-outline-parallel` and
    `attn-cpu-emit-entry` turn them into the C ABI of runtime/include/fovea.
  }];
}

class Cpu_Op<string mnemonic, list<Trait> traits = []>
    : Op<Cpu_Dialect, mnemonic, traits>;

def Cpu_ParallelOp : Cpu_Op<"parallel", [
    RecursiveMemoryEffects, SingleBlockImplicitTerminator<"EndOp">]> {
  let summary = "run the body for every item, on any worker, in any order";
  let description = [{
    The body runs once per item in [0, count). Items are independent: they share
    no written memory but per-worker scratch, which `worker` (in [0, workers))
    selects. Results never depend on the distribution (rule D1). What an item takes
    on one thread, estimated in nanoseconds, tells the runtime how many workers are
    worth asking.

    ```mlir
    cpu.parallel (%item, %worker) to %count each %nanoseconds { ... }
    ```
  }];
  let arguments = (ins Index:$count, Index:$itemNanoseconds);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$count,
                                 "::mlir::Value":$itemNanoseconds)>];
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getItem() { return getBody().getArgument(0); }
    ::mlir::BlockArgument getWorker() { return getBody().getArgument(1); }
  }];
}

def Cpu_EndOp : Cpu_Op<"end", [Pure, Terminator, HasParent<"ParallelOp">]> {
  let summary = "end of a parallel body";
  let assemblyFormat = "attr-dict";
}

def Cpu_WorkersOp : Cpu_Op<"workers", [Pure]> {
  let summary = "how many workers the call may use";
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Cpu_WorkspaceOp : Cpu_Op<"workspace", [Pure]> {
  let summary = "the scratch memory of the call, aligned to 64 bytes";
  let results = (outs MemRefRankOf<[I8], [1]>:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Cpu_ContextOp : Cpu_Op<"context", [Pure]> {
  let summary = "the runtime context of the call";
  let results = (outs LLVM_AnyPointer:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Cpu_InterleaveOp : Cpu_Op<"interleave", [
    RecursiveMemoryEffects, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "straight-line parts in any order among each other";
  let description = [{
    Each part is one block without branches. The parts are independent: none
    writes memory that another reads or writes. The order within a part stands;
    how the parts mix is up to `attn-cpu-interleave`, which knows what keeps
    matrix units and vector units busy at the same time.

    ```mlir
    cpu.interleave { ... }, { ... }
    ```
  }];
  let regions = (region VariadicRegion<SizedRegion<1>>:$parts);
  let assemblyFormat = "$parts attr-dict";
  let hasVerifier = 1;
}

def Cpu_SplitOp : Cpu_Op<"split"> {
  let summary = "floats as sums of shorter floats";
  let description = [{
    dest[r, t, d] for t = 0, 1, ... is source[r, d] less the terms before it,
    rounded to dest's type, but a number never to an infinity: the sum of the terms
    is the source but for the rounding of the last. The first term of an infinity
    or a NaN is it, and the others are 0. With `infinity`, an infinite element
    counts as that number with its sign, so that its terms, multiplied by others,
    do not meet as 0 * infinity.

    ```mlir
    cpu.split %tile into %terms {infinity = 1.0e30 : f64}
      : memref<64x128xf32> into memref<64x2x128xbf16>
    ```
  }];
  let arguments = (ins
    Arg<MemRefRankOf<[F32], [2]>, "", [MemRead]>:$source,
    Arg<MemRefRankOf<[BF16], [3]>, "", [MemWrite]>:$dest,
    OptionalAttr<F64Attr>:$infinity);
  let assemblyFormat = [{
    $source `into` $dest attr-dict `:` type($source) `into` type($dest)
  }];
  let hasVerifier = 1;
}

def Cpu_UnzipOp : Cpu_Op<"unzip"> {
  let summary = "part the even elements of rows from the odd ones, in place";
  let description = [{
    In each whole run of 2 * `lanes` elements of a row, the even ones are put before
    the odd ones; with `inverse`, they are put back. The rows are [0, count). That
    is the order in which two vectors of `lanes` floats come out of as many words
    of bf16, by one operation each.

    ```mlir
    cpu.unzip %tile rows(%count) {lanes = 8 : i64} : memref<8x128xf32>
    ```
  }];
  let arguments = (ins
    Arg<MemRefRankOf<[F32], [2]>, "", [MemRead, MemWrite]>:$tile,
    Index:$count, I64Attr:$lanes, UnitAttr:$inverse);
  let assemblyFormat = [{
    $tile `rows` `(` $count `)` attr-dict `:` type($tile)
  }];
  let hasVerifier = 1;
}

def Cpu_RequireOp : Cpu_Op<"require"> {
  let summary = "end the call with a status unless a condition holds";
  let description = [{
    Checks what only the data can tell, such as the room left in a cache. Stands
    in the entry block of a kernel, before anything is written.
  }];
  let arguments = (ins I1:$condition, I32Attr:$status);
  let assemblyFormat = "$condition `else` $status attr-dict";
}

#endif
