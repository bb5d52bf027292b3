import AloftModel
import Execution
import Logging

extension EffectPerformer {
  /// Makes one file of what a snapshot holds, and sends it from where the control plane's bytes end.
  func send(
    _ export: VolumeAssignment.Export, of volume: VolumeID, in pool: String
  ) async -> AgentFailure? {
    let (image, link, clock) = (export.image, link, clock)
    do throws(AgentFailure) {
      let teller = ExportTeller(image: image, link: link, clock: clock)
      let result = await attempt { () async throws(AgentFailure) in
        try await self.pool(pool).export(
          export, of: volume,
          // What was sent of another file is no beginning of this one.
          begin: { () async throws(AgentFailure) in try await link.discardUpload(of: image) },
          progress: { teller.tell($0, of: $1) })
      }
      await teller.finish()
      let file = try result.get()
      let offset = try await link.uploadOffset(of: image)
      try await link.upload(file, as: image, from: offset)
      logger.info(
        "image sent", metadata: ["image": "\(image)", "volume": "\(volume)", "bytes": "\(file.sizeBytes - offset)"])
      return nil
    } catch {
      logger.warning(
        "image not sent", metadata: ["image": "\(image)", "volume": "\(volume)", "failure": "\(error)"])
      if let problem = error.problem {
        // Who cannot be told now is told with the next attempt.
        _ = await attempt { () async throws(AgentFailure) in
          try await link.tell(ExportReport(activity: "making the image failed", problem: problem), of: image)
        }
      }
      return error
    }
  }
}

/// Tells how far an export is, one call at a time and not too often.
private final class ExportTeller: Sendable {
  /// Milliseconds between two calls.
  private static let pause = 1_000

  private struct State {
    var lastAt: Int?
    var call: Task<Void, Never>?
    var isUnderWay = false
  }

  private let image: ImageID
  private let link: any ControlPlaneLink
  private let clock: any AgentClock
  private let state = Lock(State())

  init(image: ImageID, link: any ControlPlaneLink, clock: any AgentClock) {
    self.image = image
    self.link = link
    self.clock = clock
  }

  func tell(_ done: Int, of total: Int) {
    let now = clock.now().uptime
    state.withLock { state in
      guard !state.isUnderWay, state.lastAt.map({ now - $0 >= Self.pause }) ?? true else { return }
      state.lastAt = now
      state.isUnderWay = true
      state.call = Task {
        let report = ExportReport(activity: "making the image", bytesDone: done, bytesTotal: total)
        // It is news only: whether the image is still wanted shows when its bytes are sent.
        try? await link.tell(report, of: image)
        self.state.withLock { $0.isUnderWay = false }
      }
    }
  }

  /// Nothing is told any more behind this.
  func finish() async {
    let call = state.withLock { state in
      state.lastAt = .max
      return state.call
    }
    await call?.value
  }
}
