import AloftModel
import ControlPlane
import Crypto
import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import SwiftASN1
import TestSupport
import Testing
import X509

/// Speaks the agents' protocol for one node whose VMs exist on paper only: what it reports is what the test says.
final class FakeAgent: Sendable {
  let test: TestPlane
  let name: String
  let id: NodeID
  private let peer: Peer
  private let progress = Lock<(revision: Int, sequence: Int)>((0, 0))
  private let volumes = Lock<[VolumeAssignment]>([])

  private init(test: TestPlane, name: String, id: NodeID, certificate: [UInt8]) {
    self.test = test
    self.name = name
    self.id = id
    peer = Peer(address: "127.0.0.1", port: 40000, isTLS: true, certificate: certificate)
  }

  static func report(vcpus: Int = 16, memoryMiB: Int = 16384, diskGiB: Int = 100) -> NodeReport {
    NodeReport(
      architecture: "x86_64", accelerator: .kvm, vcpus: vcpus, memoryMib: memoryMiB, diskGib: diskGiB,
      facts: ["kernel": "6.1"])
  }

  /// A node that can connect VMs to networks.
  static func networked() -> NodeReport {
    var report = report()
    report.networking = NodeNetworking(datapath: .kernel, tunnelAddress: "192.0.2.1", physicalNetworks: ["external"])
    return report
  }

