// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Checks a call against the kernel's descriptor, so that generated code sees
// only what it was compiled for. Each message says which argument, what was
// expected and what came.

#include "Internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

//===-- The descriptor ----------------------------------------------------===//

// Is it the length of an array that is there?
static bool isCount(int32_t Count, int32_t Most, const void *Array) {
  return Count >= 0 && Count <= Most && (Count == 0 || Array);
}

fovea_status foveaCheckKernel(const fovea_kernel *Kernel) {
  if (!Kernel)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT, "the kernel is NULL");
  if (Kernel->abi_version != FOVEA_ABI_VERSION)
    return foveaFail(FOVEA_ERROR_ABI_VERSION,
                     "the kernel was compiled for version %u of the runtime's "
                     "ABI, this is version %d",
                     Kernel->abi_version, FOVEA_ABI_VERSION);
  bool Good =
      Kernel->name && isCount(Kernel->num_args, FOVEA_MAX_ARGS, Kernel->args) &&
      isCount(Kernel->num_symbols, FOVEA_MAX_SYMBOLS, Kernel->symbols) &&
      isCount(Kernel->num_params, FOVEA_MAX_PARAMS, Kernel->params) &&
      isCount(Kernel->num_variants, INT32_MAX, Kernel->variants);
  for (int32_t I = 0; Good && I != Kernel->num_args; ++I) {
    const fovea_arg_desc *Desc = &Kernel->args[I];
    Good = Desc->name && Desc->rank >= 0 && Desc->rank <= FOVEA_MAX_RANK &&
           Desc->dtype_bits != 0 && Desc->dtype_bits % 8 == 0 &&
           Desc->role <= FOVEA_INOUT;
    for (int32_t D = 0; Good && D != Desc->rank; ++D)
      Good = Desc->dims[D] >= -(int64_t)Kernel->num_symbols;
  }
  for (int32_t I = 0; Good && I != Kernel->num_symbols; ++I)
    Good = Kernel->symbols[I];
  for (int32_t I = 0; Good && I != Kernel->num_params; ++I)
    Good = Kernel->params[I].name;
  for (int32_t I = 0; Good && I != Kernel->num_variants; ++I)
    Good = Kernel->variants[I].isa && Kernel->variants[I].body;
  if (!Good)
    return foveaFail(FOVEA_ERROR_INTERNAL, "the kernel's descriptor is broken");
  return FOVEA_OK;
}

//===-- Options -----------------------------------------------------------===//

fovea_status foveaReadOptions(const fovea_kernel *Kernel, const void *Options,
                              FoveaCall *Call) {
  size_t Size = 0;
  if (Options) {
    memcpy(&Size, Options, sizeof(Size));
    size_t Largest =
        sizeof(fovea_options) + (size_t)Kernel->num_params * sizeof(int64_t);
    if (Size < sizeof(size_t) || Size > Largest || Size % sizeof(int64_t))
      return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT,
                       "%s: options.size is %zu, expected the size of the "
                       "options struct, at most %zu",
                       Kernel->name, Size, Largest);
  }
  fovea_options Head;
  memset(&Head, 0, sizeof(Head));
  if (Size)
    memcpy(&Head, Options, Size < sizeof(Head) ? Size : sizeof(Head));

  for (int32_t I = 0; I != Kernel->num_params; ++I) {
    const fovea_param_desc *Param = &Kernel->params[I];
    size_t Offset = sizeof(fovea_options) + (size_t)I * sizeof(int64_t);
    if (Offset + sizeof(int64_t) <= Size)
      memcpy(&Call->Params[I], (const char *)Options + Offset, sizeof(int64_t));
    else if (Param->has_default)
      Call->Params[I] = Param->default_value;
    else
      return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT,
                       "%s: parameter '%s' has no default and options %s",
                       Kernel->name, Param->name,
                       Options ? "end before it" : "are NULL");
  }

  // The threads are the context's, not the caller's: const means that the call
  // changes nothing that can be seen.
  Call->Context = (fovea_context *)Head.context;
  if (!Call->Context)
    Call->Context = fovea_default_context();
  if (!Call->Context)
    return FOVEA_ERROR_OUT_OF_MEMORY;
  Call->Workspace = Head.workspace;
  Call->WorkspaceSize = Head.workspace_size;
  return FOVEA_OK;
}

//===-- Tensors -----------------------------------------------------------===//

// What is being checked.
typedef struct {
  const fovea_kernel *Kernel;
  const fovea_arg_desc *Desc;
  const DLTensor *Tensor;
} Subject;

// Fails with "KERNEL: argument 'ARG': " before the message.
static fovea_status failArg(const Subject *S, fovea_status Status,
                            const char *Format, ...)
    __attribute__((format(printf, 3, 4)));

static fovea_status failArg(const Subject *S, fovea_status Status,
                            const char *Format, ...) {
  char Message[384];
  va_list Args;
  va_start(Args, Format);
  vsnprintf(Message, sizeof(Message), Format, Args);
  va_end(Args);
  return foveaFail(Status, "%s: argument '%s': %s", S->Kernel->name,
                   S->Desc->name, Message);
}

