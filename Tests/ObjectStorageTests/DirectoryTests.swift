import Foundation
import Glibc
import TestSupport
import Testing

@testable import ObjectStorage

@Suite("A directory as object store")
struct DirectoryTests {
  private final class Folder: Sendable {
    let path: String

    init() throws {
      path = FileManager.default.temporaryDirectory.appending(path: "aloft-directory-\(UUID().uuidString)").path
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  @Test("an upload is somebody's: nobody else can go on with it or discard it meanwhile")
  func locked() async throws {
    let folder = try Folder()
    let store = try DirectoryStore(directory: folder.path)
    var upload: (any ObjectUpload)? = try await store.beginUpload(try ObjectKey("x"))
    let state = try #require(await upload?.state)
    await #expect(throws: ObjectStoreError.uploadInUse) { try await store.resumeUpload(state) }
    #expect(try await store.leftovers(before: Date(timeIntervalSinceNow: 3600)).isEmpty)
    await #expect(throws: ObjectStoreError.uploadInUse) {
      try await store.discard(UploadLeftover(id: state.id, key: nil, date: Date()))
    }
    upload = nil
    try await eventually("the lock is given up") { (try? await store.resumeUpload(state)) != nil }
  }

  @Test("what was written but not durable is cut off; what was durable and is lost is noticed")
  func damaged() async throws {
    let folder = try Folder()
    let store = try DirectoryStore(directory: folder.path)
    var state: UploadState?
    do {
      let upload = try await store.beginUpload(try ObjectKey("x"))
      try await upload.append([1, 2, 3], at: 0)
      #expect(try await upload.flush() == 3)
      #expect(try await upload.append([4, 5], at: 3) == 3)
      state = await upload.state
    }
    let kept = try #require(state)
    let file = "\(folder.path)/.uploads/\(kept.id)"
    do {
      let upload = try await found("it can be had again") { try? await store.resumeUpload(kept) }
      #expect(await upload.position == 3)
      #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == Data([1, 2, 3]))
    }
    #expect(truncate(file, 2) == 0)
    try await eventually("the lock is given up, and the damage seen") {
      do throws(ObjectStoreError) {
        _ = try await store.resumeUpload(kept)
        return false
      } catch { return error == .uploadDamaged }
    }
  }

  @Test("keys that leave the directory or hide in it are none")
  func keys() throws {
    for key in ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", ".uploads/x", "a/.b", "a b", "a\n", "ü", "a\\b"] {
      #expect(throws: ObjectStoreError.self, "\(key)") { try ObjectKey(key) }
    }
    #expect(throws: ObjectStoreError.self) { try ObjectKey(String(repeating: "a", count: 256)) }
    _ = try ObjectKey(String(repeating: "a", count: 255) + "/b.C_d-9")
  }

  @Test("an object cannot be the folder of another, and says so")
  func folders() async throws {
    let folder = try Folder()
    let store = try DirectoryStore(directory: folder.path)
    try await store.put(try ObjectKey("a"), [1])
    try await store.put(try ObjectKey("b/c"), [1])
    await #expect(throws: ObjectStoreError.invalidKey("a/b")) { try await store.put(try ObjectKey("a/b"), [1]) }
    await #expect(throws: ObjectStoreError.invalidKey("b")) { try await store.put(try ObjectKey("b"), [1]) }
    await #expect(throws: ObjectStoreError.notFound(try ObjectKey("b"))) { try await store.stat(try ObjectKey("b")) }
    await #expect(throws: ObjectStoreError.notFound(try ObjectKey("a/b"))) {
      try await store.read(try ObjectKey("a/b"))
    }
    try await store.delete(try ObjectKey("b"))
    #expect(try await store.list().objects.map(\.key.text) == ["a", "b/c"])
  }

  @Test("folders go with their last object, also while others put objects there")
  func emptiedFolders() async throws {
    let folder = try Folder()
    let store = try DirectoryStore(directory: folder.path)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<4 {
        group.addTask {
          for round in 0..<10 {
            let key = try ObjectKey("some/where/\(task)-\(round)")
            try await store.put(key, [1])
            try await store.delete(key)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/some"))
  }

  @Test(
    "a full disk is said, and the upload goes on when there is room",
    .enabled("mounting is not permitted here") { await TemporaryFileSystem.isPermitted() })
  func full() async throws {
    let folder = try Folder()
    let disk = try await TemporaryFileSystem(at: folder.path + "/disk", mebibytes: 8)
    let bytes = content(4 << 20)
    try await { () async throws in
      let store = try DirectoryStore(directory: disk.path)
      let upload = try await store.beginUpload(try ObjectKey("x"), size: Int64(bytes.count))
      try await upload.append(Array(bytes.prefix(1 << 20)), at: 0)
      try await upload.flush()
      try disk.fill()
      await #expect(throws: ObjectStoreError.storeFull) {
        try await upload.append(Array(bytes.dropFirst(1 << 20)), at: 1 << 20)
      }
      #expect(await upload.position == 1 << 20)
      disk.free()
      try await upload.append(Array(bytes.dropFirst(1 << 20)), at: 1 << 20)
      _ = try await upload.finish(size: Int64(bytes.count), sha256: RunningHash.hexadecimal(of: bytes))
      try await store.verify(try ObjectKey("x"), size: Int64(bytes.count), sha256: RunningHash.hexadecimal(of: bytes))
    }()
    try await disk.unmount()
  }

  @Test("no directory, no store")
  func absent() {
    #expect(throws: ObjectStoreError.self) { try DirectoryStore(directory: "/nonexistent") }
    #expect(throws: ObjectStoreError.self) { try DirectoryStore(directory: "/etc/passwd") }
  }
}
