import AloftModel
import Foundation
import Postgres

/// An image's content on its way from a node.
///
/// Invariants:
/// - The node sends the same file until all of it is there: it says so (DELETE) before it begins with another one.
/// - Where the content cannot become the image's, the operation fails at once; what may pass by itself is tried again.
struct ImageCapture: Sendable {
  let plane: Plane
  let image: ImageRecord
  let capture: ImageCaptureRecord

  /// Makes all that has come the image's content. Throws what the sender is to be told; what cannot come to a good end has
  /// ended the operation by then.
  func finish(_ writer: ImageUploadWriter, expecting sha256: String?) async throws {
    let (image, capture) = (image, capture)
    try await ending {
      let whole = try await writer.finish(expecting: sha256)
      let changed = try await ImageHandlers(plane: plane).accept(whole, of: image.id) { fill in
        try await plane.database.transaction { session in
          var changed = try fill(session)
          let isFirst = try ImageCaptureStore.end(
            capture, .succeeded, project: image.projectID, in: session, &changed.effects)
          guard isFirst else { throw Problem(.notFound, "the image is not wanted any more") }
          return changed
        }
      }
      plane.wakeups.signal(changed.effects.wake)
    }
  }

  /// Runs `body`, and ends the operation when that throws what another attempt does not mend.
  func ending<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
    do { return try await body() } catch {
      let problem = Problem.of(error)
      let failure: OperationFailure? =
        switch problem.code {
        case .imageInvalid, .bodyTooLarge: .imageInvalid
        case .quotaExceeded: .quotaExceeded
        default: nil
        }
      if let failure { try await end(.failed(failure, problem.detail)) }
      throw error
    }
  }

  func end(_ outcome: OperationOutcome) async throws {
    let (image, capture) = (image, capture)
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      try ImageCaptureStore.end(capture, outcome, project: image.projectID, in: session, &effects)
      return effects
    }
    plane.wakeups.signal(effects.wake)
  }

  // MARK: For the worker

  /// When to look again whether it can still come to a good end.
  private static let pause = Duration.seconds(10)

  /// What there is to do about one that is under way. Returns when to look again.
  func attend(_ upload: ImageUploadRecord?) async throws -> Duration? {
    if let why = try await obstacle() {
      try await end(why)
      return .zero
    }
    guard upload?.sha256 != nil else { return Self.pause }
    // It came in whole, and whoever was to see to the rest may be gone.
    let writer: ImageUploadWriter
    do {
      writer = try await ImageUploadWriter.open(image.id, .wherever, plane: plane)
    } catch let problem as Problem where problem.status < 500 {
      return Self.pause
    }
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    do {
      try await finish(writer, expecting: nil)
      await writer.close()
      return .zero
    } catch {
      _ = await Task { await writer.close() }.value
      guard let problem = error as? Problem, problem.status < 500 else { throw error }
      return Self.pause
    }
  }

  private func obstacle() async throws -> OperationOutcome? {
    if capture.isLate {
      return .failed(.deadlineExceeded, "the node did not send it in \(ImageCaptureStore.seconds / 3600) hours")
    }
    let volume = capture.volume
    return try await plane.database.run { session in
      guard let row = try session.one("SELECT deleted_at IS NULL, node_id FROM volumes WHERE id = \(volume)"),
        try row.get(0, as: Bool.self)
      else { return .failed(.superseded, "overtaken by the deletion of its volume") }
      return try row.get(1, as: UUID?.self) == nil ? .failed(.nodeRemoved, "the volume's node was removed") : nil
    }
  }

  /// Clears away what one that has ended leaves. Returns when to try again; nil: nothing is left.
  static func clear(
    _ capture: ImageCaptureRecord, _ image: ImageRecord?, _ upload: ImageUploadRecord?, plane: Plane
  ) async throws -> Duration? {
    if let image, !image.isReady, upload != nil {
      let writer = plane.environment.newUUID()
      do {
        // What has come of it is no beginning of another content.
        let left = try await plane.database.transaction { session -> ImageUploadRecord? in
          try ImageStore.lockEmpty(image.id, in: session)
          guard try ImageUploadStore.claim(image.id, for: writer, in: session) != nil else { return nil }
          return try ImageUploadStore.end(image.id, writer: writer, in: session)
        }
        if let left { await plane.images.discard(left.content, state: left.state) }
      } catch let problem as Problem where problem.code == .uploadInUse {
        return .seconds(3)
      } catch let problem as Problem where problem.status < 500 {
        // The image was deleted just now.
      }
    }
    plane.wakeups.signal(
      try await plane.database.transaction { session in try ImageCaptureStore.remove(capture, in: session) })
    return nil
  }
}
