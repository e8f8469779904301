// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// One call of a kernel: check, choose the variant, get the workspace, run.

#include "FloatEnv.h"
#include "Internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool canRun(const fovea_variant *Variant, const fovea_context *Context) {
  if (Variant->features & ~Context->Features)
    return false;
  // Asked for when a kernel that needs them is about to run, not before: a
  // process that has them pays for larger signal frames.
  return !(Variant->features & FOVEA_CPU_AMX_TILE) || foveaMayUseTiles();
}

// The best variant that this machine and FOVEA_ISA allow.
static fovea_status chooseVariant(const fovea_kernel *Kernel,
                                  const fovea_context *Context,
                                  const fovea_variant **Result) {
  int32_t First = 0;
  if (Context->IsaVariant[0])
    while (First != Kernel->num_variants &&
           strcmp(Kernel->variants[First].isa, Context->IsaVariant) != 0)
      ++First;
  for (int32_t I = First; I < Kernel->num_variants; ++I)
    if (canRun(&Kernel->variants[I], Context)) {
      *Result = &Kernel->variants[I];
      return FOVEA_OK;
    }
  return foveaFail(
      FOVEA_ERROR_UNSUPPORTED_ISA,
      "%s: none of its %d variants (the last is for %s) runs here: CPU "
      "features "
      "found %#llx, allowed %#llx, FOVEA_ISA %s",
      Kernel->name, Kernel->num_variants,
      Kernel->num_variants ? Kernel->variants[Kernel->num_variants - 1].isa
                           : "none",
      (unsigned long long)fovea_cpu_features(),
      (unsigned long long)Context->Features,
      Context->IsaVariant[0]                      ? Context->IsaVariant
      : Context->Features != fovea_cpu_features() ? "lowers them"
                                                  : "not in the way");
}

static fovea_status findWorkspaceSize(const fovea_kernel *Kernel,
                                      const fovea_variant *Variant,
                                      const int64_t *Symbols,
                                      const FoveaCall *Call, size_t *Size) {
  *Size = 0;
  if (!Variant->workspace)
    return FOVEA_OK;
  int64_t Bytes =
      Variant->workspace(Symbols, Call->Params, Call->Context->Threads);
  if (Bytes < 0)
    return foveaFail(FOVEA_ERROR_OUT_OF_MEMORY,
                     "%s: the workspace for this shape would pass 2^63 bytes",
                     Kernel->name);
  *Size = (size_t)Bytes;
  return FOVEA_OK;
}

// The caller's workspace if one is given, else a new one (*Owned).
static fovea_status getWorkspace(const fovea_kernel *Kernel, size_t Size,
                                 const FoveaCall *Call,
                                 const FoveaRegion *Regions, void **Workspace,
                                 bool *Owned) {
  *Workspace = NULL;
  *Owned = false;
  if (!Size)
    return FOVEA_OK;
  if (!Call->Workspace) {
    if (posix_memalign(Workspace, FOVEA_WORKSPACE_ALIGNMENT, Size))
      return foveaFail(FOVEA_ERROR_OUT_OF_MEMORY,
                       "%s: out of memory for a workspace of %zu bytes",
                       Kernel->name, Size);
    *Owned = true;
    return FOVEA_OK;
  }
  if (Call->WorkspaceSize < Size)
    return foveaFail(FOVEA_ERROR_WORKSPACE_TOO_SMALL,
                     "%s: expected a workspace of %zu bytes, got %zu",
                     Kernel->name, Size, Call->WorkspaceSize);
  uintptr_t Base = (uintptr_t)Call->Workspace;
  if (Base % FOVEA_WORKSPACE_ALIGNMENT)
    return foveaFail(FOVEA_ERROR_ALIGNMENT,
                     "%s: expected a workspace aligned to %d bytes, got %p",
                     Kernel->name, FOVEA_WORKSPACE_ALIGNMENT, Call->Workspace);
  for (int32_t I = 0; I != Kernel->num_args; ++I)
    if (Base < Regions[I].End && Regions[I].Base < Base + Size)
      return foveaFail(FOVEA_ERROR_OVERLAP,
                       "%s: expected a workspace apart from all arguments, got "
                       "one that overlaps '%s'",
                       Kernel->name, Kernel->args[I].name);
  *Workspace = Call->Workspace;
  return FOVEA_OK;
}

