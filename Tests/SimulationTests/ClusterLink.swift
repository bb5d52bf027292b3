import AloftModel
import Execution
import HTTP
import HTTPTypes
import JSON
import NodeAgent
import SimulatedHypervisor

/// A node's way to the cluster: the agent API itself, with the node's certificate, at whichever replica answers. Below a
/// ``LossyLink`` it adds what that cannot do: nodes that are cut off, and messages that arrive long after they were given up.
final class ClusterLink: ControlPlaneLink {
  /// A message on its way that the agent no longer waits for.
  struct Delayed: Sendable {
    var at: Int
    var method: HTTPRequest.Method
    var target: String
    var bytes: [UInt8]
  }

  private struct State {
    var isCutOff = false
    var downloadsFail = false
    var delay = 0.0
    var replica = 0
    var delayed: [Delayed] = []
    var failures: [String] = []
    var wasHeard = false
  }

  private let cluster: Cluster
  private let clock: VirtualClock
  private let dice: Dice
  private let peer: Peer
  private let node: Int
  private let state = Lock(State())

  init(_ cluster: Cluster, clock: VirtualClock, node: Int, certificate: [UInt8], seed: UInt64) {
    self.cluster = cluster
    self.clock = clock
    self.node = node
    dice = Dice(seed: seed)
    peer = Peer(address: "10.0.0.\(node + 1)", port: 40_000, isTLS: true, certificate: certificate)
  }

  // MARK: For the world

  func cutOff(_ isCutOff: Bool) { state.withLock { $0.isCutOff = isCutOff } }
  func failDownloads(_ fail: Bool) { state.withLock { $0.downloadsFail = fail } }
  func setDelay(_ probability: Double) { state.withLock { $0.delay = probability } }
  var nextDelivery: Int? { state.withLock { $0.delayed.map(\.at).min() } }

  /// Answers that a right control plane does not give.
  func takeFailures() -> [String] {
    state.withLock { state in
      defer { state.failures = [] }
      return state.failures
    }
  }

  /// Whether observations have reached the control plane since the last call.
  func takeHeard() -> Bool {
    state.withLock { state in
      defer { state.wasHeard = false }
      return state.wasHeard
    }
  }

  /// Delivers the delayed messages that are due; nobody waits for the answers.
  func deliver(_ uptime: Int) async {
    let due = state.withLock { state in
      defer { state.delayed.removeAll { $0.at <= uptime } }
      return state.delayed.filter { $0.at <= uptime }
    }
    for message in due {
      cluster.trace.note("node \(node): a delayed \(message.target) arrives")
      _ = try? await exchange(message.method, message.target, message.bytes)
    }
  }

  // MARK: Calls

  private func exchange(
    _ method: HTTPRequest.Method, _ target: String, _ bytes: [UInt8]
  ) async throws(AgentFailure) -> Answer {
    let (cutOff, first) = state.withLock { ($0.isCutOff, $0.replica) }
    if cutOff { throw AgentFailure(.controlPlaneUnavailable, "simulated: the node is cut off") }
    for offset in 0..<Cluster.size {
      let replica = (first + offset) % Cluster.size
      let outcome: CallOutcome
      do {
        outcome = try await cluster.call(replica, method, "/agent/v1/" + target, bytes: bytes, peer: peer)
      } catch {
        throw AgentFailure(.controlPlaneUnavailable, "simulated: \(error)")
      }
      switch outcome {
      case .refused, .lost: continue
      case .answered(let answer, _, let troubled):
        if answer.status >= 500 {
          if !troubled { fail("\(target) was answered \(answer.status): \(answer.text)") }
          continue
        }
        state.withLock { $0.replica = replica }
        if target == "observations" { state.withLock { $0.wasHeard = true } }
        return answer
      }
    }
    throw AgentFailure(.controlPlaneUnavailable, "simulated: no replica answers")
  }

  private func fail(_ text: String) { state.withLock { $0.failures.append("node \(node): \(text)") } }

  private func call<Value: Decodable>(
    _ method: HTTPRequest.Method, _ target: String, _ bytes: [UInt8]
  ) async throws(AgentFailure) -> Value {
    let delay = state.withLock { $0.delay }
    if method != .get, dice.happens(delay) {
      cluster.trace.count("request delayed")
      let at = clock.now().uptime + dice.number(in: 500...40_000)
      state.withLock { $0.delayed.append(Delayed(at: at, method: method, target: target, bytes: bytes)) }
      throw AgentFailure(.controlPlaneUnavailable, "simulated: no answer in time")
    }
    let answer = try await exchange(method, target, bytes)
    do {
      guard answer.status == 200 else { throw SimulationFailure("answered \(answer.status): \(answer.text)") }
      return try JSONCoder.decode(Value.self, from: answer.bytes)
    } catch {
      fail("\(target): \(error)")
      throw AgentFailure(.controlPlaneRefused, "\(error)")
    }
  }

  private func encoded(_ value: some Encodable) throws(AgentFailure) -> [UInt8] {
    do { return try JSONCoder.encode(value) } catch { throw AgentFailure(.controlPlaneRefused, "\(error)") }
  }

  func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "join", try encoded(request))
  }

  func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "renew", try encoded(request))
  }

  func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer {
    try await call(.put, "node", try encoded(node))
  }

  func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments {
    try await call(.get, "assignments?after=\(revision)&wait=\(waitSeconds)", [])
  }

  func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    for seen in report.observations {
      cluster.trace.note(
        "node \(node) sees \(seen.vm) g\(seen.generation) \(seen.power)\(seen.guestStopped ? " by itself" : "")"
          + "\(seen.problem.map { " (\($0.code))" } ?? "") #\(seen.sequence)")
    }
    return try await call(.post, "observations", try encoded(report))
  }

  func download(
    _ image: Assignment.BaseImage, to descriptor: Int32, onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    if state.withLock({ $0.downloadsFail }) { throw AgentFailure(.imageUnavailable, "simulated: the download broke") }
    let answer = try await exchange(.get, "images/\(image.id)/content", [])
    // An image that no VM of this node needs any more is refused, rightly.
    guard answer.status == 200 else {
      if answer.status != 404 { fail("a download was answered \(answer.status): \(answer.text)") }
      throw AgentFailure(.imageUnavailable, "answered \(answer.status)")
    }
    progress(image.sizeBytes)
  }

  func send(
    _ stream: StreamRequest, start: Int, body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) {
    throw AgentFailure(.unsupported, "nobody reads serial logs here")
  }
}
