import Execution
import Foundation
import HTTPClient
import ObjectStorageTestSupport
import TestSupport
import Testing

@testable import ObjectStorage

@Suite("S3 as object store")
struct S3Tests {
  private struct Fixture {
    let moto: MotoServer
    let configuration: S3Configuration
    let store: S3Store
    /// How long it wanted to wait, each time.
    let pauses: Lock<[Duration]>
  }

  private static func fixture(_ change: (inout S3Configuration) -> Void = { _ in }) async throws -> Fixture {
    var configuration = try await TestStore.s3()
    change(&configuration)
    let pauses = Lock<[Duration]>([])
    let environment = StoreEnvironment(
      now: { Date() }, sleep: { pause in pauses.withLock { $0.append(pause) } }, random: { 0 })
    let store = try S3Store(
      configuration: configuration, credentials: TestStore.credentials, http: TestStore.http, environment: environment,
      logger: TestLogs.logger("object-storage"))
    return Fixture(moto: try await MotoServer.running(), configuration: configuration, store: store, pauses: pauses)
  }

  @Test("a store that is slow or down for a while is asked again, ever more slowly", arguments: [500, 503])
  func retried(status: Int) async throws {
    let test = try await Self.fixture()
    let bytes = content(11 << 20)
    try await test.moto.fail(2, status: status, match: "\(test.configuration.bucket)/x?partNumber=2", TestStore.http)
    try await test.store.put(try ObjectKey("x"), bytes)
    #expect(test.pauses.withLock { $0 } == [.milliseconds(200), .milliseconds(400)])
    #expect(try await test.store.read(try ObjectKey("x")).collect() == bytes)
  }

  @Test("a store that stays down is unavailable; the upload goes on later where it was durable")
  func down() async throws {
    let test = try await Self.fixture { $0.attempts = 3 }
    let bytes = content(12 << 20)
    let upload = try await test.store.beginUpload(try ObjectKey("x"), size: Int64(bytes.count))
    try await test.moto.fail(3, status: 503, match: "\(test.configuration.bucket)/x?partNumber=2", TestStore.http)
    let error = await #expect(throws: ObjectStoreError.self) { try await upload.append(bytes, at: 0) }
    guard case .unavailable = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(test.pauses.withLock { $0.count } == 2)
    let position = await upload.position
    #expect(position == 5 << 20)
    try await upload.append(Array(bytes[Int(position)...]), at: position)
    _ = try await upload.finish(size: Int64(bytes.count), sha256: RunningHash.hexadecimal(of: bytes))
    #expect(try await test.store.read(try ObjectKey("x")).collect() == bytes)
  }

  @Test("a download whose connection breaks goes on at the byte where it was")
  func broken() async throws {
    let test = try await Self.fixture()
    let bytes = content(9 << 20)
    try await test.store.put(try ObjectKey("x"), bytes)
    try await test.moto.fail(2, status: 0, match: "GET /\(test.configuration.bucket)/x", TestStore.http)
    #expect(try await test.store.read(try ObjectKey("x")).collect() == bytes)
    #expect(test.pauses.withLock { $0.count } == 2)
  }

  @Test("a lost answer to the last request is no lost object")
  func finishedTwice() async throws {
    let test = try await Self.fixture()
    let bytes = content(6 << 20)
    let upload = try await test.store.beginUpload(try ObjectKey("x"), size: Int64(bytes.count))
    try await upload.append(bytes, at: 0)
    let other = try await test.store.resumeUpload(await upload.state)
    let digest = RunningHash.hexadecimal(of: bytes)
    _ = try await upload.finish(size: Int64(bytes.count), sha256: digest)
    #expect(try await other.finish(size: Int64(bytes.count), sha256: digest).size == Int64(bytes.count))
    #expect(try await test.store.read(try ObjectKey("x")).collect() == bytes)
  }

  @Test("parts that another process has written over are noticed: on resume, and when it is finished")
  func overwritten() async throws {
    let test = try await Self.fixture()
    let bytes = content(11 << 20)
    let upload = try await test.store.beginUpload(try ObjectKey("x"))
    try await upload.append(bytes, at: 0)
    let state = await upload.state
    #expect(state.durableBytes == 10 << 20)
    // Somebody who began at an older state and sent something else.
    var older = state
    (older.parts, older.durableBytes, older.partsHash, older.hash) = (0, 0, RunningHash(), RunningHash())
    let stranger = try await test.store.resumeUpload(older)
    try await stranger.append(content(5 << 20, seed: 2), at: 0)
    await #expect(throws: ObjectStoreError.uploadDamaged) { try await test.store.resumeUpload(state) }
    await #expect(throws: ObjectStoreError.self) {
      try await upload.finish(size: 11 << 20, sha256: RunningHash.hexadecimal(of: bytes))
    }
    await #expect(throws: ObjectStoreError.notFound(try ObjectKey("x"))) {
      try await test.store.stat(try ObjectKey("x"))
    }
  }

  @Test("an object that is replaced while it is read is not mixed")
  func replaced() async throws {
    let test = try await Self.fixture()
    let bytes = content(8 << 20)
    try await test.store.put(try ObjectKey("x"), bytes)
    let reading = try await test.store.read(try ObjectKey("x"))
    try await test.store.put(try ObjectKey("x"), content(8 << 20, seed: 3))
    await #expect(throws: ObjectStoreError.changed(try ObjectKey("x"))) { try await reading.collect() }
  }

  @Test("a bucket that is not there, an endpoint where nobody is, and settings that cannot be")
  func misconfigured() async throws {
    let absent = try await Self.fixture { $0.bucket = "absent-bucket" }
    await #expect(throws: ObjectStoreError.misconfigured("there is no such bucket")) { try await absent.store.list() }
    let nobody = try await Self.fixture {
      $0.endpoint = "http://127.0.0.1:1"
      $0.attempts = 2
    }
    let error = await #expect(throws: ObjectStoreError.self) { try await nobody.store.stat(try ObjectKey("x")) }
    guard case .unavailable(let reason) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(reason.contains("could not connect"))
    for (endpoint, bucket) in [
      ("127.0.0.1", "bucket"), ("ftp://x", "bucket"), ("http://x/y", "bucket"), ("http://x", "Bucket"),
    ] {
      #expect(throws: ObjectStoreError.self) { try S3Configuration(endpoint: endpoint, bucket: bucket).address() }
    }
    let own = try S3Configuration(endpoint: "https://S3.example:443/", bucket: "abc", addressing: .virtualHost)
      .address()
    #expect(own == ("https", "abc.s3.example", ""))
  }

  @Test("a cancelled request ends")
  func cancelled() async throws {
    let test = try await Self.fixture()
    let store = test.store
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await store.stat(try ObjectKey("x"))
    }
    await #expect(throws: ObjectStoreError.cancelled) { try await task.value }
  }
}
