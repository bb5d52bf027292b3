import AloftModel
import Crypto
import Execution
import Foundation
import SwiftASN1
import X509

/// A node that called, as its certificate says.
struct NodeCaller: Sendable {
  var node: NodeID
  /// The fingerprint of the authority that signed.
  var authority: String
  var notAfter: Date
}

/// Aloft's authorities at one moment: who signs, and who is trusted.
public final class AuthoritySet: Sendable {
  /// The active authority, with its key.
  public let signer: CertificateAuthority
  /// What agents and clients are to trust, and what no more.
  public let anchors: TrustAnchors
  /// Fingerprints of the trusted ones, in order.
  public let fingerprints: [String]
  private let trusted: [AuthorityCertificate]
  /// Certificates whose signature was verified, by their digests: a node shows the same one for days.
  private let verified = Lock<[SHA256.Digest: NodeCaller]>([:])
  private static let mostVerified = 20_000

  init(_ records: [AuthorityRecord], sealing: SealingKey) throws {
    guard let active = records.first(where: { $0.state == .active }), let sealed = active.sealedKey else {
      throw CommandRefusal("the database holds no certificate authority; aloftd serve or aloftd ca init makes one")
    }
    let key = try sealing.open(sealed, for: .authorityKey, of: active.fingerprint)
    signer = try CertificateAuthority(
      certificatePEM: active.certificatePEM, privateKeyPEM: String(decoding: key, as: UTF8.self))
    let good = records.filter { $0.state != .retired }
    trusted = try good.map { try AuthorityCertificate(pem: $0.certificatePEM) }
    fingerprints = good.map(\.fingerprint).sorted()
    anchors = TrustAnchors(
      authorities: good.map { $0.certificatePEM.trimmingCharacters(in: .newlines) + "\n" }.joined(),
      retired: records.filter { $0.state == .retired }.map(\.fingerprint).sorted())
  }

  /// Whether connections are to be let in and servers to be certified as before.
  public func isSame(as other: AuthoritySet) -> Bool {
    fingerprints == other.fingerprints && signer.certificate.fingerprint == other.signer.certificate.fingerprint
  }

  /// The node that a certificate speaks for. The handshake has verified it, but a connection may outlive the certificate, and
  /// the trust in who signed it.
  func caller(certificate der: [UInt8], now: Date) throws(Problem) -> NodeCaller {
    let caller: NodeCaller
    let digest = SHA256.hash(data: der)
    if let known = verified.withLock({ $0[digest] }) {
      caller = known
    } else {
      caller = try verify(der)
      verified.withLock { verified in
        if verified.count >= Self.mostVerified { verified = [:] }
        verified[digest] = caller
      }
    }
    guard now <= caller.notAfter else {
      throw Problem(
        .certificateExpired,
        "the client certificate ended \(caller.notAfter.formatted(.iso8601)); join again with a token")
    }
    return caller
  }

  private func verify(_ der: [UInt8]) throws(Problem) -> NodeCaller {
    guard let certificate = try? Certificate(derEncoded: der), let node = NodeIdentity.node(certificate) else {
      throw Problem(.tokenInvalid, "the client certificate names no node")
    }
    guard let authority = trusted.first(where: { $0.signed(certificate) }) else {
      throw Problem(
        .certificateUntrusted,
        "the client certificate is of no authority of this cloud, or of one that was retired; join again with a token")
    }
    return NodeCaller(node: node, authority: authority.fingerprint, notAfter: certificate.notValidAfter)
  }
}