  /// A PKCS #10 request in PEM.
  static func certificateRequest(key: P256.Signing.PrivateKey = P256.Signing.PrivateKey()) throws -> String {
    TestSecrets.register(key.pemRepresentation)
    let request = try CertificateSigningRequest(
      version: .v1, subject: try DistinguishedName { CommonName("agent") }, privateKey: Certificate.PrivateKey(key),
      attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
    return try request.serializeAsPEM().pemString
  }

  /// Makes a join token and joins with it.
  static func join(
    _ test: TestPlane, _ name: String = "node-a", report: NodeReport = report(), labels: JSONValue = [:]
  ) async throws -> FakeAgent {
    let token = await test.call(.post, "/v1/node-tokens", ["description": .string(name), "labels": labels])
    let secret = try #require(token["secret"]?.stringValue, "\(token)")
    let answer = try await join(test, name, token: secret, key: P256.Signing.PrivateKey(), report: report)
    try #require(answer.status == 200, "\(answer)")
    let joined = try JSONCoder.decode(JoinAnswer.self, from: answer.bytes)
    var serializer = DER.Serializer()
    try serializer.serialize(try Certificate(pemEncoded: joined.certificate))
    return FakeAgent(test: test, name: name, id: joined.nodeId, certificate: serializer.serializedBytes)
  }

  /// The same node with the certificate that a renewal gives it.
  func renewed() async throws -> FakeAgent {
    let request = RenewRequest(certificateRequest: try Self.certificateRequest())
    let answer = await send(.post, "renew", bytes: try JSONCoder.encode(request))
    try #require(answer.status == 200, "\(answer)")
    let renewed = try JSONCoder.decode(JoinAnswer.self, from: answer.bytes)
    var serializer = DER.Serializer()
    try serializer.serialize(try Certificate(pemEncoded: renewed.certificate))
    return FakeAgent(test: test, name: name, id: id, certificate: serializer.serializedBytes)
  }

  /// An agent that shows another certificate.
  func showing(_ certificatePEM: String) throws -> FakeAgent {
    var serializer = DER.Serializer()
    try serializer.serialize(try Certificate(pemEncoded: certificatePEM))
    return FakeAgent(test: test, name: name, id: id, certificate: serializer.serializedBytes)
  }

  /// Reports the node with whom it trusts.
  func report(trusting fingerprints: [String]) async throws -> LeaseAnswer {
    var report = Self.report()
    report.trust = fingerprints
    let answer = try await send(report: report)
    try #require(answer.status == 200, "\(answer)")
    return try JSONCoder.decode(LeaseAnswer.self, from: answer.bytes)
  }

  /// The join call alone.
  static func join(
    _ test: TestPlane, _ name: String, token: String, key: P256.Signing.PrivateKey, report: NodeReport = report()
  ) async throws -> Answer {
    let request = JoinRequest(
      token: token, name: name, certificateRequest: try certificateRequest(key: key), report: report)
    return await test.send(.post, "/agent/v1/join", bytes: try JSONCoder.encode(request))
  }

  func send(
    _ method: HTTPRequest.Method, _ target: String, bytes: [UInt8] = [], headers: [String: String] = [:],
    on replica: ControlPlane? = nil
  ) async -> Answer {
    await test.send(method, "/agent/v1/" + target, bytes: bytes, headers: headers, peer: peer, on: replica)
  }

  func send(report: NodeReport) async throws -> Answer {
    await send(.put, "node", bytes: try JSONCoder.encode(report))
  }

  /// The documents of VMs that changed since the last poll. Those of volumes are reported as carried out at once.
  func poll(wait seconds: Int = 0) async throws -> [Assignment] {
    let documents = try await pollOnly(wait: seconds)
    let volumes = newVolumes()
    if !volumes.isEmpty { try await see(volumes) }
    return documents
  }

  /// The documents of volumes that were polled and not looked at yet.
  func newVolumes() -> [VolumeAssignment] {
    volumes.withLock { volumes in
      defer { volumes = [] }
      return volumes
    }
  }

  /// Reports volumes, each as its document wants it unless the test says otherwise.
  func see(
    _ documents: [VolumeAssignment], _ state: VolumeObservation.State? = nil, activity: String? = nil,
    copied: (done: Int, of: Int)? = nil, isMoving: Bool = false, problem: Observation.Problem? = nil,
    memoryBytes: Int? = 5 << 20, taking: Bool = true
  ) async throws {
    try await observe(
      ObservationReport(
        observations: [],
        volumes: documents.map { document in
          VolumeObservation(
            volume: document.volume, generation: document.generation, sequence: nextSequence(),
            state: state ?? Self.state(of: document), sizeBytes: document.sizeBytes, usedBytes: 4096,
            epoch: document.epoch,
            snapshots: document.snapshots.filter { taking || $0.isTaken }.map {
              .init(
                id: $0.id, takenAt: 1_000_000, quiesced: true,
                memoryBytes: $0.memory == document.volume ? memoryBytes : nil)
            },
            activity: activity, bytesDone: copied?.done, bytesTotal: copied?.of, problem: problem,
            pool: isMoving ? nil : document.move.map { $0.isGivenUp == true ? document.pool : $0.pool })
        }))
  }

  private static func state(of document: VolumeAssignment) -> VolumeObservation.State {
    document.released == true ? .released : document.deleted ? .absent : .ready
  }

  /// The documents of VMs that changed since the last poll. Those of volumes are kept for ``newVolumes()``.
  func pollOnly(wait seconds: Int = 0) async throws -> [Assignment] {
    let after = progress.withLock { $0.revision }
    let answer = await send(.get, "assignments?after=\(after)&wait=\(seconds)")
    try #require(answer.status == 200, "\(answer)")
    let assignments = try JSONCoder.decode(Assignments.self, from: answer.bytes)
    progress.withLock { $0.revision = assignments.revision }
    volumes.withLock { $0 += assignments.volumes ?? [] }
    return assignments.documents
  }

  /// Reports one observation as it is.
  @discardableResult
  func observe(_ observation: Observation) async throws -> LeaseAnswer {
    try await observe(ObservationReport(observations: [observation]))
  }

  @discardableResult
  private func observe(_ report: ObservationReport) async throws -> LeaseAnswer {
    let answer = await send(.post, "observations", bytes: try JSONCoder.encode(report))
    try #require(answer.status == 200, "\(answer)")
    return try JSONCoder.decode(LeaseAnswer.self, from: answer.bytes)
  }

  /// Reports a VM, with the next sequence number.
  @discardableResult
  func see(
    _ document: Assignment, _ power: Observation.Power, generation: Int? = nil, guestStopped: Bool = false,
    activity: String? = nil, problem: Observation.Problem? = nil, completed: [VMRequestID] = [], nics: [NICID]? = nil,
    disks: [VolumeID]? = nil, stale: [VolumeID]? = nil, resumed: VMRequestID? = nil
  ) async throws -> LeaseAnswer {
    try await observe(
      Observation(
        vm: document.vm, incarnation: document.incarnation, generation: generation ?? document.generation,
        sequence: nextSequence(), power: power, guestStopped: guestStopped, activity: activity, problem: problem,
        completedRequests: completed, nics: nics ?? document.nics?.map(\.id),
        disks: power == .running ? disks ?? document.disks.map(\.volume) : [],
        staleDisks: stale, resumed: resumed))
  }

  func nextSequence() -> Int {
    progress.withLock { progress in
      progress.sequence += 1
      return progress.sequence
    }
  }

  /// Polls, and reports every new document as carried out at once. Returns the documents.
  @discardableResult
  func obey(wait seconds: Int = 0) async throws -> [Assignment] {
    let documents = try await poll(wait: seconds)
    for document in documents {
      let power: Observation.Power = document.deleted ? .absent : document.power == .running ? .running : .stopped
      try await see(document, power, completed: document.requests.map(\.id))
    }
    return documents
  }
}
