import Foundation
import JSON
import TestSupport
import Testing

@testable import ObjectStorage

/// What both kinds of store promise.
@Suite("Object stores")
struct StoreTests {
  @Test("gives back what was put, whole and in parts", arguments: TestStore.Kind.allCases)
  func roundTrip(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind, keyPrefix: "shared/place/")
    let store = test.store
    for size in [0, 1, 100_000, 12 << 20] {
      let key = try ObjectKey("images/of-\(size).img")
      let bytes = content(size)
      let info = try await store.put(key, bytes)
      #expect(info.size == Int64(size))
      #expect(try await store.stat(key).size == Int64(size))
      #expect(abs(try await store.stat(key).modified.timeIntervalSinceNow) < 3600)
      #expect(try await store.read(key).collect() == bytes)
      try await store.verify(key, size: Int64(size), sha256: RunningHash.hexadecimal(of: bytes))
    }
    let key = try ObjectKey("images/of-100000.img")
    let bytes = content(100_000)
    for range in [0..<1, 99_999..<100_000, 500..<70_000, 99_000..<200_000, 0..<0] as [Range<Int64>] {
      let part = try await store.read(key, range: range).collect()
      #expect(part == Array(bytes[Int(range.lowerBound)..<min(100_000, Int(range.upperBound))]))
    }
    await #expect(throws: ObjectStoreError.rangeNotSatisfiable(size: 100_000)) {
      try await store.read(key, range: 100_000..<100_001)
    }
  }

  @Test(
    "nothing has its name before it is finished; another upload replaces it whole", arguments: TestStore.Kind.allCases)
  func visibility(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind)
    let (store, key) = (test.store, try ObjectKey("a/b/c"))
    let first = content(11 << 20)
    let upload = try await store.beginUpload(key)
    try await upload.append(first, at: 0)
    try await upload.flush()
    await #expect(throws: ObjectStoreError.notFound(key)) { try await store.stat(key) }
    await #expect(throws: ObjectStoreError.notFound(key)) { try await store.read(key) }
    #expect(try await store.list().objects.isEmpty)
    _ = try await upload.finish(size: 11 << 20, sha256: await upload.sha256)
    #expect(try await store.list().objects.map(\.key) == [key])
    await #expect(throws: ObjectStoreError.unknownUpload) { try await upload.append([1], at: 11 << 20) }

    try await store.put(key, [1, 2, 3])
    #expect(try await store.read(key).collect() == [1, 2, 3])
    try await store.delete(key)
    try await store.delete(key)
    await #expect(throws: ObjectStoreError.notFound(key)) { try await store.stat(key) }
    try await store.put(key, [4])
    #expect(try await store.read(key).collect() == [4])
  }

  @Test(
    "an upload that is cut at every tenth goes on in another process where it was", arguments: TestStore.Kind.allCases)
  func resumed(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind)
    let key = try ObjectKey("backup")
    let bytes = content(23 << 20)
    let size = Int64(bytes.count)
    let tenth = bytes.count / 10
    var state = try await test.store.beginUpload(key, size: size).state
    var sent = 0
    for cut in 1...10 {
      let store = try test.reopened()
      // As it comes out of a database.
      state = try JSONCoder.decode(UploadState.self, from: try JSONCoder.encode(state))
      #expect(try JSONCoder.encode(state).count < 2000)
      let upload = try await store.takeOver(state)
      #expect(await upload.position == state.durableBytes)
      var position = Int(state.durableBytes)
      let end = cut == 10 ? bytes.count : tenth * cut
      while position < end {
        let next = min(position + 1_000_003, end)
        try await upload.append(Array(bytes[position..<next]), at: Int64(position))
        sent += next - position
        position = next
      }
      if kind == .directory { try await upload.flush() }
      state = await upload.state
    }
    #expect(state.durableBytes == size)
    // At most a part was sent twice for each cut.
    #expect(sent <= bytes.count + (kind == .directory ? 0 : 10 * (5 << 20)))
    let last = try await test.reopened().takeOver(state)
    let info = try await last.finish(size: size, sha256: RunningHash.hexadecimal(of: bytes))
    #expect(info.size == size)
    try await test.store.verify(key, size: size, sha256: RunningHash.hexadecimal(of: bytes))
    await #expect(throws: ObjectStoreError.unknownUpload) { try await test.reopened().resumeUpload(state) }
  }

  @Test("wrong offsets, sizes and checksums are refused, and the upload goes on", arguments: TestStore.Kind.allCases)
  func refused(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind)
    let key = try ObjectKey("x")
    let bytes = content(6 << 20)
    let upload = try await test.store.beginUpload(key, size: Int64(bytes.count))
    await #expect(throws: ObjectStoreError.wrongOffset(expected: 0)) { try await upload.append([1], at: 1) }
    await #expect(throws: ObjectStoreError.tooLarge(limit: 6 << 20)) { try await upload.append(bytes + [1], at: 0) }
    try await upload.append(Array(bytes.dropLast()), at: 0)
    let digest = RunningHash.hexadecimal(of: bytes)
    await #expect(throws: ObjectStoreError.sizeMismatch(expected: 6 << 20, actual: 6 << 20 - 1)) {
      try await upload.finish(size: 6 << 20, sha256: digest)
    }
    try await upload.append(Array(bytes.suffix(1)), at: 6 << 20 - 1)
    let other = String(repeating: "0", count: 64)
    await #expect(throws: ObjectStoreError.checksumMismatch(expected: other, actual: digest)) {
      try await upload.finish(size: 6 << 20, sha256: other)
    }
    await #expect(throws: ObjectStoreError.notFound(key)) { try await test.store.stat(key) }
    _ = try await upload.finish(size: 6 << 20, sha256: digest.uppercased())
    await #expect(throws: ObjectStoreError.checksumMismatch(expected: other, actual: digest)) {
      try await test.store.verify(key, size: 6 << 20, sha256: other)
    }
  }

  @Test(
    "an aborted upload leaves nothing; what nobody finished is listed and discarded", arguments: TestStore.Kind.allCases
  )
  func leftovers(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind, keyPrefix: "mine/")
    let store = test.store
    let bytes = content(5 << 20)
    let aborted = try await store.beginUpload(try ObjectKey("aborted"))
    try await aborted.append(bytes, at: 0)
    try await aborted.abort()
    #expect(try await store.leftovers(before: Date(timeIntervalSinceNow: 3600)).isEmpty)

    var state: UploadState?
    do {
      let dropped = try await store.beginUpload(try ObjectKey("folder/dropped"))
      try await dropped.append(bytes, at: 0)
      try await dropped.flush()
      state = await dropped.state
    }
    let lost = try #require(state)
    // In 2001: moto says of every upload that it was begun in 2010.
    #expect(try await store.leftovers(before: Date(timeIntervalSince1970: 1_000_000_000)).isEmpty)
    let found = try await found("the leftover") {
      let found = try await store.leftovers(before: Date(timeIntervalSinceNow: 3600))
      return found.isEmpty ? nil : found
    }
    #expect(found.count == 1)
    if kind != .directory { #expect(found.first?.key == lost.key) }
    let leftover = try #require(found.first)
    try await store.discard(leftover)
    try await store.discard(leftover)
    #expect(try await store.leftovers(before: Date(timeIntervalSinceNow: 3600)).isEmpty)
    await #expect(throws: ObjectStoreError.unknownUpload) { try await store.resumeUpload(lost) }
  }

  @Test("lists by prefix, in order, page by page", arguments: TestStore.Kind.allCases)
  func list(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind, keyPrefix: "mine/")
    let store = test.store
    let names = ["a-b", "a/b", "a/b-c", "a/c/d", "a.b", "b", "images/1", "images/2", "images/3"]
    for name in names { try await store.put(try ObjectKey(name), Array(name.utf8)) }
    func list(_ prefix: String, limit: Int) async throws -> [String] {
      var (all, next): ([String], String?) = ([], nil)
      repeat {
        let page = try await store.list(prefix: prefix, continuation: next, limit: limit)
        #expect(page.objects.count <= limit)
        #expect(page.objects.allSatisfy { $0.size == Int64($0.key.text.utf8.count) })
        all += page.objects.map(\.key.text)
        next = page.next
      } while next != nil
      return all
    }
    for limit in [1, 2, 1000] {
      #expect(try await list("", limit: limit) == names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
      #expect(try await list("images/", limit: limit) == ["images/1", "images/2", "images/3"])
      #expect(try await list("a/b", limit: limit) == ["a/b", "a/b-c"])
      #expect(try await list("none", limit: limit) == [])
    }
  }

  @Test(
    "two calls of one upload at a time: one is refused or both are done, never mixed",
    arguments: TestStore.Kind.allCases)
  func concurrent(kind: TestStore.Kind) async throws {
    let test = try await TestStore.make(kind)
    let bytes = content(5 << 20)
    let upload = try await test.store.beginUpload(try ObjectKey("x"))
    let taken = await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<4 {
        group.addTask { (try? await upload.append(bytes, at: 0)) != nil }
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(taken == 1)
    _ = try await upload.finish(size: 5 << 20, sha256: RunningHash.hexadecimal(of: bytes))
    #expect(try await test.store.read(try ObjectKey("x")).collect() == bytes)
  }
}
