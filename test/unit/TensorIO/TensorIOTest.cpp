// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensor files: what is written is read back, and no malformed file does more
// than give an error that names the file and the byte.

#include "compiler/TensorIO/TensorIO.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/Compression.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

using namespace fovea;
using llvm::Expected;
using llvm::StringRef;

namespace {

FileTensor makeTensor(StringRef name, StringRef dtype,
                      llvm::ArrayRef<int64_t> shape) {
  FileTensor tensor =
      llvm::cantFail(FileTensor::create(name, *lookupDType(dtype), shape));
  int64_t bytes = *denseBytes(shape, tensor.dtype);
  for (int64_t k = 0; k < bytes; ++k)
    tensor.data[k] = dtype == "bool" ? k % 2 : static_cast<char>(7 * k + 1);
  return tensor;
}

void expectSame(const FileTensor &a, const FileTensor &b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.shape, b.shape);
  EXPECT_EQ(packElements(a), packElements(b));
}

/// The message of the error that must have come.
template <typename T> std::string messageOf(Expected<T> result) {
  if (!result)
    return llvm::toString(result.takeError());
  ADD_FAILURE() << "no error";
  return "";
}

std::string npy(StringRef header, StringRef data = "", char version = 1) {
  std::string bytes("\x93NUMPY", 6);
  bytes += version;
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  if (version > 1)
    bytes += std::string(2, '\0');
  return bytes + header.str() + data.str();
}

std::string safetensors(StringRef header, StringRef data = "") {
  std::string bytes;
  for (unsigned k = 0; k != 8; ++k)
    bytes += static_cast<char>(uint64_t(header.size()) >> (8 * k) & 0xff);
  return bytes + header.str() + data.str();
}

TEST(TensorIO, EveryTypeAndShapeComesBack) {
  for (StringRef dtype : {"f16", "bf16", "f32", "f64", "i8", "i16", "i32",
                          "i64", "u8", "u16", "u32", "u64", "bool"})
    for (const std::vector<int64_t> &shape :
         std::vector<std::vector<int64_t>>{{}, {5}, {2, 3, 4}, {3, 0, 2}}) {
      FileTensor tensor = makeTensor("", dtype, shape);
      expectSame(tensor, llvm::cantFail(parseNpy(
                             llvm::cantFail(encodeNpy(tensor)), "t.npy")));
    }
}

TEST(TensorIO, ArchivesKeepNamesAndOrder) {
  FileTensor a = makeTensor("b/first", "bf16", {4, 3}),
             b = makeTensor("a", "i64", {}), c = makeTensor("z", "bool", {7});
  std::string npz = llvm::cantFail(encodeNpz({&a, &b, &c}));
  std::vector<FileTensor> read = llvm::cantFail(parseNpz(npz, "t.npz"));
  ASSERT_EQ(read.size(), 3u);
  expectSame(read[0], a);
  expectSame(read[1], b);
  expectSame(read[2], c);
  read = llvm::cantFail(parseNpz(npz, "t.npz", "a"));
  ASSERT_EQ(read.size(), 1u);
  expectSame(read[0], b);
  EXPECT_EQ(messageOf(parseNpz(npz, "t.npz", "q")),
            "t.npz: byte 0: no tensor 'q'; there are: b/first, a, z");

  std::string safe = llvm::cantFail(encodeSafetensors({&a, &b, &c}));
  read = llvm::cantFail(parseSafetensors(safe, "t.safetensors"));
  ASSERT_EQ(read.size(), 3u);
  expectSame(read[0], b);
  expectSame(read[1], a);
  expectSame(read[2], c);
  read = llvm::cantFail(parseSafetensors(safe, "t.safetensors", "z"));
  ASSERT_EQ(read.size(), 1u);
  expectSame(read[0], c);
}

TEST(TensorIO, StridedTensorsArePacked) {
  FileTensor tensor = makeTensor("", "f32", {3, 2});
  tensor.shape = {2, 3};
  tensor.strides = {1, 2};
  FileTensor read =
      llvm::cantFail(parseNpy(llvm::cantFail(encodeNpy(tensor)), "t.npy"));
  EXPECT_TRUE(read.isRowMajor());
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 3; ++j)
      EXPECT_EQ(std::memcmp(read.data + 4 * (3 * i + j),
                            tensor.data + 4 * (i + 2 * j), 4),
                0);
}

TEST(TensorIO, NumpyHeaders) {
  // As NumPy writes it, and with other spellings; column-major too.
  FileTensor tensor = llvm::cantFail(
      parseNpy(npy("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 2), }"
                   "   \n",
                   StringRef("\1\0\2\0\3\0\4\0", 8)),
               "t.npy"));
  EXPECT_EQ(packElements(tensor), std::string("\1\0\3\0\2\0\4\0", 8));
  EXPECT_EQ(llvm::cantFail(parseNpy(npy("{\"shape\":(),\"descr\":\"bfloat16\","
                                        "\"fortran_order\":False}",
                                        "ab", 3),
                                    "t.npy"))
                .dtype.name,
            "bf16");
}

