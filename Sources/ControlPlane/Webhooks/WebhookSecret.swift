import AloftModel
import Crypto
import Foundation

/// The key of a webhook's signatures, in the form of Standard Webhooks 1.0 (standardwebhooks.com): `whsec_` and base64.
struct WebhookSecret: Sendable, Equatable {
  static let prefix = "whsec_"
  private static let words = 4

  /// 256 random bits.
  let bytes: [UInt8]

  static func make(_ environment: Environment) -> WebhookSecret {
    WebhookSecret(
      bytes: (0..<words).flatMap { _ in withUnsafeBytes(of: environment.random().bigEndian) { Array($0) } })
  }

  /// As its owner gets it, once.
  var text: String { Self.prefix + Data(bytes).base64EncodedString() }

  /// HMAC-SHA-256 over `id.timestamp.body`, as one entry of the header `webhook-signature`.
  func signature(id: String, timestamp: Int, body: [UInt8]) -> String {
    var code = HMAC<SHA256>(key: SymmetricKey(data: bytes))
    code.update(data: Array("\(id).\(timestamp).".utf8))
    code.update(data: body)
    return "v1," + Data(code.finalize()).base64EncodedString()
  }
}

/// What is stored of secrets: sealed with the operator's key, for this webhook and no other.
extension SealingKey {
  func seal(_ secret: WebhookSecret, of webhook: WebhookID) throws -> [UInt8] {
    try seal(secret.bytes, for: .webhookSecret, of: webhook.description)
  }

  func open(_ sealed: [UInt8], of webhook: WebhookID) throws(Failure) -> WebhookSecret {
    WebhookSecret(bytes: try open(sealed, for: .webhookSecret, of: webhook.description))
  }
}
