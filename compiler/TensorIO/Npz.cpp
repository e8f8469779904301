// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// NumPy's .npz: a zip archive of .npy files, stored or deflated.

#include "compiler/TensorIO/ByteReader.h"
#include "compiler/TensorIO/TensorIO.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/Compression.h"

#include <cstring>

using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;

namespace fovea {
namespace {

constexpr uint32_t localMagic = 0x04034b50, centralMagic = 0x02014b50,
                   endMagic = 0x06054b50;
constexpr uint64_t localBytes = 30, centralBytes = 46, endBytes = 22;
constexpr uint16_t methodStored = 0, methodDeflate = 8;
/// No deflate stream expands by more.
constexpr uint64_t maxExpansion = 1032;
constexpr uint32_t zip64Marker = 0xffffffff;

uint32_t crcOf(StringRef bytes) {
  return llvm::crc32(llvm::arrayRefFromStringRef(bytes));
}

struct Entry {
  StringRef name;
  uint64_t offset = 0; // of the entry in the central directory
  uint16_t method = 0;
  uint32_t crc = 0;
  uint64_t packed = 0, size = 0, local = 0;
};

/// Zip64 keeps, in the extra field, the numbers that do not fit 32 bits.
bool readZip64(const ByteReader &reader, uint64_t at, uint64_t end,
               Entry &entry) {
  while (end - at >= 4) {
    uint16_t id = reader.get<uint16_t>(at);
    uint64_t length = reader.get<uint16_t>(at + 2);
    at += 4;
    if (length > end - at)
      return false;
    uint64_t stop = at + length;
    if (id == 1) {
      for (uint64_t *field : {&entry.size, &entry.packed, &entry.local}) {
        if (*field != zip64Marker)
          continue;
        if (stop - at < 8)
          return false;
        *field = reader.get<uint64_t>(at);
        at += 8;
      }
      return true;
    }
    at = stop;
  }
  return true;
}

/// The entries of the central directory.
Expected<SmallVector<Entry>> readDirectory(const ByteReader &reader) {
  // The end record stands before a comment of at most 65,535 bytes.
  uint64_t size = reader.size();
  std::optional<uint64_t> found;
  for (uint64_t back = endBytes; back <= endBytes + 0xffff && back <= size;
       ++back)
    if (reader.get<uint32_t>(size - back) == endMagic) {
      found = size - back;
      break;
    }
  if (!found)
    return reader.error(0, "this is no .npz file: no zip directory was found");
  unsigned count = reader.get<uint16_t>(*found + 10);
  uint64_t at = reader.get<uint32_t>(*found + 16);
  SmallVector<Entry> entries;
  for (unsigned k = 0; k != count; ++k) {
    if (!reader.has(at, centralBytes) ||
        reader.get<uint32_t>(at) != centralMagic)
      return reader.error(std::min(at, size),
                          "the zip directory is damaged or cut");
    uint64_t nameBytes = reader.get<uint16_t>(at + 28),
             extraBytes = reader.get<uint16_t>(at + 30),
             commentBytes = reader.get<uint16_t>(at + 32);
    uint64_t total = centralBytes + nameBytes + extraBytes + commentBytes;
    if (!reader.has(at, total))
      return reader.error(at, "the zip directory is damaged or cut");
    Entry entry;
    entry.offset = at;
    entry.name = reader.slice(at + centralBytes, nameBytes);
    entry.method = reader.get<uint16_t>(at + 10);
    entry.crc = reader.get<uint32_t>(at + 16);
    entry.packed = reader.get<uint32_t>(at + 20);
    entry.size = reader.get<uint32_t>(at + 24);
    entry.local = reader.get<uint32_t>(at + 42);
    uint64_t extra = at + centralBytes + nameBytes;
    if (!readZip64(reader, extra, extra + extraBytes, entry))
      return reader.error(extra, "the zip64 field is damaged");
    if (reader.get<uint16_t>(at + 8) & 1)
      return reader.error(at, "'" + entry.name + "' is encrypted");
    entries.push_back(entry);
    at += total;
  }
  return entries;
}

/// The bytes of a deflate stream that must give `size` bytes. LLVM offers
/// zlib's format only, which adds two bytes before and a checksum after. The
/// checksum is not known here, so that zlib always ends with an error; how much
/// it wrote, and the archive's CRC-32, tell whether all went well.
bool inflate(StringRef stream, char *out, uint64_t size) {
  std::string wrapped = "\x78\x01";
  wrapped += stream;
  size_t written = size;
  llvm::consumeError(llvm::compression::zlib::decompress(
      llvm::arrayRefFromStringRef(wrapped), reinterpret_cast<uint8_t *>(out),
      written));
  return written == size;
}

/// The bytes of the entry: in the file, or in `buffer`.
Expected<StringRef> readEntry(const ByteReader &reader, const Entry &entry,
                              std::unique_ptr<char[]> &buffer) {
  if (!reader.has(entry.local, localBytes) ||
      reader.get<uint32_t>(entry.local) != localMagic)
    return reader.error(entry.offset,
                        "'" + entry.name + "' points to no zip entry");
  uint64_t data = entry.local + localBytes +
                  reader.get<uint16_t>(entry.local + 26) +
                  reader.get<uint16_t>(entry.local + 28);
  if (!reader.has(data, entry.packed))
    return reader.error(entry.local,
                        "'" + entry.name + "' reaches past the file's end");
  StringRef packed = reader.slice(data, entry.packed), result = packed;
  if (entry.method == methodDeflate) {
    if (!llvm::compression::zlib::isAvailable())
      return reader.error(entry.local,
                          "'" + entry.name +
                              "' is compressed, and this build has no zlib; "
                              "write it with numpy.savez");
    if (entry.size / maxExpansion > entry.packed + 1)
      return reader.error(entry.offset, "'" + entry.name +
                                            "' claims to expand more than "
                                            "deflate can");
    buffer.reset(new (std::nothrow) char[entry.size + 1]);
    if (!buffer)
      return reader.error(entry.offset, "no memory for '" + entry.name + "'");
    if (!inflate(packed, buffer.get(), entry.size))
      return reader.error(data, "'" + entry.name + "' cannot be decompressed");
    result = StringRef(buffer.get(), entry.size);
  } else if (entry.method != methodStored) {
    return reader.error(entry.offset, "'" + entry.name +
                                          "' has the compression method " +
                                          llvm::Twine(entry.method) +
                                          "; stored and deflate are supported");
  } else if (entry.size != entry.packed) {
    return reader.error(entry.offset,
                        "'" + entry.name + "' is stored, with two sizes");
  }
  if (crcOf(result) != entry.crc)
    return reader.error(data, "'" + entry.name +
                                  "' is damaged: its checksum differs");
  return result;
}

} // namespace

Expected<std::vector<FileTensor>> parseNpz(StringRef bytes, StringRef file,
                                           StringRef key) {
  ByteReader reader(bytes, file);
  Expected<SmallVector<Entry>> entries = readDirectory(reader);
  if (!entries)
    return entries.takeError();
  std::vector<FileTensor> tensors;
  std::string names;
  for (const Entry &entry : *entries) {
    StringRef name = entry.name;
    name.consume_back(".npy");
    names += (names.empty() ? "" : ", ") + name.str();
    if (!key.empty() && name != key)
      continue;
    std::unique_ptr<char[]> buffer;
    Expected<StringRef> contents = readEntry(reader, entry, buffer);
    if (!contents)
      return contents.takeError();
    Expected<FileTensor> tensor =
        parseNpy(*contents, (file + "(" + entry.name + ")").str());
    if (!tensor)
      return tensor.takeError();
    tensor->name = name.str();
    tensors.push_back(std::move(*tensor));
  }
  if (!key.empty() && tensors.empty())
    return reader.error(0, "no tensor '" + key + "'; there are: " + names);
  return tensors;
}

Expected<std::string> encodeNpz(llvm::ArrayRef<const FileTensor *> tensors) {
  std::string bytes, directory;
  auto put = [](std::string &to, uint64_t value, unsigned count) {
    for (unsigned k = 0; k != count; ++k)
      to += static_cast<char>(value >> (8 * k) & 0xff);
  };
  for (const FileTensor *tensor : tensors) {
    Expected<std::string> contents = encodeNpy(*tensor);
    if (!contents)
      return contents.takeError();
    std::string name = tensor->name + ".npy";
    uint64_t offset = bytes.size();
    if (offset + contents->size() >= zip64Marker || tensors.size() > 0xffff)
      return llvm::createStringError(
          std::errc::file_too_large,
          "4 GiB or more do not fit a .npz file; write .safetensors");
    // What the two headers share, from the version needed to the sizes.
    std::string common;
    put(common, 20, 2); // version needed
    put(common, 0, 2);  // flags
    put(common, methodStored, 2);
    put(common, 0, 2);      // time
    put(common, 0x0021, 2); // 1 January 1980
    put(common, crcOf(*contents), 4);
    put(common, contents->size(), 4);
    put(common, contents->size(), 4);
    put(common, name.size(), 2);
    put(common, 0, 2); // extra
    put(bytes, localMagic, 4);
    bytes += common + name + *contents;
    put(directory, centralMagic, 4);
    put(directory, 20, 2); // made by
    directory += common;
    put(directory, 0, 2); // comment
    put(directory, 0, 2); // disk
    put(directory, 0, 2); // internal attributes
    put(directory, 0, 4); // external attributes
    put(directory, offset, 4);
    directory += name;
  }
  uint64_t offset = bytes.size();
  bytes += directory;
  put(bytes, endMagic, 4);
  put(bytes, 0, 4); // disks
  put(bytes, tensors.size(), 2);
  put(bytes, tensors.size(), 2);
  put(bytes, directory.size(), 4);
  put(bytes, offset, 4);
  put(bytes, 0, 2); // comment
  return bytes;
}

} // namespace fovea