TEST(TensorIO, MalformedNpy) {
  auto message = [](StringRef bytes) {
    return messageOf(parseNpy(bytes, "t.npy"));
  };
  auto header = [&](StringRef text) { return message(npy(text)); };
  EXPECT_EQ(message(""), "t.npy: byte 0: this is no .npy file: it must begin "
                         "with \\x93NUMPY");
  EXPECT_EQ(message("\x93NUMPY\1"),
            "t.npy: byte 7: the file ends in the .npy preamble");
  EXPECT_EQ(message(npy("", "", 9)),
            "t.npy: byte 6: .npy version 9 is not supported; 1 to 3 are");
  EXPECT_EQ(message(StringRef("\x93NUMPY\1\0\x20\0{", 11)),
            "t.npy: byte 11: the file ends in the .npy header");
  EXPECT_EQ(header("x"), "t.npy: byte 10: expected '{' in the header");
  EXPECT_EQ(header("{'descr': '>f4'"),
            "t.npy: byte 25: big-endian elements are not supported; use "
            "array.astype(array.dtype.newbyteorder('<'))");
  EXPECT_EQ(header("{'descr': [('x', '<f4')]}"),
            "t.npy: byte 20: structured element types are not supported");
  EXPECT_EQ(header("{'descr': '<f4"),
            "t.npy: byte 20: a string in the header does not end");
  EXPECT_EQ(header("{'shape': (-1,)}"),
            "t.npy: byte 21: an extent must be an integer in [0, 2^63)");
  EXPECT_EQ(header("{'shape': (9223372036854775808,)}"),
            "t.npy: byte 21: an extent must be an integer in [0, 2^63)");
  EXPECT_EQ(header("{'shape': (1,), 'shape': (1,)}"),
            "t.npy: byte 34: the key 'shape' is given twice");
  EXPECT_EQ(header("{'shape': (1,)}"),
            "t.npy: byte 25: the header lacks descr, fortran_order or shape");
  EXPECT_EQ(header("{'descr': 'f4', 'fortran_order': 1}"),
            "t.npy: byte 43: fortran_order must be True or False");
  StringRef big = "{'descr': 'f4', 'fortran_order': False, 'shape': "
                  "(4294967296, 4294967296)}";
  EXPECT_EQ(header(big), "t.npy: byte 84: a tensor 4294967296x4294967296 of "
                         "f32 needs 2^63 or more bytes, and 0 follow");
  // An extent of 0 does not hide sizes that overflow.
  EXPECT_EQ(header("{'descr': 'f4', 'fortran_order': False, 'shape': (0, "
                   "4294967296, 4294967296)}"),
            "t.npy: byte 87: a tensor 0x4294967296x4294967296 of f32 needs "
            "2^63 or more bytes, and 0 follow");
  EXPECT_EQ(header("{'descr': 'f4', 'fortran_order': False, 'shape': (3,)}"),
            "t.npy: byte 64: a tensor 3 of f32 needs 12 bytes, and 0 follow");
}

TEST(TensorIO, MalformedSafetensors) {
  auto message = [](StringRef header, StringRef data = "") {
    return messageOf(parseSafetensors(safetensors(header, data), "t"));
  };
  EXPECT_EQ(messageOf(parseSafetensors("abc", "t")),
            "t: byte 3: this is no .safetensors file: it is too short");
  EXPECT_EQ(messageOf(parseSafetensors(std::string(9, '\xff'), "t")),
            "t: byte 0: this is no .safetensors file: a header of "
            "18446744073709551615 bytes, where 1 follow");
  EXPECT_EQ(message(std::string(100000, '[')),
            "t: byte 24: the header nests too deeply");
  EXPECT_TRUE(StringRef(message("{"))
                  .starts_with("t: byte 8: the header is no JSON: "));
  EXPECT_EQ(message("[]"), "t: byte 8: the header is no JSON object");
  EXPECT_EQ(message("{\"a\": 1}"), "t: byte 8: 'a': not a JSON object");
  EXPECT_EQ(message("{\"a\": {\"dtype\": \"F8_E4M3\"}}"),
            "t: byte 8: 'a': the element type 'F8_E4M3' is not supported");
  EXPECT_EQ(message("{\"a\": {\"dtype\": \"F32\", \"shape\": [-1]}}"),
            "t: byte 8: 'a': 'shape' must be an array of at most 32 extents in "
            "[0, 2^63)");
  EXPECT_EQ(message("{\"a\": {\"dtype\": \"F32\", \"shape\": [1], "
                    "\"data_offsets\": [0, 8]}}",
                    "1234"),
            "t: byte 8: 'a': 'data_offsets' must be two offsets into the 4 "
            "bytes of data");
  EXPECT_EQ(message("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], "
                    "\"data_offsets\": [0, 4]}}",
                    "1234"),
            "t: byte 8: 'a': a tensor 2 of f32 needs 8 bytes, and "
            "'data_offsets' gives 4");
}

