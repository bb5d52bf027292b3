import AloftModel
import ControlPlane
import Crypto
import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging
import NodeAgent
import SimulatedHypervisor
import SwiftASN1
import X509

/// A node for years of virtual time: the real agent on a simulated host, with a real key and real certificates, that looks
/// around every day or two instead of every few seconds.
struct CertificateNode: Sendable {
  let name: String
  let host: SimulatedHost
  let link: CertificateLink
  private let performer: EffectPerformer
  private var machine: AgentMachine
  private let clock: VirtualClock
  private var pending: [(at: Int, event: AgentEvent)] = []
  /// Until then nothing reaches the control plane.
  var offlineUntil = 0

  private static let day = 86_400_000

  init(seed: UInt64, link: CertificateLink) {
    name = link.name
    clock = link.clock
    self.link = link
    let host = SimulatedHost(seed: seed)
    self.host = host
    performer = EffectPerformer(
      hypervisor: SimulatedHypervisor(host), storage: SimulatedStorage(host), journal: SimulatedJournal(host),
      link: link, clock: clock,
      platform: { () async throws(AgentFailure) in
        DomainPlatform(architecture: "x86_64", accelerator: .kvm, directIO: true)
      },
      nodeReport: { () async throws(AgentFailure) in link.report },
      renewIdentity: { () async throws(AgentFailure) in try await link.renew() },
      adoptTrust: { trust async throws(AgentFailure) in try link.adopt(trust) },
      logger: Laboratory.silent)
    machine = AgentMachine(options: Self.options, now: clock.now(), seed: seed, identity: link.validity)
  }

  private static var options: AgentMachine.Options {
    var options = AgentMachine.Options()
    options.sweepInterval = 30 * day
    options.factsInterval = 30 * day
    options.contentsInterval = 30 * day
    options.volumeInterval = 30 * day
    options.retellInterval = 30 * day
    options.resyncInterval = 30 * day
    return options
  }

  /// When there is something to do; milliseconds of uptime.
  var nextAt: Int { max(offlineUntil, min(machine.wakeAt, pending.map(\.at).min() ?? .max, host.nextAt ?? .max)) }

  /// Joined again: the agent's process starts anew.
  mutating func restart(seed: UInt64) {
    pending = []
    machine = AgentMachine(options: Self.options, now: clock.now(), seed: seed, identity: link.validity)
  }

  /// Does all that is due at `uptime`.
  mutating func step(at uptime: Int) async {
    clock.advance(to: uptime)
    let now = clock.now()
    host.advance(to: now.uptime)
    var events = host.takeEvents().map { AgentEvent.hypervisor($0) } + [.wake]
    events += pending.filter { $0.at <= now.uptime }.map(\.event)
    pending.removeAll { $0.at <= now.uptime }
    while !events.isEmpty {
      for effect in machine.handle(events.removeFirst(), now: clock.now()) {
        let seen = Lock<[AgentEvent]>([])
        let result = await performer.perform(effect) { event in seen.withLock { $0.append(event) } }
        events += seen.withLock { $0 }
        guard let result else { continue }
        if case .poll(_, let after, _) = effect, after > 0 {
          // A poll that brings nothing is held; here for days.
          pending.append((now.uptime + 5 * Self.day, result))
        } else {
          events.append(result)
        }
      }
    }
  }
}

/// The node's way to the control plane, and what it has on disk: its key, its certificate, whom it trusts.
final class CertificateLink: ControlPlaneLink {
  private struct State {
    var certificate: [UInt8] = []
    var validity = CertificateValidity(notBefore: 0, notAfter: 0)
    var trust: [String] = []
    var renewals = 0
    var refusals: [String] = []
    var unservedBy: [String] = []
    /// Certificates of before, the newest last.
    var former: [[UInt8]] = []
  }

  let name: String
  /// The host's own.
  let clock: VirtualClock
  private let plane: ControlPlane
  private let key = P256.Signing.PrivateKey()
  private let state = Lock(State())

  init(name: String, plane: ControlPlane, clock: VirtualClock) {
    (self.name, self.plane, self.clock) = (name, plane, clock)
  }

  var validity: CertificateValidity { state.withLock { $0.validity } }
  var renewals: Int { state.withLock { $0.renewals } }
  var former: [[UInt8]] { state.withLock { $0.former } }
  /// Answers of 401, and servers that the node would not have trusted: there must be none.
  var complaints: [String] { state.withLock { $0.refusals + $0.unservedBy } }

  var report: NodeReport {
    var report = NodeReport(
      architecture: "x86_64", accelerator: .kvm, vcpus: 8, memoryMib: 8192, diskGib: 100, facts: [:])
    report.trust = state.withLock { $0.trust }
    return report
  }

