// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// May strided regions of memory share a byte? Exact answers are NP-hard; these
// never miss an overlap, and they tell apart what people lay side by side: any
// slices along the dimensions of one buffer, such as q, k, v and o in a packed
// [batch, length, 4, heads, width] tensor.

#include "Internal.h"

// The bytes that the dimensions with strides below Limit reach over.
static int64_t spanBelow(const FoveaRegion *Region, int64_t Limit) {
  int64_t Span = Region->Element;
  for (int32_t I = 0; I != Region->Rank; ++I)
    if (Region->Strides[I] < Limit)
      Span += (Region->Extents[I] - 1) * Region->Strides[I];
  return Span;
}

// gcd of Start and the strides from Limit on.
static int64_t gcdFrom(const FoveaRegion *Region, int64_t Limit,
                       int64_t Start) {
  int64_t A = Start;
  for (int32_t I = 0; I != Region->Rank; ++I) {
    if (Region->Strides[I] < Limit)
      continue;
    int64_t B = Region->Strides[I];
    while (B) {
      int64_t Rest = A % B;
      A = B;
      B = Rest;
    }
  }
  return A;
}

bool foveaRegionOverlapsItself(const FoveaRegion *Region) {
  // Elements are apart if each stride steps over all that the smaller strides
  // reach (two dimensions of equal stride never do).
  for (int32_t I = 0; I != Region->Rank; ++I) {
    int64_t Stride = Region->Strides[I];
    if (Stride < spanBelow(Region, Stride))
      return true;
    for (int32_t J = 0; J != I; ++J)
      if (Region->Strides[J] == Stride)
        return true;
  }
  return false;
}

// Are the regions apart modulo the gcd of all strides >= Limit? The others then
// only widen each element to an interval.
static bool apartModulo(const FoveaRegion *A, const FoveaRegion *B,
                        int64_t Limit) {
  int64_t Modulus = gcdFrom(B, Limit, gcdFrom(A, Limit, 0));
  uintptr_t Distance = B->Base - A->Base;
  if (B->Base < A->Base)
    Distance = (uintptr_t)Modulus - (A->Base - B->Base) % (uintptr_t)Modulus;
  Distance %= (uintptr_t)Modulus;
  int64_t SpanA = spanBelow(A, Limit), SpanB = spanBelow(B, Limit);
  return SpanA <= (int64_t)Distance && SpanB <= Modulus - (int64_t)Distance;
}

bool foveaRegionsOverlap(const FoveaRegion *A, const FoveaRegion *B) {
  if (A->Base >= B->End || B->Base >= A->End)
    return false;
  for (int32_t I = 0; I != A->Rank; ++I)
    if (apartModulo(A, B, A->Strides[I]))
      return false;
  for (int32_t I = 0; I != B->Rank; ++I)
    if (apartModulo(A, B, B->Strides[I]))
      return false;
  return true;
}
