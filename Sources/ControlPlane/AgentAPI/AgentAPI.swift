import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging
import Postgres

/// What node agents call, `/agent/v1`.
///
/// Invariants:
/// - Every call but the join needs a client certificate of Aloft's own authority, and speaks for the node that it names.
/// - An agent reads and reports only what is assigned to its node; everything else looks absent.
/// - Old news is dropped: an observation counts only for the current incarnation, and only if it is newer than the last.
struct AgentAPI: Sendable {
  static let prefix = "/agent/v1/"
  static let bodyLimit = 4 << 20
  /// For a whole body: a caller need not be known to send one.
  static let bodyTime = Duration.seconds(60)
  /// For what strangers may send, and for what holds a certificate request only.
  static let identityBodyLimit = 64 << 10

  let plane: Plane
  private let joins = JoinGate()

  init(plane: Plane) { self.plane = plane }

  func respond(_ request: Request, requestID: String) async throws -> Reply {
    let segments = request.path.dropFirst(Self.prefix.count).split(separator: "/", omittingEmptySubsequences: false)
      .map(String.init)
    if segments == ["join"], request.method == .post {
      return try await join(
        try await decode(JoinRequest.self, request, limit: Self.identityBodyLimit), peer: request.peer.address,
        requestID: requestID)
    }
    let caller = try await authenticate(request)
    let node = caller.node
    switch (request.method, segments.first ?? "", segments.count) {
    case (.post, "renew", 1):
      return try await renew(
        try await decode(RenewRequest.self, request, limit: Self.identityBodyLimit), node: node)
    case (.put, "node", 1): return try await report(try await decode(NodeReport.self, request), caller: caller)
    case (.get, "assignments", 1): return try await assignments(of: node, query: request.query)
    case (.post, "observations", 1):
      return try await observe(try await decode(ReceivedObservations.self, request), node: node)
    case (.get, "images", 3) where segments[2] == "content":
      return try await imageContent(segments[1], node: node, request.headers)
    case (let method, "images", 3) where segments[2] == "content":
      return try await exportContent(segments[1], node: node, method, request)
    case (.put, "images", 3) where segments[2] == "export":
      let report = try await decode(ExportReport.self, request, limit: Self.identityBodyLimit)
      return try await take(report, of: segments[1], node: node)
    case (.put, "backups", 3) where segments[2] == "progress":
      let report = try await decode(ExportReport.self, request, limit: Self.identityBodyLimit)
      return try await take(report, ofBackup: segments[1], node: node)
    case (.post, "backups", 3) where segments[2] == "missing":
      let list = try await decode(ChunkList.self, request, limit: Self.identityBodyLimit)
      return try await missing(list, of: segments[1], node: node)
    case (_, "backups", 3...5): return try await backup(segments, node, request)
    case (.get, "pools", 2): return try await turn(at: segments[1], node: node)
    case (.post, "pools", 3) where segments[2] == "contents":
      let contents = try await decode(SharedPoolContents.self, request, limit: Self.poolBodyLimit)
      return try await compare(contents, with: segments[1], node: node)
    case (.post, "streams", 2):
      guard let id = StreamID(segments[1]) else { throw notFound }
      do {
        try await plane.streams.deliver(id, from: node, request: request)
      } catch let problem as Problem {
        refused("stream", segments[1], node)
        throw problem
      }
      return .noContent
    default: throw notFound
    }
  }

  var notFound: Problem { Problem(.notFound, "the agent protocol has no such call") }

  /// The node that the client certificate names.
  private func authenticate(_ request: Request) async throws -> NodeCaller {
    guard let certificate = request.peer.certificate else {
      throw Problem(.unauthenticated, "agents show a client certificate; this connection has none")
    }
    return try await plane.authorities.current().caller(certificate: certificate, now: plane.environment.now())
  }

  /// Something that is not assigned to the node that wants it, or not any more. Agents that are in order hardly ever ask.
  func refused(_ what: String, _ names: String, _ node: NodeID) {
    plane.logger.warning(
      "a node was refused what is not assigned to it",
      metadata: ["node": "\(node)", "what": "\(what)", "of": "\(AgentText.shortened(names))"])
  }

  /// A call of a node that was removed: its certificate is good no more.
  static func removed(_ node: NodeID) -> Problem {
    Problem(.tokenInvalid, "node \(node) is not part of this cloud any more; join again with a new token")
  }

