import Execution
import Foundation
import HTTPClient
import HTTPTypes
import Logging
import ObjectStorageTestSupport
import TestSupport
import Testing

@testable import ObjectStorage

/// A store of one kind, empty.
final class TestStore: Sendable {
  enum Kind: String, CaseIterable, Sendable { case directory, s3Path, s3VirtualHost }

  let store: any ObjectStore
  let kind: Kind
  private let folder: String?
  private let reopenStore: @Sendable () throws -> any ObjectStore

  /// What an S3 test uses beside the store.
  static let http = HTTPClient(logger: TestLogs.logger("object-storage"))
  static let secret = "secret-\(UUID().uuidString)"
  static let credentials: S3Credentials = {
    TestSecrets.register(secret)
    return S3Credentials(accessKeyID: "AKIATEST", secretAccessKey: secret)
  }()
  /// Real time and chance, without the waiting.
  static let environment = StoreEnvironment(now: { Date() }, sleep: { _ in }, random: { .random(in: .min ... .max) })

  private init(_ kind: Kind, folder: String?, _ open: @escaping @Sendable () throws -> any ObjectStore) throws {
    self.kind = kind
    self.folder = folder
    reopenStore = open
    store = try open()
  }

  deinit { if let folder { try? FileManager.default.removeItem(atPath: folder) } }

  /// The same store as another process would see it.
  func reopened() throws -> any ObjectStore { try reopenStore() }

  static func make(_ kind: Kind, keyPrefix: String = "") async throws -> TestStore {
    switch kind {
    case .directory:
      let folder = FileManager.default.temporaryDirectory.appending(path: "aloft-objects-\(UUID().uuidString)").path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      return try TestStore(kind, folder: folder) { try DirectoryStore(directory: folder) }
    case .s3Path, .s3VirtualHost:
      let configuration = try await s3(kind, keyPrefix: keyPrefix)
      return try TestStore(kind, folder: nil) {
        try S3Store(
          configuration: configuration, credentials: credentials, http: http, environment: environment,
          logger: TestLogs.logger("object-storage"))
      }
    }
  }

  /// A configuration with a new bucket.
  static func s3(_ kind: Kind = .s3Path, keyPrefix: String = "") async throws -> S3Configuration {
    let moto = try await MotoServer.running()
    let bucket = try await moto.makeBucket(http)
    return S3Configuration(
      endpoint: kind == .s3Path ? moto.endpoint : "http://s3.localhost:\(moto.port)", bucket: bucket,
      addressing: kind == .s3Path ? .path : .virtualHost, keyPrefix: keyPrefix, partBytes: 5 << 20)
  }
}

/// Bytes that differ everywhere.
func content(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  let words = [UInt64](unsafeUninitializedCapacity: (count + 7) / 8) { buffer, filled in
    for index in buffer.indices {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      buffer[index] = state
    }
    filled = buffer.count
  }
  return words.withUnsafeBytes { Array($0.prefix(count)) }
}

extension ObjectContent {
  /// All of it.
  func collect() async throws -> [UInt8] {
    var all: [UInt8] = []
    for try await bytes in self { all += bytes }
    return all
  }
}

extension ObjectStore {
  /// Goes on with an upload as soon as who had it before has let go of it.
  func takeOver(_ state: UploadState) async throws -> any ObjectUpload {
    try await found("the upload is free") {
      do throws(ObjectStoreError) { return try await resumeUpload(state) } catch .uploadInUse { return nil }
    }
  }

  /// Uploads all at once.
  @discardableResult
  func put(_ key: ObjectKey, _ bytes: [UInt8]) async throws -> ObjectInfo {
    let upload = try await beginUpload(key, size: Int64(bytes.count))
    try await upload.append(bytes, at: 0)
    return try await upload.finish(size: Int64(bytes.count), sha256: RunningHash.hexadecimal(of: bytes))
  }
}