  func adopt(_ trust: TrustAnchors) throws(AgentFailure) {
    do {
      let fingerprints = try PEMDocument.parseMultiple(pemString: trust.authorities).map { document in
        SHA256.hash(data: document.derBytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      }
      state.withLock { $0.trust = fingerprints.sorted() }
    } catch { throw AgentFailure(.storage, "\(error)") }
  }

  private func keep(_ answer: JoinAnswer) throws(AgentFailure) {
    do {
      let certificate = try Certificate(pemEncoded: answer.certificate)
      var serializer = DER.Serializer()
      try serializer.serialize(certificate)
      state.withLock { state in
        if !state.certificate.isEmpty { state.former.append(state.certificate) }
        if certificate.notValidBefore.timeIntervalSince1970 * 1000 > Double(clock.now().wall) {
          state.refusals.append("\(name): by its own clock its certificate is not good yet")
        }
        state.certificate = serializer.serializedBytes
        state.validity = CertificateValidity(
          notBefore: Int(certificate.notValidBefore.timeIntervalSince1970 * 1000),
          notAfter: Int(certificate.notValidAfter.timeIntervalSince1970 * 1000))
      }
    } catch { throw AgentFailure(.storage, "\(error)") }
    if let trust = answer.trust { try adopt(trust) }
  }

  private func request() throws(AgentFailure) -> String {
    do {
      return try CertificateSigningRequest(
        version: .v1, subject: try DistinguishedName { CommonName(name) }, privateKey: Certificate.PrivateKey(key),
        attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256
      ).serializeAsPEM().pemString
    } catch { throw AgentFailure(.storage, "\(error)") }
  }

  func join(token: String) async throws(AgentFailure) {
    try keep(
      try await join(JoinRequest(token: token, name: name, certificateRequest: try request(), report: report)))
  }

  func renew() async throws(AgentFailure) -> CertificateValidity {
    try keep(try await renew(RenewRequest(certificateRequest: try request())))
    state.withLock { $0.renewals += 1 }
    return validity
  }

  /// What is answered to a certificate, whoever shows it: status and code.
  func status(showing certificate: [UInt8]) async throws -> (status: Int, code: String?) {
    let answer = try await send(.put, "node", try JSONCoder.encode(report), certificate)
    return (answer.status, answer.json["code"]?.stringValue)
  }

  // MARK: ControlPlaneLink

  func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "join", request, certificate: nil)
  }
  func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "renew", request)
  }
  func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer { try await call(.put, "node", node) }
  func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    try await call(.post, "observations", report)
  }
  func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments {
    try await call(.get, "assignments?after=\(revision)&wait=0", [String]())
  }
  func download(
    _ image: Assignment.BaseImage, to descriptor: Int32, onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {}
  func send(
    _ stream: StreamRequest, start: Int, body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) {}

  private func call<Answer: Decodable>(
    _ method: HTTPRequest.Method, _ path: String, _ value: some Encodable
  ) async throws(AgentFailure) -> Answer {
    try await call(method, path, value, certificate: state.withLock { $0.certificate })
  }

  private func call<Answer: Decodable>(
    _ method: HTTPRequest.Method, _ path: String, _ value: some Encodable, certificate: [UInt8]?
  ) async throws(AgentFailure) -> Answer {
    do {
      // What the server would show in the handshake.
      let signer = try await plane.authorities().signer.certificate.fingerprint
      if certificate != nil, !state.withLock({ $0.trust.contains(signer) }) {
        state.withLock { $0.unservedBy.append("\(name) does not trust the server at \(clock.now().uptime)") }
      }
      let answer = try await send(
        method, path, method == .get ? [] : try JSONCoder.encode(value), certificate)
      if answer.status == 401 { state.withLock { $0.refusals.append("\(name): \(answer.text)") } }
      guard answer.status == 200 else { throw AgentFailure(.controlPlaneRefused, answer.text) }
      return try JSONCoder.decode(Answer.self, from: answer.bytes)
    } catch let failure as AgentFailure { throw failure } catch {
      throw AgentFailure(.controlPlaneUnavailable, "\(error)")
    }
  }

  private func send(
    _ method: HTTPRequest.Method, _ path: String, _ bytes: [UInt8], _ certificate: [UInt8]?
  ) async throws -> Answer {
    let response = await plane.respond(
      Cluster.request(
        method, "/agent/v1/" + path, headers: [:], bytes: bytes,
        peer: Peer(address: "10.0.0.1", port: 40_000, isTLS: true, certificate: certificate)))
    var body: [UInt8] = []
    if case .bytes(let bytes) = response.body { body = bytes }
    return Answer(status: Int(response.status.code), headers: response.headers, bytes: body)
  }
}