  private func decode<Value: Decodable>(
    _ type: Value.Type, _ request: Request, limit: Int = AgentAPI.bodyLimit
  ) async throws -> Value {
    let bytes: [UInt8]
    do {
      bytes = try await request.body.collect(upTo: limit, within: Self.bodyTime)
    } catch {
      throw Problem.of(error)
    }
    do {
      return try JSONCoder.decode(Value.self, from: try JSONValue.parse(bytes))
    } catch let error as JSONDecodingError {
      throw Problem(
        .badFormat, error.message,
        errors: [.init(code: .badFormat, detail: error.message, pointer: error.pointer.description)])
    } catch {
      throw Problem(.notJSON, "the body is not JSON: \(error)")
    }
  }

  // MARK: Identity

  /// Makes the node, or finds the one that the same key made: an agent that crashed before it kept the answer asks again with
  /// the same token, and one whose certificate has expired comes back with another.
  private func join(_ join: JoinRequest, peer: String, requestID: String) async throws -> Reply {
    try joins.enter()
    defer { joins.leave() }
    // Whoever has no token costs one look at an index, not the parsing of what it sent.
    try await requireKnown(join.token)
    try AgentInput.check(join)
    let csr = try NodeCertificateRequest(pem: join.certificateRequest)
    try NodeName.check(join.name)
    let fresh = NodeID(plane.environment.newUUID())
    let answer = try await plane.database.transaction { session -> JoinAnswer in
      guard
        let token = try session.one(
          """
          SELECT id, pool_id, labels, node_id, expires_at > aloft_now() FROM node_tokens
           WHERE secret_hash = \(Secret.hash(join.token)) FOR UPDATE
          """)
      else { throw Self.unknownToken }
      if let used = try token.get(3, as: UUID?.self) {
        let same = try session.one(
          "SELECT 1 FROM nodes WHERE id = \(used) AND name = \(join.name) AND public_key_sha256 = \(csr.keyHash)")
        guard same != nil else {
          throw Problem(.joinTokenInvalid, "the join token was used by another node; each is good for one")
        }
        return try issue(NodeID(used), csr, in: session)
      }
      guard try token.get(4, as: Bool.self) else {
        throw Problem(
          .joinTokenInvalid, "the join token has expired; an operator makes a new one with POST /v1/node-tokens")
      }
      if let known = try Self.rejoin(
        join, csr, token: try token.get(0), peer: peer, requestID: requestID, in: session)
      {
        return try issue(known, csr, in: session)
      }
      try NodeStore.insert(
        fresh, name: join.name, pool: try token.get(1), labels: try token.get(2, as: JSONText.self).text,
        keyHash: csr.keyHash, report: join.report, in: session)
      _ = try session.execute(
        "UPDATE node_tokens SET node_id = \(fresh), revision = revision + 1 WHERE id = \(try token.get(0, as: UUID.self))"
      )
      try LeaseRenewals.renew([fresh.uuid], seconds: plane.settings.leaseSeconds, in: session)
      try EventStore.append(.nodeJoined, project: nil, resource: fresh.uuid, data: ["name": join.name], in: session)
      try AuditTrail.joined(fresh, peer: peer, requestID: requestID, in: session)
      return try issue(fresh, csr, in: session)
    }
    plane.wakeups.signal([.events])
    return try .encoded(answer)
  }

  /// A certificate of the authority that is active in this transaction. A node that joins has no other.
  private func issue(
    _ node: NodeID, _ csr: NodeCertificateRequest, in session: Session
  ) throws -> JoinAnswer {
    let set = try plane.authorities.signing(in: session)
    let issued = try set.signer.issueNode(node, request: csr, now: plane.environment.now())
    try session.execute(
      """
      UPDATE nodes SET certificate_authority = \(set.signer.certificate.fingerprint),
                       certificate_expires_at = \(issued.notAfter)
       WHERE id = \(node)
      """)
    return JoinAnswer(nodeId: node, certificate: issued.pem, trust: set.anchors)
  }

  private static let unknownToken = Problem(
    .joinTokenInvalid, "the join token is unknown; an operator makes one with POST /v1/node-tokens")

  private func requireKnown(_ token: String) async throws {
    let hash = Secret.hash(token)
    let isKnown = try await plane.database.run { session in
      try session.one("SELECT 1 FROM node_tokens WHERE secret_hash = \(hash)") != nil
    }
    if !isKnown { throw Self.unknownToken }
  }

