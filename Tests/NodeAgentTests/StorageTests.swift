import AloftModel
import Crypto
import Foundation
import Testing

@testable import NodeAgent

@Suite("Directory storage")
struct StorageTests {
  let directory: TemporaryDirectory
  let storage: DirectoryStorage
  let content = [UInt8]((0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
  let vm = VMID.sample(1)

  init() async throws {
    directory = try TemporaryDirectory()
    storage = try await DirectoryStorage.open(
      directory.path, options: DirectoryStorage.Options(serialLogBytes: 8192), logger: quietLogger)
  }

  func image(_ content: [UInt8], format: ImageFormat = .raw, sha256: String? = nil)
    -> Assignment.BaseImage
  {
    let digest = SHA256.hash(data: content).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      .joined()
    var image = Assignment.BaseImage.sample
    image.sha256 = sha256 ?? digest
    image.format = format
    image.sizeBytes = content.count
    return image
  }

  /// Serves bytes in small pieces.
  func source(_ content: [UInt8], failure: AgentFailure? = nil) -> ImageSource {
    { _, descriptor, onBytes, progress throws(AgentFailure) in
      var offset = 0
      for piece in stride(from: 0, to: content.count, by: 4096) {
        let bytes = Array(content[piece..<min(piece + 4096, content.count)])
        try FileSystem.writeAll(bytes, to: descriptor, "test")
        onBytes(bytes)
        offset += bytes.count
        progress(offset)
      }
      if let failure { throw failure }
    }
  }

  func names(_ folder: String) -> [String] { FileSystem.names(in: directory.path + folder) }

  @Test("an image with the promised digest is kept under it")
  func fetch() async throws {
    let image = image(content)
    try await storage.local.fetch(image, from: source(content)) { _ in }
    #expect(names("/images") == [image.sha256])
    #expect(await storage.local.hasImage(image.sha256))
  }

  @Test(
    "a pool in a directory of its own is another place; one whose directory is missing is told of, and made by nobody")
  func pools() async throws {
    let other = try TemporaryDirectory()
    let missing = other.path + "/not-mounted"
    let root = directory.path + "/agent"
    let pools = ["fast": other.path, "gone": missing]
    let storage = try await DirectoryStorage.open(root, options: .init(pools: pools), logger: quietLogger)
    let seen = await storage.pools()
    #expect(seen.map(\.name) == ["local", "fast", "gone"])
    #expect(seen[1].problem == nil && seen[1].totalBytes > 0)
    #expect(seen[2].problem?.contains(missing) == true && storage.pool("gone") == nil)
    #expect(!FileSystem.exists(missing))
    let volume = VolumeID.sample(1)
    try await #require(storage.pool("fast")).create(volume, sizeBytes: 1 << 20, from: nil)
    #expect(FileSystem.names(in: other.path + "/volumes") == ["\(volume).json"])
    #expect(try await storage.local.look(volume) == .absent)
    let second = try await DirectoryStorage.open(root, options: .init(pools: ["fast": other.path]), logger: quietLogger)
    #expect(await second.pools()[1].problem?.contains("in use") == true)
    #expect(storage.pool("fast") != nil, "it is held until here")
  }

  @Test("what guests' files and volumes take is measured, holes in them not, and images are not guests'")
  func space() async throws {
    let image = image(content)
    try await storage.local.fetch(image, from: source(content)) { _ in }
    #expect(try await storage.space().guests < 64 << 10)
    try await storage.local.create(.sample(1), sizeBytes: 8 << 30, from: .init(image: image))
    try await storage.createSeed(Seed(.sample()))
    let before = try await storage.space().guests
    try Data(count: 1 << 20).write(to: URL(fileURLWithPath: storage.paths(of: vm).seed))
    let space = try await storage.space()
    #expect(space.guests - before >= 256 << 10 && space.guests < 4 << 20)
    #expect(space.free < space.total)
    let pools = await storage.pools()
    #expect(pools.map(\.name) == ["local"] && pools[0].problem == nil)
    #expect(pools[0].usedBytes >= content.count && pools[0].totalBytes == space.total)
  }

  @Test("an image with another digest is reported as corrupt and not kept")
  func corrupt() async throws {
    let wrong = image(content, sha256: String(repeating: "0", count: 64))
    await #expect { try await storage.local.fetch(wrong, from: source(content)) { _ in } } throws: {
      ($0 as? AgentFailure)?.kind == .imageCorrupt
    }
    #expect(names("/images") == [])
  }

  @Test("a download that breaks leaves nothing")
  func broken() async throws {
    let failure = AgentFailure(.imageUnavailable, "cut")
    await #expect(throws: failure) {
      try await storage.local.fetch(image(content), from: source(content, failure: failure)) { _ in }
    }
    #expect(names("/images") == [])
  }

