import AloftModel
import Crypto
import Execution
import FoundationEssentials
import Glibc
import JSON
import SwiftASN1
import X509

// <data>/identity/
//   key.pem     the node's private key (P-256), made here; never leaves the node, never changes
//   node.pem    the client certificate and what it chains to
//   node.json   the node's id, and a digest of the token it joined with
//   trust.json  the control plane's authorities, as it told them last
//   trust.pem   whom to trust: the operator's file and these, without what was retired
//
// The key is written before the first request to join, and the server knows a node by its key: a join whose answer was
// lost is simply made again.

/// Who this node is.
public struct NodeIdentity: Sendable {
  public var id: NodeID
  public var certificatePath: String
  public var keyPath: String
  public var validity: CertificateValidity
}

/// Keeps the node's key and certificate.
public struct IdentityStore: Sendable {
  private let folder: String
  private let thread = DedicatedThread(name: "identity")

  /// - Parameter data: the data directory.
  public init(data: String) { folder = data + "/identity" }

  private var keyPath: String { folder + "/key.pem" }
  private var certificatePath: String { folder + "/node.pem" }
  private var nodePath: String { folder + "/node.json" }

  /// Where the client certificate and its key are, or will be.
  public var paths: (certificate: String, key: String) { (certificatePath, keyPath) }

  private struct Stored: Codable {
    var nodeId: NodeID
    /// SHA-256 of the join token: one that stays in the agent's settings is used once, another is used again.
    var joinTokenSha256: String?
  }

  /// Whether this node's identity came by this very token.
  public func joined(with token: String) async -> Bool {
    await thread.run { (try? stored())?.joinTokenSha256 == Self.digest(token) }
  }

  private func stored() throws(AgentFailure) -> Stored {
    do { return try JSONCoder.decode(Stored.self, from: try FileSystem.readAll(nodePath)) } catch {
      throw AgentFailure(.storage, "\(nodePath) cannot be read: \(error)")
    }
  }

  private static func digest(_ token: String) -> String {
    SHA256.hash(data: Array(token.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The identity of a node that has joined; nil for one that has not.
  public func load() async throws(AgentFailure) -> NodeIdentity? {
    try await thread.run { () throws(AgentFailure) in
      guard FileSystem.exists(nodePath) else { return nil }
      let stored = try stored()
      let validity = try Self.validity(
        of: String(decoding: try FileSystem.readAll(certificatePath), as: UTF8.self))
      return NodeIdentity(
        id: stored.nodeId, certificatePath: certificatePath, keyPath: keyPath, validity: validity)
    }
  }

  /// A PKCS #10 request in PEM for the node's key, which is made if there is none.
  public func certificateRequest(name: String) async throws(AgentFailure) -> String {
    try await thread.run { () throws(AgentFailure) in
      try FileSystem.makeFolder(folder, mode: 0o700)
      if !FileSystem.exists(keyPath) {
        try FileSystem.replace(
          keyPath, with: Array((P256.Signing.PrivateKey().pemRepresentation + "\n").utf8))
      }
      let text = String(decoding: try FileSystem.readAll(keyPath), as: UTF8.self)
      do {
        let key = try P256.Signing.PrivateKey(pemRepresentation: text)
        let request = try CertificateSigningRequest(
          version: .v1, subject: try DistinguishedName { CommonName(name) },
          privateKey: Certificate.PrivateKey(key),
          attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
        return try request.serializeAsPEM().pemString
      } catch {
        // The error of a key that cannot be read may quote it.
        throw AgentFailure(
          .storage, "\(keyPath) holds no P-256 key in PEM; move it away to join as a new node")
      }
    }
  }

  /// Keeps what the control plane answered, to a join with `token` or to a renewal. The certificate comes first: without
  /// `node.json` the node has not joined, and with an old one it joins again with the same token.
  public func keep(_ answer: JoinAnswer, token: String? = nil) async throws(AgentFailure) -> NodeIdentity {
    let validity = try await thread.run { () throws(AgentFailure) in
      let validity = try Self.validity(of: answer.certificate)
      try FileSystem.replace(certificatePath, with: Array(answer.certificate.utf8))
      if let trust = answer.trust { try TrustFiles(folder: folder).keep(trust) }
      let kept = Stored(
        nodeId: answer.nodeId, joinTokenSha256: token.map(Self.digest) ?? (try? stored())?.joinTokenSha256)
      let bytes: [UInt8]
      do { bytes = try JSONCoder.encode(kept) } catch {
        throw AgentFailure(.storage, "\(nodePath) cannot be written: \(error)")
      }
      try FileSystem.replace(nodePath, with: bytes)
      return validity
    }
    return NodeIdentity(
      id: answer.nodeId, certificatePath: certificatePath, keyPath: keyPath, validity: validity)
  }

  /// Keeps whom the control plane wants to be trusted.
  public func keep(_ trust: TrustAnchors) async throws(AgentFailure) {
    try await thread.run { () throws(AgentFailure) in try TrustFiles(folder: folder).keep(trust) }
  }

  /// Fingerprints of the control plane's authorities that were kept, in order.
  public func trusted() async throws(AgentFailure) -> [String] {
    try await thread.run { () throws(AgentFailure) in try TrustFiles(folder: folder).fingerprints() }
  }

  /// Writes the file that servers are verified by, of `base`, which the operator gave, and what was kept. Returns its path; as
  /// long as nothing was kept, `base` itself.
  public func trustFile(base: String) async throws(AgentFailure) -> String {
    try await thread.run { () throws(AgentFailure) in try TrustFiles(folder: folder).file(base: base) }
  }

  /// A file with the control plane's own authorities; nil when none is known. `base`: the file that the operator gave.
  public func authorities(base: String?) async throws(AgentFailure) -> String? {
    try await thread.run { () throws(AgentFailure) in try TrustFiles(folder: folder).authorities(base: base) }
  }

  /// When the first certificate of a PEM text is valid.
  private static func validity(of pem: String) throws(AgentFailure) -> CertificateValidity {
    do {
      guard let first = try PEMDocument.parseMultiple(pemString: pem).first else {
        throw AgentFailure(.controlPlaneRefused, "there is no certificate")
      }
      let certificate = try Certificate(pemDocument: first)
      return CertificateValidity(
        notBefore: Int(certificate.notValidBefore.timeIntervalSince1970 * 1000),
        notAfter: Int(certificate.notValidAfter.timeIntervalSince1970 * 1000))
    } catch {
      throw AgentFailure(.controlPlaneRefused, "the node's certificate cannot be read: \(error)")
    }
  }
}
