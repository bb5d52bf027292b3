import AloftModel
import Crypto
import Execution
import Foundation
import SwiftASN1
import Testing
import X509

@testable import NodeAgent

/// Signs certificate requests, loses its first answers, and knows nodes by their keys.
private final class Authority: ControlPlaneLink {
  private struct State {
    var nodes: [Data: NodeID] = [:]
    var answersToLose = 0
    var requests = 0
    var tokens: [String] = []
  }

  private let state: Lock<State>
  private let key = P256.Signing.PrivateKey()
  let life: TimeInterval
  let goodTokens: Set<String>

  init(answersToLose: Int = 0, life: TimeInterval = 3600, goodTokens: Set<String> = ["token"]) {
    state = Lock(State(answersToLose: answersToLose))
    self.life = life
    self.goodTokens = goodTokens
  }

  /// The operator removes every node.
  func forget() { state.withLock { $0.nodes = [:] } }
  /// The tokens that were used, in order.
  var tokens: [String] { state.withLock { $0.tokens } }

  var nodes: Int { state.withLock { $0.nodes.count } }
  var requests: Int { state.withLock { $0.requests } }

  func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    guard goodTokens.contains(request.token) else {
      throw AgentFailure(.controlPlaneRefused, "the token is not valid")
    }
    state.withLock { $0.tokens.append(request.token) }
    return try sign(request.certificateRequest)
  }

  func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    try sign(request.certificateRequest)
  }

  private func sign(_ pem: String) throws(AgentFailure) -> JoinAnswer {
    do {
      let request = try CertificateSigningRequest(pemEncoded: pem)
      guard request.publicKey.isValidSignature(request.signature, for: request) else {
        throw AgentFailure(.storage, "")
      }
      let name = try DistinguishedName { CommonName("test authority") }
      let certificate = try Certificate(
        version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: request.publicKey,
        notValidBefore: Date(),
        notValidAfter: Date() + life, issuer: name, subject: request.subject,
        signatureAlgorithm: .ecdsaWithSHA256,
        extensions: Certificate.Extensions(), issuerPrivateKey: Certificate.PrivateKey(key))
      let bytes = Data(request.publicKey.subjectPublicKeyInfoBytes)
      let (id, isLost) = state.withLock { state in
        state.requests += 1
        let id =
          state.nodes[bytes]
          ?? NodeID(UUID.v7(milliseconds: 1, random: (1, UInt64(state.requests))))
        state.nodes[bytes] = id
        state.answersToLose -= 1
        return (id, state.answersToLose >= 0)
      }
      if isLost { throw AgentFailure(.controlPlaneUnavailable, "the answer was lost") }
      return JoinAnswer(nodeId: id, certificate: try certificate.serializeAsPEM().pemString)
    } catch let failure as AgentFailure { throw failure } catch {
      throw AgentFailure(.storage, "\(error)")
    }
  }

  func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer {
    throw AgentFailure(.unsupported, "")
  }
  func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments {
    throw AgentFailure(.unsupported, "")
  }
  func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    throw AgentFailure(.unsupported, "")
  }
  func download(
    _ image: Assignment.BaseImage, to descriptor: Int32,
    onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) { throw AgentFailure(.unsupported, "") }
  func send(
    _ stream: StreamRequest, start: Int,
    body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) { throw AgentFailure(.unsupported, "") }
}

/// Does not wait.
private struct HastyClock: AgentClock {
  func now() -> AgentTime { SystemClock().now() }
  func sleep(until uptime: Int) async throws { try Task.checkCancellation() }
}

@Suite("Identity")
struct IdentityTests {
  let directory: TemporaryDirectory
  let report = NodeReport(
    architecture: "x86_64", accelerator: .tcg, vcpus: 1, memoryMib: 1, diskGib: 1, facts: [:])

  init() throws { directory = try TemporaryDirectory() }

  private func enrolment(_ authority: Authority) -> Enrolment {
    Enrolment(
      store: IdentityStore(data: directory.path), link: authority, clock: HastyClock(),
      logger: quietLogger)
  }

  @Test("a join whose answers are lost is made again with the same key and gives one node")
  func join() async throws {
    let authority = Authority(answersToLose: 3)
    let identity = try await enrolment(authority).join(name: "n1", token: "token", report: report)
    #expect(authority.nodes == 1 && authority.requests == 4)
    // Another process finds it.
    let loaded = try #require(try await IdentityStore(data: directory.path).load())
    #expect(loaded.id == identity.id && loaded.validity == identity.validity)
    let key = try FileManager.default.attributesOfItem(atPath: identity.keyPath)
    #expect(key[.posixPermissions] as? Int == 0o600)
  }