static fovea_status run(const fovea_kernel *Kernel,
                        const fovea_variant *Variant,
                        const fovea_frame *Frame) {
  uint32_t Saved = foveaEnterFloatEnv();
  int32_t Status = Variant->body(Frame);
  foveaLeaveFloatEnv(Saved);
  if (Status == FOVEA_OK)
    return FOVEA_OK;
  if (Status < FOVEA_OK || Status > FOVEA_ERROR_INTERNAL)
    return foveaFail(FOVEA_ERROR_INTERNAL,
                     "%s: the %s variant returned %d, which is no status",
                     Kernel->name, Variant->isa, Status);
  return foveaFail((fovea_status)Status, "%s: the %s variant failed: %s",
                   Kernel->name, Variant->isa,
                   fovea_status_name((fovea_status)Status));
}

static fovea_status invoke(const fovea_kernel *Kernel,
                           const DLTensor *const *Args, const void *Options) {
  fovea_view Views[FOVEA_MAX_ARGS];
  FoveaRegion Regions[FOVEA_MAX_ARGS];
  int64_t Symbols[FOVEA_MAX_SYMBOLS];
  FoveaCall Call;
  const fovea_variant *Variant;
  size_t Size;
  void *Workspace;
  bool Owned;

  fovea_status Status = foveaCheckKernel(Kernel);
  if (Status != FOVEA_OK)
    return Status;
  Status = foveaReadOptions(Kernel, Options, &Call);
  if (Status != FOVEA_OK)
    return Status;
  Status = foveaCheckArgs(Kernel, Args, Views, Symbols, Regions);
  if (Status != FOVEA_OK)
    return Status;
  Status = chooseVariant(Kernel, Call.Context, &Variant);
  if (Status != FOVEA_OK)
    return Status;
  Status = findWorkspaceSize(Kernel, Variant, Symbols, &Call, &Size);
  if (Status != FOVEA_OK)
    return Status;
  Status = getWorkspace(Kernel, Size, &Call, Regions, &Workspace, &Owned);
  if (Status != FOVEA_OK)
    return Status;

  fovea_frame Frame = {Call.Context, Symbols,   Call.Params,
                       Views,        Workspace, Call.Context->Threads};
  Status = run(Kernel, Variant, &Frame);
  if (Owned)
    free(Workspace);
  return Status;
}

fovea_status fovea_invoke(const fovea_kernel *kernel,
                          const DLTensor *const *args, const void *options) {
  int SavedErrno = errno;
  fovea_status Status = invoke(kernel, args, options);
  errno = SavedErrno;
  return Status;
}

size_t fovea_workspace_size(const fovea_kernel *kernel, const int64_t *symbols,
                            const void *options) {
  FoveaCall Call;
  const fovea_variant *Variant;
  size_t Size;
  if (foveaCheckKernel(kernel) != FOVEA_OK ||
      foveaReadOptions(kernel, options, &Call) != FOVEA_OK)
    return FOVEA_WORKSPACE_ERROR;
  if (kernel->num_symbols && !symbols) {
    foveaFail(FOVEA_ERROR_INVALID_ARGUMENT, "%s: symbols are NULL",
              kernel->name);
    return FOVEA_WORKSPACE_ERROR;
  }
  for (int32_t I = 0; I != kernel->num_symbols; ++I)
    if (symbols[I] < 0) {
      foveaFail(FOVEA_ERROR_SHAPE, "%s: expected %s of 0 or more, got %lld",
                kernel->name, kernel->symbols[I], (long long)symbols[I]);
      return FOVEA_WORKSPACE_ERROR;
    }
  if (chooseVariant(kernel, Call.Context, &Variant) != FOVEA_OK ||
      findWorkspaceSize(kernel, Variant, symbols, &Call, &Size) != FOVEA_OK)
    return FOVEA_WORKSPACE_ERROR;
  return Size;
}