typedef struct {
  char Text[32];
} TypeName;

static TypeName typeName(unsigned Code, unsigned Bits, unsigned Lanes) {
  TypeName Name;
  const char *Prefix = Code == kDLInt      ? "i"
                       : Code == kDLUInt   ? "u"
                       : Code == kDLFloat  ? "f"
                       : Code == kDLBfloat ? "bf"
                                           : NULL;
  int Length =
      Prefix ? snprintf(Name.Text, sizeof(Name.Text), "%s%u", Prefix, Bits)
             : snprintf(Name.Text, sizeof(Name.Text),
                        "type code %u with %u bits", Code, Bits);
  if (Lanes != 1)
    snprintf(Name.Text + Length, sizeof(Name.Text) - (size_t)Length, " x%u",
             Lanes);
  return Name;
}

static fovea_status checkType(const Subject *S) {
  const DLTensor *T = S->Tensor;
  if (T->device.device_type != kDLCPU)
    return failArg(S, FOVEA_ERROR_DEVICE,
                   "expected a tensor on the CPU (device type %d), got device "
                   "type %d",
                   (int)kDLCPU, (int)T->device.device_type);
  if (T->dtype.code != S->Desc->dtype_code ||
      T->dtype.bits != S->Desc->dtype_bits || T->dtype.lanes != 1)
    return failArg(S, FOVEA_ERROR_DTYPE, "expected elements of type %s, got %s",
                   typeName(S->Desc->dtype_code, S->Desc->dtype_bits, 1).Text,
                   typeName(T->dtype.code, T->dtype.bits, T->dtype.lanes).Text);
  if (T->ndim != S->Desc->rank)
    return failArg(S, FOVEA_ERROR_RANK, "expected %d dimensions, got %d",
                   (int)S->Desc->rank, (int)T->ndim);
  if (T->ndim && !T->shape)
    return failArg(S, FOVEA_ERROR_INVALID_ARGUMENT, "its shape is NULL");
  return FOVEA_OK;
}

// Checks extents; symbols (-1: not seen yet) take their first extent, and
// SeenIn remembers from which argument.
static fovea_status checkShape(const Subject *S, int64_t *Symbols,
                               uint8_t *SeenIn, bool *Empty) {
  const fovea_kernel *Kernel = S->Kernel;
  int64_t Elements = 1;
  bool TooMany = false;
  *Empty = false;
  for (int32_t D = 0; D != S->Desc->rank; ++D) {
    int64_t Extent = S->Tensor->shape[D], Dim = S->Desc->dims[D];
    if (Extent < 0)
      return failArg(S, FOVEA_ERROR_SHAPE,
                     "dimension %d: expected an extent of 0 or more, got %lld",
                     D, (long long)Extent);
    if (Dim >= 0 && Extent != Dim)
      return failArg(S, FOVEA_ERROR_SHAPE,
                     "dimension %d: expected %lld, got %lld", D, (long long)Dim,
                     (long long)Extent);
    if (Dim < 0) {
      int64_t Symbol = -1 - Dim;
      if (Symbols[Symbol] < 0) {
        Symbols[Symbol] = Extent;
        SeenIn[Symbol] = (uint8_t)(S->Desc - Kernel->args);
      } else if (Symbols[Symbol] != Extent) {
        return failArg(
            S, FOVEA_ERROR_SHAPE,
            "dimension %d: expected %s = %lld as in argument '%s', got "
            "%lld",
            D, Kernel->symbols[Symbol], (long long)Symbols[Symbol],
            Kernel->args[SeenIn[Symbol]].name, (long long)Extent);
      }
    }
    *Empty |= Extent == 0;
    TooMany |= __builtin_mul_overflow(Elements, Extent, &Elements);
  }
  if (TooMany && !*Empty)
    return failArg(S, FOVEA_ERROR_SHAPE, "expected fewer than 2^63 elements");
  return FOVEA_OK;
}

// The strides in elements, given or row-major; 1 where they mean nothing.
static void readStrides(const Subject *S, bool Empty, int64_t *Strides) {
  const DLTensor *T = S->Tensor;
  int64_t Compact = 1;
  for (int32_t D = T->ndim - 1; D >= 0; --D) {
    if (Empty || T->shape[D] == 1) {
      Strides[D] = 1;
      continue;
    }
    Strides[D] = T->strides ? T->strides[D] : Compact;
    // No overflow: the number of elements has been checked.
    Compact *= T->shape[D];
  }
}

