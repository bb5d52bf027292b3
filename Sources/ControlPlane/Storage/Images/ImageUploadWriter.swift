import AloftModel
import DiskImages
import Foundation
import ObjectStorage
import Postgres

/// Writes to an image's content on behalf of one request or one fetch.
///
/// Invariants:
/// - It writes only while it has the lease. A sender that falls silent loses it: the store's upload is let go and how far it is is
///   written down, so that somebody else can go on. When bytes come after all, it takes the lease again if nobody has.
/// - What ``close()`` leaves behind is all that was durable, and no lease.
actor ImageUploadWriter {
  /// How often it looks whether bytes still come, and for how long none may.
  static let beat = Duration.seconds(2)
  private static let silence: TimeInterval = 6
  /// What is handed to the store at once.
  private static let pieceBytes = 256 << 10

  private let plane: Plane
  private let image: ImageID
  private let id: UUID
  private var record: ImageUploadRecord
  /// Nil while it is parked, or lost.
  private var upload: (any ObjectUpload)?
  /// How many bytes the store has taken.
  private var position: Int
  /// Bytes that it has not yet.
  private var pending: [UInt8] = []
  private var lastBytes: TimeInterval
  private var isBusy = false
  /// All bytes are there, and it is seen to the rest.
  private var isEnding = false

  private init(
    _ plane: Plane, _ image: ImageID, _ id: UUID, _ record: ImageUploadRecord, _ upload: (any ObjectUpload)?
  ) {
    self.plane = plane
    self.image = image
    self.id = id
    self.record = record
    self.upload = upload
    position = record.durable
    lastBytes = plane.environment.uptime()
  }

  /// Where the sender is to go on, and whether it has said how long all of it is.
  enum Start {
    /// From the first byte, whatever there is already.
    case anew(size: Int?)
    /// Where the store's bytes end, which the sender says is here. `end`: where its own bytes end, if they are the last.
    case at(Int, size: Int?, end: Int? = nil)
    /// Where the store's bytes end, wherever that is.
    case wherever
  }

  /// Takes the lease. Throws ``Problem/uploadInUse``, and the refusal of another offset, which says the right one.
  static func open(_ image: ImageID, _ start: Start, plane: Plane) async throws -> ImageUploadWriter {
    let id = plane.environment.newUUID()
    let found = try await plane.database.transaction { session -> ImageUploadRecord? in
      try ImageStore.lockEmpty(image, in: session)
      return try ImageUploadStore.claim(image, for: id, in: session)
    }
    do {
      if var found {
        switch start {
        case .anew(let size): return try await begin(image, id, size: size, replacing: found, plane: plane)
        case .at(let offset, let size, let end):
          guard offset == found.durable else { throw Problem.wrongOffset(found.durable, given: offset) }
          if let size, let known = found.size, size != known { throw Problem.otherLength(known, given: size) }
          found.size = found.size ?? size ?? end
        case .wherever: break
        }
        let upload = try await plane.images.resume(found.state)
        if upload != nil || found.sha256 != nil { return ImageUploadWriter(plane, image, id, found, upload) }
        // The store has lost what there was.
        let fresh = try await begin(image, id, size: found.size, replacing: found, plane: plane)
        guard case .at(let offset, _, _) = start, offset > 0 else { return fresh }
        await fresh.close()
        throw Problem.wrongOffset(0, given: offset)
      }
      switch start {
      case .at(let offset, _, _) where offset != 0: throw Problem.wrongOffset(0, given: offset)
      case .anew(let size): return try await begin(image, id, size: size, replacing: nil, plane: plane)
      case .at(_, let size, let end):
        return try await begin(image, id, size: size ?? end, replacing: nil, plane: plane)
      case .wherever: return try await begin(image, id, size: nil, replacing: nil, plane: plane)
      }
    } catch {
      try? await Task { try await plane.database.run { try ImageUploadStore.release(image, writer: id, in: $0) } }.value
      throw error
    }
  }

  private static func begin(
    _ image: ImageID, _ id: UUID, size: Int?, replacing old: ImageUploadRecord?, plane: Plane
  ) async throws -> ImageUploadWriter {
    let content = plane.environment.newUUID()
    let upload = try await plane.images.begin(content, size: size)
    do {
      let state = try ImageContents.text(of: await upload.state)
      let record = try await plane.database.transaction { session -> ImageUploadRecord? in
        try ImageStore.lockEmpty(image, in: session)
        // Somebody else may have begun just now.
        _ = try ImageUploadStore.claim(image, for: id, in: session)
        try ImageUploadStore.begin(image, content: content, state: state, size: size, writer: id, in: session)
        return try ImageUploadStore.find(image, in: session)
      }
      guard let record else { throw Problem(.notFound, "the image is gone") }
      if let old { await plane.images.discard(old.content, state: old.state) }
      return ImageUploadWriter(plane, image, id, record, upload)
    } catch {
      try? await upload.abort()
      throw error
    }
  }

  // MARK: Bytes

  /// How many bytes have come, those included that were there before.
  var received: Int { position + pending.count }

  /// Takes the next bytes. How far it is is written down whenever the store has more for certain.
  func append(_ bytes: [UInt8]) async throws {
    lastBytes = plane.environment.uptime()
    if let size = record.size, position + pending.count + bytes.count > size {
      throw Problem(.bodyTooLarge, "\(size) bytes were announced, and more came; send it anew with the right length")
    }
    pending += bytes
    if pending.count >= Self.pieceBytes { try await write() }
  }

  private func write() async throws {
    // Bytes may come just when they are not waited for any more.
    while isBusy { try await plane.environment.sleep(.milliseconds(5)) }
    isBusy = true
    defer { isBusy = false }
    try await writePending()
  }

  private func writePending() async throws {
    guard !pending.isEmpty else { return }
    let upload = try await unparked()
    let bytes = pending
    let offset = Int64(position)
    pending = []
    let durable = try await ImageContents.telling { try await upload.append(bytes, at: offset) }
    position += bytes.count
    if Int(durable) > record.durable { try await save(upload) }
  }

  private func save(_ upload: any ObjectUpload) async throws {
    let state = await upload.state
    var next = record
    next.state = try ImageContents.text(of: state)
    next.durable = Int(state.durableBytes)
    let (image, id) = (image, id)
    try await plane.database.transaction { [next] in try ImageUploadStore.save(image, next, writer: id, in: $0) }
    record = next
  }

  private func unparked() async throws -> any ObjectUpload {
    if let upload { return upload }
    let (image, id, known) = (image, id, record)
    let found = try await plane.database.transaction { session in
      try ImageUploadStore.claim(image, for: id, in: session)
    }
    // Somebody else went on meanwhile, or began anew.
    guard let found, found.content == known.content, found.durable == position,
      let upload = try await plane.images.resume(found.state)
    else { throw Problem.uploadInUse }
    self.upload = upload
    return upload
  }

  /// Keeps the lease while bytes come, and gives it up when they have not for a while. To be called every ``beat``.
  func beat() async {
    guard isEnding || (upload != nil && !isBusy) else { return }
    let (image, id) = (image, id)
    if isEnding || plane.environment.uptime() - lastBytes < Self.silence {
      _ = try? await plane.database.run { try ImageUploadStore.renew(image, writer: id, in: $0) }
      return
    }
    isBusy = true
    defer { isBusy = false }
    if let upload { await park(upload) }
  }

  private func park(_ upload: any ObjectUpload) async {
    // What cannot be kept is sent again.
    do {
      try await writePending()
      try await upload.flush()
      try await save(upload)
    } catch {
      plane.logger.debug("the end of an upload was not kept", metadata: ["image": "\(image)", "error": "\(error)"])
    }
    self.upload = nil
    await release()
  }

  /// Writes down how far it is and gives the lease up. Returns how many bytes the store has.
  @discardableResult
  func close() async -> Int {
    if upload == nil, !pending.isEmpty { _ = try? await unparked() }
    if let upload { await park(upload) } else { await release() }
    return record.durable
  }

  private func release() async {
    let (image, id) = (image, id)
    _ = try? await plane.database.run { try ImageUploadStore.release(image, writer: id, in: $0) }
  }

  // MARK: The end

  /// What is left to do with a whole content: the object, and what it is.
  struct Whole: Sendable {
    var content: UUID
    var size: Int
    var sha256: String
    var report: ImageReport
  }

  /// Makes the object and has it judged. Throws the ``Problem`` of a content that cannot be the image's; nothing of it is
  /// kept then.
  func finish(expecting sha256: String?) async throws -> Whole {
    isEnding = true
    let sha256 = try await made(expecting: sha256?.lowercased())
    do {
      let report = try await plane.images.judge(
        record.content, limits: plane.settings.imageLimits)
      return Whole(content: record.content, size: record.durable, sha256: sha256, report: report)
    } catch let problem as Problem where problem.code == .imageInvalid {
      try await forget()
      throw problem
    }
  }

  /// Sees to it that the object is there, and returns what it hashes to.
  private func made(expecting: String?) async throws -> String {
    if upload == nil, let known = record.sha256 {
      // Somebody has come this far before, and the store does not know the upload any more.
      if let info = try await plane.images.stat(record.content), Int(info.size) == record.durable { return known }
      try await forget()
      throw Problem.wrongOffset(0, given: record.durable)
    }
    try await write()
    let upload = try await unparked()
    if let size = record.size, position < size {
      throw Problem.incomplete(position, of: size)
    }
    let found = await upload.sha256
    if let expecting, expecting != found {
      try await forget()
      throw Problem.checksum(found, announced: expecting)
    }
    (record.size, record.sha256) = (position, found)
    _ = try await ImageContents.telling { try await upload.flush() }
    try await saveWhole(upload)
    _ = try await ImageContents.telling { try await upload.finish(size: Int64(position), sha256: found) }
    record.durable = position
    // It is an object now: closing leaves it alone.
    self.upload = nil
    return found
  }

  /// From here on it is finished by itself, whoever dies.
  private func saveWhole(_ upload: any ObjectUpload) async throws {
    let state = await upload.state
    let isWhole = Int(state.durableBytes) == position
    var saved = record
    // S3 takes the last part with the end, where the length was not known: such an end is sent again.
    if !isWhole { saved.sha256 = nil }
    saved.state = try ImageContents.text(of: state)
    saved.durable = Int(state.durableBytes)
    record = saved
    let (image, id) = (image, id)
    try await plane.database.transaction { [saved] session in
      try ImageUploadStore.save(image, saved, writer: id, in: session)
      if isWhole { try session.execute(WorkQueue.waking(.image, image.uuid, in: 30)) }
    }
  }

  /// Nothing of the upload is wanted any more.
  private func forget() async throws {
    let (image, id) = (image, id)
    try? await upload?.abort()
    upload = nil
    let old = try await plane.database.transaction { try ImageUploadStore.end(image, writer: id, in: $0) }
    if let old { await plane.images.discard(old.content, state: old.state) }
  }
}

extension Problem {
  static func wrongOffset(_ right: Int, given: Int) -> Problem {
    var problem = Problem(
      .uploadOffsetMismatch, "the store has the first \(right) bytes, so the next one is number \(right), not \(given)")
    problem.uploadOffset = right
    return problem
  }

  static func incomplete(_ kept: Int, of size: Int? = nil) -> Problem {
    let all = size.map { " of \($0)" } ?? ""
    var problem = Problem(
      .uploadIncomplete,
      "the upload broke off; \(kept)\(all) bytes are kept. Go on with PATCH and Upload-Offset: \(kept)")
    problem.uploadOffset = kept
    return problem
  }

  static func otherLength(_ known: Int, given: Int) -> Problem {
    Problem(
      .outOfRange, "the upload was begun with a length of \(known) bytes, not \(given); DELETE it to begin anew",
      errors: [.init(code: .outOfRange, detail: "was \(known) before", parameter: "Upload-Length")])
  }
}
