import AloftModel
import DiskImages
import Foundation
import JSON
import Logging
import ObjectStorage

/// The contents of images: objects `images/<uuid>` of a store that all replicas share, and whoever judges them.
///
/// Invariants:
/// - A content is never changed: another upload makes another object.
/// - An object is some image's only when that image's row names it, which happens behind checksum and judgement. Until then no
///   node gets it.
public struct ImageContents: Sendable {
  static let prefix = "images/"

  let store: any ObjectStore
  private let inspector: ConfinedInspector
  /// Where a content of a store without files is put to be looked at.
  private let scratch: String
  private let turns = InspectionTurns()

  /// - Parameter scratch: a directory with room for the largest image, where the store has no files of its own.
  public init(store: any ObjectStore, inspector: ConfinedInspector, scratch: String = "/var/tmp") {
    self.store = store
    self.inspector = inspector
    self.scratch = scratch
  }

  /// Contents in a directory.
  ///
  /// - Parameter isNew: make the directory if it is not there.
  public init(directory: String, isNew: Bool = true, inspector: ConfinedInspector) throws {
    var isDirectory: ObjCBool = false
    if isNew {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } else if !FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) || !isDirectory.boolValue {
      throw StartFailure("\(directory) is no directory; name the image store that aloftd serve uses")
    }
    self.init(store: try DirectoryStore(directory: directory), inspector: inspector)
  }

  static func key(_ content: UUID) throws -> ObjectKey {
    try ObjectKey(prefix + content.uuidString.lowercased())
  }

  // MARK: Uploads

  func begin(_ content: UUID, size: Int?) async throws -> any ObjectUpload {
    try await Self.telling { try await store.beginUpload(try Self.key(content), size: size.map { Int64($0) }) }
  }

  /// Goes on with an upload; nil when the store has lost it, or has made the object of it. Who calls has the lease: whoever had
  /// it before lets go of the store's upload a moment later.
  func resume(_ state: String) async throws -> (any ObjectUpload)? {
    let state = try Self.state(state)
    return try await Self.telling {
      for _ in 0..<20 {
        do {
          return try await store.resumeUpload(state)
        } catch ObjectStoreError.unknownUpload, ObjectStoreError.uploadDamaged {
          return nil
        } catch ObjectStoreError.uploadInUse {
          try await Task.sleep(for: .milliseconds(50))
        }
      }
      throw ObjectStoreError.uploadInUse
    }
  }

  static func text(of state: UploadState) throws -> String {
    String(decoding: try JSONCoder.encode(state), as: UTF8.self)
  }

  private static func state(_ text: String) throws -> UploadState {
    try JSONCoder.decode(UploadState.self, from: Array(text.utf8))
  }

  /// Removes whatever is left of an upload: its parts, and the object that it became.
  func discard(_ content: UUID, state: String) async {
    // What cannot be removed now is found by the janitor.
    if let upload = try? await resume(state) { try? await upload.abort() }
    await remove(content)
  }

  // MARK: Objects

  /// Nil when there is no such object.
  func stat(_ content: UUID) async throws -> ObjectInfo? {
    try await Self.telling {
      do { return try await store.stat(try Self.key(content)) } catch ObjectStoreError.notFound { return nil }
    }
  }

  func read(_ content: UUID, range: Range<Int64>?) async throws -> ObjectContent {
    try await Self.telling {
      do {
        return try await store.read(try Self.key(content), range: range)
      } catch ObjectStoreError.notFound {
        throw Problem(.unavailable, "the image store does not hold this content now")
      }
    }
  }

  /// What cannot be removed now is found by `check`.
  func remove(_ content: UUID) async {
    if let key = try? Self.key(content) { try? await store.delete(key) }
  }

  /// The contents in the store, with their sizes in bytes.
  func list() async throws -> [UUID: Int] {
    var contents: [UUID: Int] = [:]
    var continuation: String?
    repeat {
      let page = try await store.list(prefix: Self.prefix, continuation: continuation, limit: 1000)
      for object in page.objects {
        guard let id = UUID(uuidString: String(object.key.text.dropFirst(Self.prefix.count))) else { continue }
        contents[id] = Int(object.size)
      }
      continuation = page.next
    } while continuation != nil
    return contents
  }

  /// Removes uploads in the store that were last written to before `date` and that none of `states` goes on with.
  func removeLeftovers(before date: Date, but states: [String]) async throws {
    let kept = Set(states.compactMap { try? Self.state($0).id })
    for leftover in try await store.leftovers(before: date) where !kept.contains(leftover.id) {
      // Somebody may have come back to it.
      try? await store.discard(leftover)
    }
  }

  // MARK: Judgement

  /// What a content is. Throws the ``Problem`` of one that no node may open.
  func judge(_ content: UUID, limits: ImageLimits) async throws -> ImageReport {
    await turns.enter()
    defer { Task { await turns.leave() } }
    let inspection: Inspection
    do throws(InspectionFailure) {
      inspection = try await inspect(content, limits)
    } catch .outOfTime, .died {
      throw Problem.refused(
        "inspection_failed", at: nil,
        "it takes more memory or time to look at than any disk does; convert it anew with `qemu-img convert -O qcow2`")
    } catch {
      throw InspectorFailure(failure: error)
    }
    switch inspection.verdict {
    case .success(let report): return report
    case .failure(let refusal) where refusal.code == .unreadable:
      throw Problem(.unavailable, "the image store cannot be read now; try again")
    case .failure(let refusal): throw Problem.refused(refusal.code.rawValue, at: refusal.offset, refusal.detail)
    }
  }

  private func inspect(_ content: UUID, _ limits: ImageLimits) async throws(InspectionFailure) -> Inspection {
    guard let key = try? Self.key(content) else { throw .notAFile }
    if let path = store.file(of: key) { return try await inspector.inspect(path: path, limits: limits) }
    let file = try await ScratchFile.make(in: scratch)
    do {
      for try await bytes in try await store.read(key) { try await file.append(bytes) }
    } catch let error as ScratchFile.Failure {
      throw .cannotOpen(errno: error.code)
    } catch {
      throw .cannotOpen(errno: EIO)
    }
    return try await inspector.inspect(descriptor: file.descriptor, limits: limits)
  }

  /// Runs `body` and tells what a client can do about it when the store fails.
  static func telling<Value: Sendable>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
  ) async throws -> Value {
    do { return try await body() } catch let error as ObjectStoreError { throw problem(of: error) }
  }

  private static func problem(of error: ObjectStoreError) -> any Error {
    switch error {
    case .storeFull: Problem(.unavailable, "the image store is full; free some room or ask the operator")
    case .unavailable, .accessDenied, .misconfigured:
      Problem(.unavailable, "the image store cannot be reached now; try again, or ask the operator")
    case .uploadInUse: Problem.uploadInUse
    case .cancelled: CancellationError()
    default: error
    }
  }
}

/// `aloft-inspect` could not do its work. A fault of ours, not the image's.
struct InspectorFailure: Error, CustomStringConvertible {
  var failure: InspectionFailure
  var description: String { "an image could not be looked at: \(failure)" }
}

/// How many contents are looked at at once: each is a process that may take memory and a core.
private actor InspectionTurns {
  private var free = 2
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func enter() async {
    if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
  }

  func leave() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}

extension Problem {
  static let uploadInUse = Problem(
    .uploadInUse, "somebody is sending this content now; wait until that ends, or some seconds if it broke off")

  /// An image that no node may open.
  static func refused(_ code: String, at offset: UInt64?, _ detail: String) -> Problem {
    var problem = Problem(.imageInvalid, "\(detail); nothing was kept")
    problem.image = ImageFault(code: code, offset: offset.map { Int(clamping: $0) })
    return problem
  }
}