// The bytes that a tensor that is not empty covers; checks stride and address
// arithmetic, so that generated code can do it unchecked.
static fovea_status findRegion(const Subject *S, const int64_t *Strides,
                               FoveaRegion *Region) {
  const DLTensor *T = S->Tensor;
  int64_t Element = S->Desc->dtype_bits / 8, Below = 0, Above = Element;
  Region->Element = Element;
  for (int32_t D = 0; D != T->ndim; ++D) {
    int64_t Extent = T->shape[D], Stride, Reach;
    if (Extent == 1)
      continue;
    if (Strides[D] == 0) {
      if (S->Desc->role == FOVEA_INPUT)
        continue;
      return failArg(
          S, FOVEA_ERROR_STRIDE,
          "dimension %d: expected a stride other than 0 in an output "
          "of extent %lld, got 0",
          D, (long long)Extent);
    }
    if (__builtin_mul_overflow(Strides[D], Element, &Stride) ||
        Stride == INT64_MIN ||
        __builtin_mul_overflow(Extent - 1, Stride, &Reach) ||
        __builtin_add_overflow(Reach < 0 ? Below : Above, Reach,
                               Reach < 0 ? &Below : &Above))
      return failArg(
          S, FOVEA_ERROR_STRIDE,
          "dimension %d: with stride %lld and extent %lld it is larger "
          "than the address space",
          D, (long long)Strides[D], (long long)Extent);
    Region->Extents[Region->Rank] = Extent;
    Region->Strides[Region->Rank] = Stride < 0 ? -Stride : Stride;
    ++Region->Rank;
  }

  uintptr_t Data;
  if (__builtin_add_overflow((uintptr_t)T->data, T->byte_offset, &Data) ||
      __builtin_add_overflow(Data, Below, &Region->Base) ||
      __builtin_add_overflow(Data, Above, &Region->End) ||
      __builtin_sub_overflow(Above, Below, &Above))
    return failArg(S, FOVEA_ERROR_STRIDE,
                   "from %p with byte offset %llu it leaves the address space",
                   T->data, (unsigned long long)T->byte_offset);
  if (Data % (uintptr_t)Element)
    return failArg(S, FOVEA_ERROR_ALIGNMENT,
                   "expected data aligned to %lld bytes, got %p",
                   (long long)Element, (void *)Data);
  if (S->Desc->role != FOVEA_INPUT && foveaRegionOverlapsItself(Region))
    return failArg(
        S, FOVEA_ERROR_OVERLAP,
        "expected strides that give each element of an output its own "
        "place, got overlapping elements");
  return FOVEA_OK;
}

static fovea_status checkTensor(const Subject *S, int64_t *Symbols,
                                uint8_t *SeenIn, fovea_view *View,
                                FoveaRegion *Region) {
  Region->Base = Region->End = 0;
  Region->Rank = 0;
  if (!S->Tensor) {
    if (!S->Desc->optional)
      return failArg(S, FOVEA_ERROR_INVALID_ARGUMENT,
                     "expected a tensor, got NULL");
    memset(View, 0, sizeof(*View));
    return FOVEA_OK;
  }
  fovea_status Status = checkType(S);
  if (Status != FOVEA_OK)
    return Status;
  bool Empty;
  Status = checkShape(S, Symbols, SeenIn, &Empty);
  if (Status != FOVEA_OK)
    return Status;
  readStrides(S, Empty, View->strides);
  if (Empty) {
    View->data = S->Tensor->data;
    return FOVEA_OK;
  }
  if (!S->Tensor->data)
    return failArg(S, FOVEA_ERROR_INVALID_ARGUMENT,
                   "its data is NULL but it is not empty");
  Status = findRegion(S, View->strides, Region);
  if (Status != FOVEA_OK)
    return Status;
  View->data = (char *)S->Tensor->data + S->Tensor->byte_offset;
  return FOVEA_OK;
}

fovea_status foveaCheckArgs(const fovea_kernel *Kernel,
                            const DLTensor *const *Args, fovea_view *Views,
                            int64_t *Symbols, FoveaRegion *Regions) {
  if (!Args && Kernel->num_args)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT,
                     "%s: the array of arguments is NULL", Kernel->name);
  uint8_t SeenIn[FOVEA_MAX_SYMBOLS];
  for (int32_t I = 0; I != Kernel->num_symbols; ++I)
    Symbols[I] = -1;
  for (int32_t I = 0; I != Kernel->num_args; ++I) {
    Subject S = {Kernel, &Kernel->args[I], Args[I]};
    fovea_status Status =
        checkTensor(&S, Symbols, SeenIn, &Views[I], &Regions[I]);
    if (Status != FOVEA_OK)
      return Status;
  }
  // Symbols of absent tensors only.
  for (int32_t I = 0; I != Kernel->num_symbols; ++I)
    if (Symbols[I] < 0)
      Symbols[I] = 0;

  for (int32_t I = 0; I != Kernel->num_args; ++I) {
    if (Kernel->args[I].role == FOVEA_INPUT)
      continue;
    for (int32_t J = 0; J != Kernel->num_args; ++J)
      if (J != I && foveaRegionsOverlap(&Regions[I], &Regions[J]))
        return foveaFail(FOVEA_ERROR_OVERLAP,
                         "%s: argument '%s': expected an output apart from all "
                         "other arguments, got one that overlaps '%s'",
                         Kernel->name, Kernel->args[I].name,
                         Kernel->args[J].name);
  }
  return FOVEA_OK;
}
