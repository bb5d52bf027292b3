import AloftModel
import Execution
import Foundation
import Logging
import Postgres

/// Fetches contents, looks after those that nodes send, and finishes those that came in whole before their replica died; looks after
/// backups (``BackupWork``). Every
/// replica has one; they share the images by rows of the work queue.
///
/// Invariants:
/// - An image is in the hands of one replica at a time, by the row's lease, which is kept while something is done. A replica that
///   dies leaves a lease and an upload that is as far as the store says: another goes on there.
/// - Nothing is fetched while a transaction is open.
struct ImageWorker: Sendable {
  /// Images at once in this replica.
  static let width = 4
  private static let longestPause = Duration.seconds(2)
  private static let renewal = Duration.seconds(8)

  let plane: Plane
  private let running = Lock(0)

  init(plane: Plane) { self.plane = plane }

  /// Does what is due once, and waits for it. Returns for how many images.
  func step() async throws -> Int {
    let items = try await take(Self.width)
    await withTaskGroup(of: Void.self) { group in
      for item in items { group.addTask { await attend(item) } }
    }
    return items.count
  }

  /// Runs until cancelled. While this replica stops it begins nothing new.
  func run() async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled, !plane.wakeups.isDraining {
        let ticket = plane.wakeups.ticket(.images)
        do {
          let free = running.withLock { Self.width - $0 }
          for item in free > 0 ? try await take(free) : [] {
            running.withLock { $0 += 1 }
            group.addTask {
              await attend(item)
              running.withLock { $0 -= 1 }
              plane.wakeups.signalHere(.images)
            }
          }
          await plane.wakeups.wait(for: .images, since: ticket, atMost: Self.longestPause)
        } catch is CancellationError {
          return
        } catch {
          plane.logger.warning("what is to be fetched cannot be read", metadata: ["error": "\(error)"])
          try? await plane.environment.sleep(.seconds(1))
        }
      }
    }
  }

  private func take(_ count: Int) async throws -> [WorkItem] {
    try await plane.database.transaction { session in try WorkQueue.take([.image, .backup], limit: count, in: session) }
  }

  /// Does what there is to do for an image, and keeps its row meanwhile.
  private func attend(_ item: WorkItem) async {
    let renewing = Task {
      while true {
        try await plane.environment.sleep(Self.renewal)
        _ = try? await plane.database.run { session in try WorkQueue.renew(item, in: session) }
      }
    }
    defer { renewing.cancel() }
    do {
      let pause =
        item.kind == .backup
        ? try await BackupWork(plane: plane).attend(BackupID(item.id)) : try await work(ImageID(item.id))
      try await plane.database.transaction { session in
        guard let pause else { return try WorkQueue.finish(item, next: nil, in: session) }
        try WorkQueue.retry(item, in: pause, in: session)
      }
    } catch {
      guard !Task.isCancelled else { return }
      plane.logger.error("a content failed", metadata: ["of": "\(item.kind) \(item.id)", "error": "\(error)"])
      let pause = Backoff.pause(attempt: item.attempts, random: plane.environment.random())
      _ = try? await plane.database.transaction { session in
        try WorkQueue.fail(item, error: "\(error)", pause: pause, in: session)
      }
    }
  }

  /// Returns when to look again; nil: there is nothing left to do.
  private func work(_ id: ImageID) async throws -> Duration? {
    let (image, upload, fetch, capture) = try await plane.database.run { session in
      (
        try ImageStore.find(id, in: session), try ImageUploadStore.find(id, in: session),
        try ImageFetchStore.find(id, in: session), try ImageCaptureStore.find(id, in: session)
      )
    }
    if let capture {
      guard let image, !capture.hasEnded else {
        return try await ImageCapture.clear(capture, image, upload, plane: plane)
      }
      return try await ImageCapture(plane: plane, image: image, capture: capture).attend(upload)
    }
    guard let image, !image.isReady else { return nil }
    if let fetch { return try await ImageFetch(plane: plane, image: image, fetch: fetch, upload: upload).run() }
    guard upload?.sha256 != nil else { return nil }
    return try await finish(image)
  }

  /// A content that came in whole, with nobody to see to the rest.
  private func finish(_ image: ImageRecord) async throws -> Duration? {
    let writer: ImageUploadWriter
    do {
      writer = try await ImageUploadWriter.open(image.id, .wherever, plane: plane)
    } catch let problem as Problem where problem.code == .uploadInUse {
      return .seconds(5)
    } catch let problem as Problem where problem.status < 500 {
      return nil
    }
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    do {
      let whole = try await writer.finish(expecting: image.expectedSHA256)
      let handlers = ImageHandlers(plane: plane)
      let changed = try await handlers.accept(whole, of: image.id) { fill in
        try await plane.database.transaction { session in try fill(session) }
      }
      await writer.close()
      plane.wakeups.signal(changed.effects.wake)
      return nil
    } catch {
      _ = await Task { await writer.close() }.value
      // Whoever sent it asks again, and is told.
      if let problem = error as? Problem, problem.status < 500 { return nil }
      throw error
    }
  }
}
