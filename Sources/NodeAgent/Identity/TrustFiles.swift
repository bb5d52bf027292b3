import AloftModel
import Crypto
import FoundationEssentials
import JSON
import SwiftASN1
import X509

/// Whom the agent trusts, on disk. What the control plane tells is added to the operator's file, and what it has retired is
/// taken out, so that an authority can be replaced without anybody going to the hosts.
struct TrustFiles {
  let folder: String

  private var toldPath: String { folder + "/trust.json" }
  private var filePath: String { folder + "/trust.pem" }

  /// Throws `controlPlaneRefused` when there is no certificate in it that could be trusted.
  func keep(_ trust: TrustAnchors) throws(AgentFailure) {
    guard try !Self.certificates(trust.authorities).isEmpty else {
      throw AgentFailure(.controlPlaneRefused, "the control plane names no authority to trust")
    }
    let bytes: [UInt8]
    do { bytes = try JSONCoder.encode(trust) } catch {
      throw AgentFailure(.storage, "\(toldPath) cannot be written: \(error)")
    }
    try FileSystem.replace(toldPath, with: bytes)
  }

  func fingerprints() throws(AgentFailure) -> [String] {
    guard let told = try told() else { return [] }
    return try Self.certificates(told.authorities).map(\.fingerprint).sorted()
  }

  func file(base: String) throws(AgentFailure) -> String {
    guard let told = try told() else { return base }
    let given = try Self.certificates(String(decoding: try FileSystem.readAll(base), as: UTF8.self))
    var texts: [String] = []
    var seen = Set(told.retired)
    for certificate in try Self.certificates(told.authorities) + given
    where seen.insert(certificate.fingerprint).inserted {
      texts.append(certificate.pem)
    }
    let bytes = Array((texts.joined(separator: "\n") + "\n").utf8)
    if (try? FileSystem.readAll(filePath)) != bytes { try FileSystem.replace(filePath, with: bytes) }
    return filePath
  }

  /// A file with the control plane's own authorities, told or given, for programs that verify by nothing else; nil when none is
  /// known.
  func authorities(base: String?) throws(AgentFailure) -> String? {
    if let base { return try file(base: base) }
    guard let told = try told() else { return nil }
    let texts = try Self.certificates(told.authorities).filter { !told.retired.contains($0.fingerprint) }.map(\.pem)
    let bytes = Array((texts.joined(separator: "\n") + "\n").utf8)
    // Who reads it watches when it changes.
    if (try? FileSystem.readAll(filePath)) != bytes { try FileSystem.replace(filePath, with: bytes) }
    return filePath
  }

  private func told() throws(AgentFailure) -> TrustAnchors? {
    guard FileSystem.exists(toldPath) else { return nil }
    do { return try JSONCoder.decode(TrustAnchors.self, from: try FileSystem.readAll(toldPath)) } catch {
      throw AgentFailure(.storage, "\(toldPath) cannot be read: \(error)")
    }
  }

  private static func certificates(_ text: String) throws(AgentFailure) -> [(pem: String, fingerprint: String)] {
    do {
      return try PEMDocument.parseMultiple(pemString: text).filter { $0.discriminator == "CERTIFICATE" }.map {
        document in
        let digest = SHA256.hash(data: document.derBytes)
        return (document.pemString, digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
      }
    } catch {
      throw AgentFailure(.controlPlaneRefused, "authorities to trust cannot be read: \(error)")
    }
  }
}