  /// The node of this name that has this key, which is the proof: the request is signed with it. It stays what it is, and the
  /// token is used up.
  private static func rejoin(
    _ join: JoinRequest, _ csr: NodeCertificateRequest, token: UUID, peer: String, requestID: String,
    in session: Session
  ) throws -> NodeID? {
    let row = try session.one(
      "SELECT id FROM nodes WHERE name = \(join.name) AND public_key_sha256 = \(csr.keyHash) FOR UPDATE")
    guard let node = try row?.get(0, as: NodeID.self) else { return nil }
    _ = try session.execute("UPDATE node_tokens SET node_id = \(node), revision = revision + 1 WHERE id = \(token)")
    try AuditTrail.joined(node, peer: peer, requestID: requestID, in: session)
    return node
  }

  private func renew(_ renew: RenewRequest, node: NodeID) async throws -> Reply {
    let csr = try NodeCertificateRequest(pem: renew.certificateRequest)
    let answer = try await plane.database.transaction { session -> JoinAnswer in
      let known = try session.execute("UPDATE nodes SET public_key_sha256 = \(csr.keyHash) WHERE id = \(node)")
      guard known == 1 else { throw Self.removed(node) }
      // The answer may be lost: what the node has is known when it shows it.
      let set = try plane.authorities.signing(in: session)
      let issued = try set.signer.issueNode(node, request: csr, now: plane.environment.now())
      return JoinAnswer(nodeId: node, certificate: issued.pem, trust: set.anchors)
    }
    return try .encoded(answer)
  }

  private func report(_ report: NodeReport, caller: NodeCaller) async throws -> Reply {
    let node = caller.node
    try AgentInput.check(report)
    let set = try await plane.authorities.current()
    let isActive = caller.authority == set.signer.certificate.fingerprint
    try await plane.database.transaction { session in
      let isKnown = AuthorityStore.isKnown(caller, trusted: report.trust)
      guard let row = try session.one("SELECT \(fragment: isKnown) FROM nodes WHERE id = \(node)") else {
        throw Self.removed(node)
      }
      if try NodeStore.report(node, report, in: session) {
        try EventStore.append(.nodeUpdated, project: nil, resource: node.uuid, in: session)
      }
      if let pools = report.pools { try StoragePlaces.report(pools, of: node, in: session) }
      if try row.get(0, as: Bool.self) { return }
      try AuthorityStore.shown(caller, isActive: isActive, trusted: report.trust, in: session)
    }
    plane.leases.renew(node.uuid)
    return try .encoded(
      LeaseAnswer(
        leaseSeconds: plane.settings.leaseSeconds, trust: report.trust == set.fingerprints ? nil : set.anchors,
        renew: isActive ? nil : true, fabric: plane.settings.networking.fabric))
  }

  // MARK: Images

  private func imageContent(_ text: String, node: NodeID, _ headers: HTTPFields) async throws -> Reply {
    guard let id = ImageID(text) else { throw notFound }
    let image = try await plane.database.run { session -> ImageRecord? in
      let wanted = try session.one(
        """
        SELECT 1 FROM volumes v WHERE v.node_id = \(node) AND v.image_id = \(id) LIMIT 1
        """)
      return wanted == nil ? nil : try ImageStore.find(id, in: session)
    }
    guard let image, let content = image.upload, let size = image.sizeBytes, let sha256 = image.sha256 else {
      refused("image", text, node)
      throw Problem(.notFound, "no volume of this node needs image \(text)")
    }
    return try await ContentReply(contents: plane.images, content: content, size: size, sha256: sha256)
      .reply(to: headers)
  }
}

/// Names of nodes: what the contract calls a Name.
enum NodeName {
  static func check(_ name: String) throws(Problem) {
    let letters = name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    guard letters, (1...63).contains(name.utf8.count), let first = name.utf8.first, (97...122).contains(first),
      name.utf8.last != 45
    else {
      throw Problem(
        .badFormat,
        "\(name.debugDescription) is no node name; use lower-case letters, digits and dashes, a letter first",
        errors: [.init(code: .badFormat, detail: "not a name", pointer: "/name")])
    }
  }
}

extension Reply {
  /// JSON of the agent protocol.
  static func encoded(_ value: some Encodable) throws -> Reply {
    Reply(contentType: "application/json", body: .bytes(try JSONCoder.encode(value)))
  }
}
