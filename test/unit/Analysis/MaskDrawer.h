// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Draws masks for the tests of the mask analyses: single comparisons, named
// masks, and compositions of them by and, or, not.

#ifndef FOVEA_TEST_UNIT_ANALYSIS_MASKDRAWER_H
#define FOVEA_TEST_UNIT_ANALYSIS_MASKDRAWER_H

#include <random>
#include <string>

namespace fovea::test {

class MaskDrawer {
public:
  explicit MaskDrawer(unsigned seed) : random(seed) {}

  int64_t draw(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(random);
  }

  /// A composition of `atoms` atoms over b, h, i, j, M, N and the parameter p,
  /// and len[b].
  std::string drawMask(int atoms) {
    if (atoms == 1)
      return draw(0, 4) ? drawAtom() : "not (" + drawAtom() + ")";
    int left = static_cast<int>(draw(1, atoms - 1));
    std::string x = drawMask(left), y = drawMask(atoms - left);
    std::string result =
        "(" + x + (draw(0, 1) ? ") and (" : ") or (") + y + ")";
    return draw(0, 5) ? result : "not (" + result + ")";
  }

private:
  std::string number(int64_t lo, int64_t hi) {
    return std::to_string(draw(lo, hi));
  }
  std::string alignment() {
    static const char *const names[] = {"top_left", "bottom_right", "offset(p)",
                                        "offset(5)"};
    return names[draw(0, 3)];
  }
  std::string comparison() {
    static const char *const symbols[] = {" < ",  " <= ", " > ",
                                          " >= ", " == ", " != "};
    return symbols[draw(0, 5)];
  }
  std::string drawAtom() {
    switch (draw(0, 19)) {
    case 0:
    case 1:
      return "causal(" + alignment() + ")";
    case 2:
    case 3:
      return "window(" + number(-1, 40) + ", " + number(-1, 40) + ", " +
             alignment() + ")";
    case 4:
      return "prefix(" + (draw(0, 1) ? number(0, 90) : "p") + ")";
    case 5:
      return "chunk(" + number(1, 70) + ", " + alignment() + ")";
    case 6:
      return "strided(" + number(1, 70) + ", " + alignment() + ")";
    case 7:
      return "fixed(" + number(10, 60) + ", " + number(0, 9) + ", " +
             alignment() + ")";
    case 8:
      return "dilated(" + number(-1, 9) + ", " + number(-1, 9) + ", " +
             number(1, 20) + ", " + alignment() + ")";
    case 9:
      return "global(" + number(0, 30) + ", " + alignment() + ")";
    case 10:
      return "j < len[b]";
    case 11:
      return "abs(i - j) <= " + number(0, 50);
    case 12:
      return "abs(i // 8 - j // 8)" + comparison() + number(0, 5);
    case 13:
      return "max(i, " + number(0, 90) + ") >= min(j, N - j)";
    case 14:
      return "i % " + number(1, 20) + comparison() + "j % " + number(1, 20);
    case 15:
      return "(i + " + number(0, 9) + " * j) // " + number(1, 20) +
             comparison() + number(-3, 60);
    case 16:
      return "j <= i - h * " + number(0, 20) + " + N - M";
    case 17:
      return "where(i < " + number(0, 90) + ", i, 2 * j)" + comparison() +
             number(0, 150);
    case 18:
      return "i * j" + comparison() + number(0, 5000);
    default:
      return number(-3, 3) + " * i + " + number(-3, 3) + " * j" + comparison() +
             number(-50, 150);
    }
  }

  std::mt19937 random;
};

} // namespace fovea::test

#endif // FOVEA_TEST_UNIT_ANALYSIS_MASKDRAWER_H
