import Foundation
import TestSupport
import Testing

@testable import DiskImages

/// Images that qemu-img makes, looked at by the confined inspector.
@Suite("Images of qemu-img")
struct QEMUImageTests {
  /// A raw disk with a partition table, text that compresses well, noise that does not, and holes.
  private static func disk(in folder: Folder, bytes: Int = 6 << 20) throws -> String {
    var content = [UInt8](repeating: 0, count: bytes)
    content[450] = 0x83
    content[510] = 0x55
    content[511] = 0xAA
    for index in 1 << 20..<2 << 20 { content[index] = UInt8(truncatingIfNeeded: index % 251) }
    var random = SeededRandom(seed: 7)
    for index in stride(from: 4 << 20, to: 5 << 20, by: 8) {
      let value = random.next()
      for byte in 0..<8 { content[index + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
    }
    return try folder.file("disk.raw", content)
  }

  @Test(
    "what `qemu-img convert` makes is accepted",
    arguments: [
      "compat=0.10", "compat=1.1", "cluster_size=2M", "cluster_size=512", "lazy_refcounts=on", "extended_l2=on",
      "extended_l2=on,cluster_size=2M", "refcount_bits=1", "refcount_bits=64", "compression_type=zstd",
      "preallocation=metadata", "preallocation=falloc", "preallocation=full", "compat=0.10,cluster_size=4k",
    ], [false, true])
  func converted(options: String, compressed: Bool) async throws {
    let folder = try Folder()
    let disk = try Self.disk(in: folder)
    let image = folder.path + "/disk.qcow2"
    if compressed && options.contains("prealloc") { return }
    try await run(["qemu-img", "convert", "-O", "qcow2", "-o", options] + (compressed ? ["-c"] : []) + [disk, image])
    let inspection = try await inspector.inspect(path: image)
    let report = try inspection.verdict.get()
    #expect(report.format == .qcow2)
    #expect(report.version == (options.contains("0.10") ? 2 : 3))
    #expect(report.virtualSize == 6 << 20)
    #expect(report.allocatedBytes >= 2 << 20)
    #expect(report.allocatedBytes <= 6 << 20)
    #expect(report.hasLazyRefcounts == options.contains("lazy"))
    #expect(report.hasExtendedL2 == options.contains("extended"))
    #expect(report.isCompressed == compressed)
    let isOpaque = compressed && options.contains("zstd")
    #expect(report.partitionTable == (isOpaque ? .unknown : .mbr))
    #expect(inspection.peakResidentBytes < 64 << 20)
  }

  @Test("what `qemu-img create` makes is accepted, of every size", arguments: ["512", "1000k", "1G", "2T", "16T"])
  func created(size: String) async throws {
    let folder = try Folder()
    let image = folder.path + "/disk.qcow2"
    try await run("qemu-img", "create", "-f", "qcow2", image, size)
    let report = try await inspector.inspect(path: image).verdict.get()
    #expect(report.allocatedBytes == 0)
    #expect(report.partitionTable == .none)
    // More than ext4 has in one file.
    guard size != "16T" else { return }
    try await run("qemu-img", "create", "-f", "raw", image, size)
    #expect(try await inspector.inspect(path: image).verdict.get().format == .raw)
  }

  @Test("an image that was written to, discarded from, grown and shrunk is accepted")
  func used() async throws {
    let folder = try Folder()
    let image = folder.path + "/disk.qcow2"
    try await run("qemu-img", "create", "-f", "qcow2", image, "64M")
    try await run(
      "qemu-io", "-f", "qcow2", "-d", "unmap", "-c", "write 0 1M", "-c", "write 30M 100k", "-c", "write 63M 1M", "-c",
      "write -z 31M 1M", "-c",
      "discard 0 512k", "-c", "write 4k 4k", image)
    try await run("qemu-img", "resize", image, "1G")
    #expect(try await inspector.inspect(path: image).verdict.get().virtualSize == 1 << 30)
    try await run("qemu-img", "resize", "--shrink", image, "32M")
    #expect(try await inspector.inspect(path: image).verdict.get().virtualSize == 32 << 20)
  }

  @Test("a fragmented image whose tables have no order is accepted")
  func fragmented() async throws {
    let folder = try Folder()
    let image = folder.path + "/disk.qcow2"
    try await run("qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=4k", image, "1G")
    var random = SeededRandom(seed: 11)
    let writes = (0..<300).flatMap { _ in ["-c", "write \(random.next() % (1 << 18) * 4096) 4k"] }
    try await run(["qemu-io", "-f", "qcow2"] + writes + [image])
    let report = try await inspector.inspect(path: image).verdict.get()
    #expect((290...300).contains(report.allocatedClusters ?? 0))
  }

  private static let unusable: [(name: String, code: ImageRefusal.Code, commands: [String])] = [
    ("backing file", .backingFile, ["create -f raw base 1M", "create -f qcow2 -b base -F raw image"]),
    ("data file", .dataFile, ["create -f qcow2 -o data_file=other image 1M"]),
    ("raw data file", .dataFile, ["create -f qcow2 -o data_file=other,data_file_raw=on image 1M"]),
    ("snapshot", .internalSnapshots, ["create -f qcow2 image 1M", "snapshot -c before image"]),
    ("bitmap", .bitmaps, ["create -f qcow2 image 1M", "bitmap --add image changes"]),
    (
      "LUKS", .encrypted,
      [
        "create --object secret,id=k,data=abc -f qcow2 -o encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10 image 1M"
      ]
    ),
    (
      "LUKS container", .foreignFormat,
      ["create --object secret,id=k,data=abc -f luks -o key-secret=k,iter-time=10 image 1M"]
    ),
    ("too large", .virtualSizeTooLarge, ["create -f qcow2 image 17T"]),
    ("vmdk", .foreignFormat, ["create -f vmdk image 1M"]),
    ("vmdk descriptor", .foreignFormat, ["create -f vmdk -o subformat=monolithicFlat image 1M"]),
    ("vdi", .foreignFormat, ["create -f vdi image 1M"]),
    ("vpc", .foreignFormat, ["create -f vpc image 1M"]),
    ("fixed vpc", .foreignFormat, ["create -f vpc -o subformat=fixed image 1M"]),
    ("vhdx", .foreignFormat, ["create -f vhdx image 1M"]),
    ("qed", .foreignFormat, ["create -f qed image 1M"]),
    ("qcow", .foreignFormat, ["create -f qcow image 1M"]),
    ("parallels", .foreignFormat, ["create -f parallels image 1M"]),
  ]

  @Test("what takes data from elsewhere, hides some or is of another kind is refused", arguments: unusable.indices)
  func refused(index: Int) async throws {
    let (name, code, commands) = Self.unusable[index]
    let folder = try Folder()
    for command in commands {
      let words = command.split(separator: " ").joined(separator: "' '")
      try await run("sh", "-c", "cd \(folder.path) && qemu-img '\(words)'")
    }
    guard case .failure(let refusal) = try await inspector.inspect(path: folder.path + "/image").verdict else {
      Issue.record("\(name) was accepted")
      return
    }
    #expect(refusal.code == code, "\(name): \(refusal)")
  }

  @Test("a good image that is cut anywhere is refused, as raw at the most")
  func cut() async throws {
    let folder = try Folder()
    let image = folder.path + "/disk.qcow2"
    try await run("qemu-img", "convert", "-c", "-O", "qcow2", try Self.disk(in: folder), image)
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: image)))
    for tenth in 1..<10 {
      let part = Array(bytes.prefix(bytes.count * tenth / 10))
      #expect(throws: ImageRefusal.self, "\(tenth)0 %") { try DiskImage.inspect(MemoryImageSource(part)) }
    }
  }
}