  @Test("a qcow2 image that refers to another file of the host is refused")
  func backingFile() async throws {
    let path = directory.path + "/evil.qcow2"
    try await Tool.run(
      "qemu-img",
      ["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", path, "1M"])
    let evil = try FileSystem.readAll(path)
    await #expect {
      try await storage.local.fetch(image(evil, format: .qcow2), from: source(evil)) { _ in }
    } throws: {
      ($0 as? AgentFailure)?.kind == .imageCorrupt
    }
    await #expect {
      try await storage.local.fetch(image(content, format: .qcow2), from: source(content)) { _ in }
    } throws: {
      ($0 as? AgentFailure)?.kind == .imageCorrupt
    }
    #expect(names("/images") == [])
  }

  @Test("below the reserve nothing is made, and the detail says how much there is")
  func full() async throws {
    let full = try await DirectoryStorage.open(
      directory.path, options: DirectoryStorage.Options(reserve: .max / 2), logger: quietLogger)
    for attempt in 0..<2 {
      await #expect {
        if attempt == 0 {
          try await full.local.fetch(image(content), from: source(content)) { _ in }
        } else {
          try await full.local.create(.sample(1), sizeBytes: 1 << 30, from: nil)
        }
      } throws: {
        guard let failure = $0 as? AgentFailure else { return false }
        return failure.kind == .diskFull && failure.detail.contains("MiB free")
      }
    }
  }

  @Test("short of space, images that no layer lies over are removed, and those in use stay")
  func makesRoom() async throws {
    let (used, unused) = (image(content), image(content.reversed()))
    try await storage.local.fetch(used, from: source(content)) { _ in }
    try await storage.local.fetch(unused, from: source(content.reversed())) { _ in }
    try await storage.local.create(.sample(1), sizeBytes: 1 << 30, from: .init(image: used))
    let full = try await DirectoryStorage.open(
      directory.path, options: DirectoryStorage.Options(reserve: .max / 2), logger: quietLogger)
    await #expect(throws: AgentFailure.self) {
      try await full.local.fetch(image([1]), from: source([1])) { _ in }
    }
    #expect(names("/images") == [used.sha256])
  }

  @Test("the seed is an ISO labelled cidata with the keys and the user data as they came")
  func seed() async throws {
    var document = Assignment.sample()
    document.userData = "#!/bin/sh\necho \"héllo\" && 'x'\n"
    document.sshKeys = ["ssh-ed25519 AAAA say \"hi\"\\"]
    try await storage.createSeed(Seed(document))
    let iso = storage.paths(of: vm).seed
    let bytes = try FileSystem.readAll(iso)
    #expect(String(decoding: bytes[0x8028..<0x8048], as: UTF8.self).hasPrefix("cidata "))
    #expect(bytes.contains(Array(document.userData.utf8)))
    #expect(bytes.contains(Array("- \"ssh-ed25519 AAAA say \\\"hi\\\"\\\\\"\n".utf8)))
    #expect(names("/vms/\(vm)") == ["seed.iso", "serial.log"])
    #expect(
      try FileManager.default.attributesOfItem(atPath: iso)[.posixPermissions] as? Int == 0o600)
  }

  @Test("removing leaves nothing, may be repeated, and half-made files are gone after a restart")
  func remove() async throws {
    try await storage.createSeed(Seed(.sample()))
    try await storage.remove(vm)
    try await storage.remove(vm)
    #expect(names("/vms") == [])
    try FileManager.default.createDirectory(
      atPath: directory.path + "/vms/.deleted-x", withIntermediateDirectories: true)
    try Data([1]).write(to: URL(fileURLWithPath: directory.path + "/images/.half"))
    _ = try await DirectoryStorage.open(directory.path, logger: quietLogger)
    #expect(names("/vms") == [] && names("/images") == [])
  }

  @Test("two agents cannot use one directory")
  func lock() async throws {
    let path = directory.path + "/data"
    let first = try await DataDirectory.take(path)
    await #expect(throws: AgentFailure.self) { try await DataDirectory.take(path, tries: 2) }
    withExtendedLifetime(first) {}
  }

  @Test("an agent waits for an earlier one whose end takes its time")
  func lateEnd() async throws {
    let path = directory.path + "/data"
    var first: DataDirectory? = try await DataDirectory.take(path)
    async let second = DataDirectory.take(path)
    withExtendedLifetime(first) {}
    first = nil
    #expect(try await second.path == path)
  }

  @Test("a serial log is bounded without moving the bytes that stay, while it is appended to")
  func serialLog() async throws {
    let path = storage.paths(of: vm).serialLog
    try FileManager.default.createDirectory(
      atPath: directory.path + "/vms/\(vm)", withIntermediateDirectories: true)
    let log = try await storage.serialLog(of: vm)
    #expect(try await log.bounds() == 0..<0)
    try Data().write(to: URL(fileURLWithPath: path))
    let writer = try #require(FileHandle(forWritingAtPath: path))
    try writer.write(contentsOf: content)
    try await storage.boundSerialLogs()
    let bounds = try await log.bounds()
    #expect(bounds.upperBound == content.count)
    #expect(
      bounds.lowerBound >= content.count - 8192 - 4096 && bounds.lowerBound <= content.count - 8192)
    #expect(try await log.read(from: bounds.lowerBound, count: 1 << 20) == Array(content[bounds]))
    try writer.write(contentsOf: [1, 2, 3])
    #expect(try await log.read(from: content.count, count: 10) == [1, 2, 3])
    let blocks = try FileManager.default.attributesOfItem(atPath: path)
    #expect(blocks[.size] as? Int == content.count + 3)
  }
}

extension [UInt8] {
  fileprivate func contains(_ part: [UInt8]) -> Bool {
    String(decoding: self, as: UTF8.self).contains(String(decoding: part, as: UTF8.self))
  }
}

extension FileHandle {
  fileprivate func write(contentsOf bytes: [UInt8]) throws { try write(contentsOf: Data(bytes)) }
}