/// An archive with one deflated tensor, as numpy.savez_compressed makes it.
std::string deflatedNpz(const FileTensor &tensor) {
  std::string contents = llvm::cantFail(encodeNpy(tensor));
  llvm::SmallVector<uint8_t> packed;
  llvm::compression::zlib::compress(llvm::arrayRefFromStringRef(contents),
                                    packed);
  // Without zlib's two bytes before and four after.
  StringRef stream(reinterpret_cast<char *>(packed.data()) + 2,
                   packed.size() - 6);
  FileTensor empty = makeTensor(tensor.name, "f32", {0});
  std::string archive = llvm::cantFail(encodeNpz({&empty}));
  std::string stored = llvm::cantFail(encodeNpy(empty));
  size_t at = archive.find(stored), central = at + stored.size();
  auto patch = [&](size_t offset, uint32_t value, unsigned bytes) {
    std::memcpy(archive.data() + offset, &value, bytes);
  };
  for (size_t fields : {size_t(8), central + 10}) {
    patch(fields, 8, 2); // deflate
    patch(fields + 6, llvm::crc32(llvm::arrayRefFromStringRef(contents)), 4);
    patch(fields + 10, stream.size(), 4);
    patch(fields + 14, contents.size(), 4);
  }
  patch(archive.size() - 6, at + stream.size(), 4); // of the directory
  archive.replace(at, stored.size(), stream.str());
  return archive;
}

TEST(TensorIO, DeflatedNpz) {
  FileTensor tensor = makeTensor("w", "f16", {31, 17});
  std::string archive = deflatedNpz(tensor);
  std::vector<FileTensor> read = llvm::cantFail(parseNpz(archive, "t.npz"));
  ASSERT_EQ(read.size(), 1u);
  expectSame(read[0], tensor);

  // A flipped bit in the stream is seen.
  std::string damaged = archive;
  damaged[60] ^= 4;
  EXPECT_TRUE(StringRef(messageOf(parseNpz(damaged, "t.npz")))
                  .starts_with("t.npz: byte 35: 'w.npy' "));
}

TEST(TensorIO, MalformedNpz) {
  FileTensor tensor = makeTensor("w", "f32", {2});
  std::string archive = llvm::cantFail(encodeNpz({&tensor}));
  EXPECT_EQ(messageOf(parseNpz("", "t.npz")),
            "t.npz: byte 0: this is no .npz file: no zip directory was found");
  std::string damaged = archive;
  damaged[40] ^= 1;
  EXPECT_EQ(messageOf(parseNpz(damaged, "t.npz")),
            "t.npz: byte 35: 'w.npy' is damaged: its checksum differs");
  size_t central = archive.find("PK\1\2");
  damaged = archive;
  damaged[central + 10] = 12; // bzip2
  EXPECT_EQ(messageOf(parseNpz(damaged, "t.npz")),
            "t.npz: byte " + std::to_string(central) +
                ": 'w.npy' has the compression method 12; stored and deflate "
                "are supported");
  damaged = archive;
  damaged[central + 8] = 1;
  EXPECT_EQ(messageOf(parseNpz(damaged, "t.npz")),
            "t.npz: byte " + std::to_string(central) +
                ": 'w.npy' is encrypted");
}

/// Every cut and many changed bytes of a good file: an answer, whatever it is.
/// (AddressSanitizer watches the reading.)
void abuse(std::string good, std::function<bool(StringRef)> parses) {
  ASSERT_TRUE(parses(good));
  for (size_t length = 0; length < good.size(); ++length) {
    // A copy of its own, so that reading past the end is seen.
    std::unique_ptr<char[]> copy(new char[length]);
    std::memcpy(copy.get(), good.data(), length);
    parses(StringRef(copy.get(), length));
  }
  std::mt19937 random(1);
  for (unsigned round = 0; round < 4000; ++round) {
    std::string bad = good;
    for (unsigned k = 0; k <= round % 4; ++k) {
      static constexpr char values[] = {'\0', '\1', '\x7f', '\xff', '9', '{'};
      bad[random() % bad.size()] =
          round % 2 ? values[random() % sizeof(values)] : random();
    }
    parses(bad);
  }
}

template <typename T> bool succeeds(Expected<T> result) {
  if (result)
    return true;
  EXPECT_NE(llvm::toString(result.takeError()).find("byte"), std::string::npos);
  return false;
}

TEST(TensorIO, NoFileCrashesTheReaders) {
  FileTensor a = makeTensor("a", "bf16", {4, 3}),
             b = makeTensor("b", "i64", {2});
  abuse(llvm::cantFail(encodeNpy(a)),
        [](StringRef bytes) { return succeeds(parseNpy(bytes, "t.npy")); });
  abuse(llvm::cantFail(encodeNpz({&a, &b})),
        [](StringRef bytes) { return succeeds(parseNpz(bytes, "t.npz")); });
  abuse(deflatedNpz(a),
        [](StringRef bytes) { return succeeds(parseNpz(bytes, "t.npz")); });
  abuse(llvm::cantFail(encodeSafetensors({&a, &b})), [](StringRef bytes) {
    return succeeds(parseSafetensors(bytes, "t.safetensors"));
  });
}

} // namespace