  @Test("a crash between the answer and its keeping is made good with the same key")
  func crash() async throws {
    let authority = Authority()
    let first = try await enrolment(authority).join(name: "n1", token: "token", report: report)
    try FileManager.default.removeItem(atPath: directory.path + "/identity/node.json")
    #expect(try await IdentityStore(data: directory.path).load() == nil)
    let second = try await enrolment(authority).join(name: "n1", token: "token", report: report)
    #expect(second.id == first.id && authority.nodes == 1)
  }

  @Test("a refused token ends the attempt with the reason")
  func refused() async throws {
    await #expect(throws: AgentFailure(.controlPlaneRefused, "the token is not valid")) {
      try await enrolment(Authority()).join(name: "n1", token: "used", report: report)
    }
  }

  @Test("a node whose certificate is still good joins again when it is given another token, and only then")
  func rejoin() async throws {
    let authority = Authority(goodTokens: ["token", "second"])
    func identify(_ token: String?) async throws -> NodeID {
      try await enrolment(authority).identify(name: "n1", token: token, report: report).id
    }
    let first = try await identify("token")
    // The token stays in the agent's settings, or is taken out.
    #expect(try await identify("token") == first)
    #expect(try await identify(nil) == first)
    #expect(authority.tokens == ["token"])

    authority.forget()
    let second = try await identify("second")
    #expect(second != first)
    #expect(try await identify("second") == second)
    _ = try await enrolment(authority).renew(name: "n1")
    #expect(try await identify("second") == second)
    #expect(authority.tokens == ["token", "second"])
  }

  @Test("a token that is refused does not cost a node the certificate that it has")
  func refusedToken() async throws {
    let authority = Authority()
    let first = try await enrolment(authority).identify(name: "n1", token: "token", report: report)
    let again = try await enrolment(authority).identify(name: "n1", token: "stale", report: report)
    #expect(again.id == first.id)
  }

  @Test("an expired certificate is made good by the same token or by another one, and by nothing else")
  func expired() async throws {
    let authority = Authority(life: -1, goodTokens: ["token", "second"])
    func identify(_ token: String?) async throws -> NodeID {
      try await enrolment(authority).identify(name: "n1", token: token, report: report).id
    }
    let first = try await identify("token")
    #expect(try await identify("token") == first)
    #expect(try await identify("second") == first)
    #expect(authority.tokens == ["token", "token", "second"])
    #expect(try await identify(nil) == first)
    await #expect(throws: AgentFailure(.controlPlaneRefused, "the token is not valid")) {
      try await identify("stale")
    }
  }

  @Test("a host that never joined and has no token is told what to do")
  func noToken() async throws {
    await #expect {
      _ = try await enrolment(Authority()).identify(name: "n1", token: nil, report: report)
    } throws: {
      ($0 as? AgentFailure)?.detail.contains("ALOFT_AGENT_JOIN_TOKEN") == true
    }
  }

  @Test("a renewed certificate takes the old one's place for the same key")
  func renewal() async throws {
    let authority = Authority(life: 3600)
    let identity = try await enrolment(authority).join(name: "n1", token: "token", report: report)
    let before = try FileSystem.readAll(identity.certificatePath)
    _ = try await enrolment(authority).renew(name: "n1")
    #expect(try FileSystem.readAll(identity.certificatePath) != before)
    #expect(authority.nodes == 1)
    #expect(
      FileSystem.names(in: directory.path + "/identity") == ["key.pem", "node.json", "node.pem"])
  }

  @Test(
    "the machine renews at two thirds of the life, tries again after a failure, and goes on when it has expired"
  )
  func schedule() throws {
    let validity = CertificateValidity(notBefore: 1_000_000, notAfter: 1_300_000)
    var machine = AgentMachine(
      now: AgentTime(uptime: 0, wall: 1_000_000), seed: 1, identity: validity)
    func renews(_ event: AgentEvent, at offset: Int) -> Bool {
      machine.handle(event, now: AgentTime(uptime: offset, wall: 1_000_000 + offset)).contains(
        .renewIdentity)
    }
    #expect(!renews(.wake, at: 199_999))
    #expect(renews(.wake, at: 200_000))
    #expect(!renews(.wake, at: 200_001))
    #expect(!renews(.renewed(.failure(AgentFailure(.controlPlaneUnavailable, "no"))), at: 200_002))
    #expect(renews(.wake, at: 400_000))
    let new = CertificateValidity(notBefore: 1_400_000, notAfter: 2_000_000)
    #expect(!renews(.renewed(.success(new)), at: 400_001))
    #expect(!renews(.wake, at: 790_000))
    #expect(renews(.wake, at: 800_000))
  }
}
