import AloftModel
import Crypto
import Foundation
import SwiftASN1
import X509

/// What an authority vouches with, without its key.
public struct AuthorityCertificate: Sendable {
  public let pem: String
  /// SHA-256 of the certificate in DER, in lower-case hexadecimal.
  public let fingerprint: String
  /// When it ends, and all that it has signed with it.
  public let notAfter: Date
  fileprivate let certificate: Certificate

  /// Reads one certificate. Throws when it is none of an authority.
  public init(pem: String) throws {
    certificate = try Certificate(pemEncoded: pem)
    guard case .isCertificateAuthority? = try certificate.extensions.basicConstraints else {
      throw CommandRefusal("the certificate is none of an authority: it may not sign others")
    }
    self.pem = pem
    notAfter = certificate.notValidAfter
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    fingerprint = SHA256.hash(data: serializer.serializedBytes)
      .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// Whether this authority signed the certificate.
  func signed(_ other: Certificate) -> Bool {
    other.issuer == certificate.subject && certificate.publicKey.isValidSignature(other.signature, for: other)
  }
}

/// Aloft's own certificate authority: signs what nodes present, and the server's own certificate.
public struct CertificateAuthority: Sendable {
  public let certificate: AuthorityCertificate
  private let key: Certificate.PrivateKey
  /// How long a node's certificate is good.
  public static let nodeLifetime: TimeInterval = 7 * 24 * 3600

  /// Reads the authority from PEM. Throws when the key is not the certificate's.
  public init(certificatePEM: String, privateKeyPEM: String) throws {
    certificate = try AuthorityCertificate(pem: certificatePEM)
    key = try Certificate.PrivateKey(pemEncoded: privateKeyPEM)
    guard key.publicKey == certificate.certificate.publicKey else {
      throw CommandRefusal("the authority's key does not belong to its certificate")
    }
  }

  /// A new authority, for ten years from `now`. Returns its certificate and its key in PEM.
  public static func create(name: String, now: Date) throws -> (certificatePEM: String, privateKeyPEM: String) {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let subject = try DistinguishedName { CommonName(name) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: now.addingTimeInterval(-300),
      notValidAfter: now.addingTimeInterval(10 * 365 * 24 * 3600), issuer: subject, subject: subject,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: key.publicKey)
      }, issuerPrivateKey: key)
    return (try certificate.serializeAsPEM().pemString, try key.serializeAsPEM().pemString)
  }

  /// A server certificate for these DNS names and addresses. Returns it and its key in PEM.
  public func issueServer(names: [String], now: Date, lifetime: TimeInterval) throws -> (
    certificatePEM: String, privateKeyPEM: String
  ) {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let certificate = try sign(
      key.publicKey, subject: try DistinguishedName { CommonName("aloftd") }, now: now, lifetime: lifetime,
      usage: .serverAuth, names: names)
    return (try certificate.serializeAsPEM().pemString, try key.serializeAsPEM().pemString)
  }

  /// Signs a node's request. What the request says about the subject does not matter: the certificate names the node.
  func issueNode(_ node: NodeID, request: NodeCertificateRequest, now: Date) throws -> (
    pem: String, notAfter: Date
  ) {
    let certificate = try sign(
      request.publicKey, subject: try DistinguishedName { CommonName(node.description) }, now: now,
      lifetime: Self.nodeLifetime, usage: .clientAuth, names: [])
    return (try certificate.serializeAsPEM().pemString, certificate.notValidAfter)
  }

  private func sign(
    _ publicKey: Certificate.PublicKey, subject: DistinguishedName, now: Date, lifetime: TimeInterval,
    usage: ExtendedKeyUsage.Usage, names: [String]
  ) throws -> Certificate {
    try Certificate(
      version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: now.addingTimeInterval(-300),
      notValidAfter: min(now.addingTimeInterval(lifetime), certificate.notAfter),
      issuer: certificate.certificate.subject, subject: subject,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: key.publicKey).keyIdentifier)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([usage])
        if !names.isEmpty { SubjectAlternativeNames(names.map(Self.generalName)) }
      }, issuerPrivateKey: key)
  }

  private static func generalName(_ name: String) -> GeneralName {
    var v4 = in_addr()
    if inet_pton(AF_INET, name, &v4) == 1 {
      return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: &v4) { ArraySlice($0) }))
    }
    var v6 = in6_addr()
    if inet_pton(AF_INET6, name, &v6) == 1 {
      return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: &v6) { ArraySlice($0) }))
    }
    return .dnsName(name)
  }
}

/// A node's PKCS #10 request whose signature holds: the sender has the key.
struct NodeCertificateRequest: Sendable {
  let publicKey: Certificate.PublicKey
  /// Tells whether it is the same key as before.
  let keyHash: [UInt8]

  init(pem: String) throws(Problem) {
    do {
      let request = try CertificateSigningRequest(pemEncoded: pem)
      guard request.publicKey.isValidSignature(request.signature, for: request) else {
        throw Problem(.badFormat, "the certificate request is not signed by its own key")
      }
      publicKey = request.publicKey
      var serializer = DER.Serializer()
      try serializer.serialize(request.publicKey)
      keyHash = Array(SHA256.hash(data: serializer.serializedBytes))
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(.badFormat, "certificate_request is no PKCS #10 request in PEM")
    }
  }
}

/// Who a client certificate speaks for.
enum NodeIdentity {
  /// Nil when the certificate names no node.
  static func node(_ certificate: Certificate) -> NodeID? {
    for name in certificate.subject {
      for attribute in name where attribute.type == .RDNAttributeType.commonName {
        return NodeID(String(describing: attribute.value))
      }
    }
    return nil
  }
}
