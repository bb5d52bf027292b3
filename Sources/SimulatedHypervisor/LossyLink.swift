import AloftModel
import Execution
import NodeAgent

/// A link whose messages are lost, doubled and delivered late, by a seed.
public struct LossyLink<Base: ControlPlaneLink>: ControlPlaneLink {
  /// Each a probability from 0 to 1.
  public struct Faults: Sendable {
    public var lostRequest = 0.0
    /// The control plane got the request, the agent does not get the answer.
    public var lostAnswer = 0.0
    public var doubled = 0.0
    /// An old report arrives again after newer ones.
    public var late = 0.0

    public init() {}
  }

  private struct State {
    var random: SplitMix
    var faults: Faults
    var old: [ObservationReport] = []
    var counts: [String: Int] = [:]

    mutating func happens(_ probability: Double, _ fault: String) -> Bool {
      guard probability > 0, Double(random.next() >> 11) / Double(1 << 53) < probability else { return false }
      counts[fault, default: 0] += 1
      return true
    }
  }

  private let base: Base
  private let state: Lock<State>

  public init(_ base: Base, faults: Faults, seed: UInt64) {
    self.base = base
    state = Lock(State(random: SplitMix(seed: seed), faults: faults))
  }

  /// Changes what goes wrong from now on.
  public func set(_ faults: Faults) { state.withLock { $0.faults = faults } }

  /// How often each thing went wrong.
  public var counts: [String: Int] { state.withLock { $0.counts } }

  private func send<Answer: Sendable>(
    _ call: () async throws(AgentFailure) -> Answer
  ) async throws(AgentFailure) -> Answer {
    let (lost, doubled, answerLost) = state.withLock { state in
      (
        state.happens(state.faults.lostRequest, "request lost"), state.happens(state.faults.doubled, "request doubled"),
        state.happens(state.faults.lostAnswer, "answer lost")
      )
    }
    if lost { throw AgentFailure(.controlPlaneUnavailable, "simulated: the request was lost") }
    if doubled { _ = try await call() }
    let answer = try await call()
    if answerLost { throw AgentFailure(.controlPlaneUnavailable, "simulated: the answer was lost") }
    return answer
  }

  public func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    try await send { () async throws(AgentFailure) in try await base.join(request) }
  }

  public func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    try await send { () async throws(AgentFailure) in try await base.renew(request) }
  }

  public func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer {
    try await send { () async throws(AgentFailure) in try await base.report(node) }
  }

  public func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments {
    try await send { () async throws(AgentFailure) in
      try await base.assignments(after: revision, waitSeconds: waitSeconds)
    }
  }

  public func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    let late = state.withLock { state -> ObservationReport? in
      let late =
        state.happens(state.faults.late, "old report again") ? state.old.randomElement(using: &state.random) : nil
      state.old = state.old.suffix(15) + [report]
      return late
    }
    let answer = try await send { () async throws(AgentFailure) in try await base.post(report) }
    if let late { _ = try await base.post(late) }
    return answer
  }

  public func download(
    _ image: Assignment.BaseImage, to descriptor: Int32, onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    if state.withLock({ $0.happens($0.faults.lostRequest, "download broken") }) {
      throw AgentFailure(.imageUnavailable, "simulated: the download broke")
    }
    try await base.download(image, to: descriptor, onBytes: onBytes, progress: progress)
  }

  public func tell(_ report: ExportReport, of image: ImageID) async throws(AgentFailure) {
    try await send { () async throws(AgentFailure) in try await base.tell(report, of: image) }
  }

  public func uploadOffset(of image: ImageID) async throws(AgentFailure) -> Int {
    try await send { () async throws(AgentFailure) in try await base.uploadOffset(of: image) }
  }

  public func discardUpload(of image: ImageID) async throws(AgentFailure) {
    try await send { () async throws(AgentFailure) in try await base.discardUpload(of: image) }
  }

  public func upload(_ file: ExportedFile, as image: ImageID, from offset: Int) async throws(AgentFailure) {
    try await send { () async throws(AgentFailure) in try await base.upload(file, as: image, from: offset) }
  }

  public func send(
    _ stream: StreamRequest, start: Int, body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) {
    try await base.send(stream, start: start, body: body)
  }
}
