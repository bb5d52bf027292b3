import AloftModel
import Crypto
import Foundation
import HTTP
import HTTPTypes
import JSON
import Postgres

/// Answers kept for retries (draft-ietf-httpapi-idempotency-key-header).
///
/// An answer may hold a secret that is shown once. It is sealed with a key made of the caller's own token, which the
/// database does not hold, so only the same caller can have it again.
enum IdempotencyKeys {
  /// How long an answer is kept.
  static let keptHours = 24

  /// Takes the key for this call. Returns the stored answer when the call was made before.
  static func claim(_ key: String, call: Call, in session: Session) throws -> Reply? {
    if try session.execute(claiming(key, call: call)) == 1 { return nil }
    // The insert has waited for whoever holds the key, so the row is there, committed and complete.
    guard let stored = try find(key, call: call, in: session) else {
      throw Problem(.unavailable, "the first try with this key was just undone; try again")
    }
    return stored
  }

  /// Takes the key if nobody has it.
  static func claiming(_ key: String, call: Call) -> SQL {
    """
    INSERT INTO idempotency_keys (actor, key, request_hash) VALUES (\(call.principal.name), \(key), \(requestHash(call)))
    ON CONFLICT (actor, key) DO NOTHING
    """
  }

  /// The stored answer, if the call was made before and has been answered.
  static func find(_ key: String, call: Call, in session: Session) throws -> Reply? {
    guard
      let row = try session.one(
        """
        SELECT request_hash, status, headers, body FROM idempotency_keys
         WHERE actor = \(call.principal.name) AND key = \(key) AND status IS NOT NULL
        """)
    else { return nil }
    guard try row.get(0, as: [UInt8].self) == requestHash(call) else {
      throw Problem(
        .idempotencyKeyReused, "the key \(key) belongs to another request; use a new key for each new request",
        errors: [.init(code: .idempotencyKeyReused, detail: "used before", parameter: "Idempotency-Key")])
    }
    return try reply(row, key: key, call: call)
  }

  /// Keeps the answer, in the transaction of its effect.
  static func store(_ reply: Reply, key: String, call: Call, in session: Session) throws {
    _ = try session.execute(storing(reply, key: key, call: call))
  }

  /// Keeps the answer in the row that ``claiming(_:call:)`` made.
  static func storing(_ reply: Reply, key: String, call: Call) throws -> SQL {
    let headers = Dictionary(reply.headers.map { ($0.name.rawName, $0.value) }, uniquingKeysWith: { $1 })
    let text = JSONText(String(decoding: headers.jsonBytes, as: UTF8.self))
    var bytes: [UInt8] = []
    if case .bytes(let body) = reply.body { bytes = body }
    let sealed = try seal(bytes, key: key, call: call)
    return """
      UPDATE idempotency_keys SET status = \(Int(reply.status.code)), headers = \(text)::jsonb, body = \(sealed)
       WHERE actor = \(call.principal.name) AND key = \(key)
      """
  }

  /// Forgets what is older than ``keptHours``.
  static func expire(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM idempotency_keys WHERE (actor, key) IN (
        SELECT actor, key FROM idempotency_keys
         WHERE created_at < aloft_now() - make_interval(hours => \(keptHours)) ORDER BY created_at LIMIT \(limit)
         FOR UPDATE SKIP LOCKED)
      """)
  }

  private static func reply(_ row: Row, key: String, call: Call) throws -> Reply {
    let status = try row.get(1, as: Int?.self) ?? 500
    let headers = try JSONCoder.decode(
      [String: String].self, from: Array(try row.get(2, as: JSONText.self).text.utf8))
    var reply = Reply(status: .init(code: status), isRepeated: true)
    for (name, value) in headers {
      if let name = HTTPField.Name(name) { reply.headers[name] = value }
    }
    let body = try open(try row.get(3), key: key, call: call)
    if !body.isEmpty {
      reply.contentType = "application/json"
      reply.body = .bytes(body)
    }
    return reply
  }

  private static func requestHash(_ call: Call) -> [UInt8] {
    var hash = SHA256()
    hash.update(data: Array("\(call.operationID)\n\(call.request.path)\n\(call.request.query ?? "")\n".utf8))
    hash.update(data: call.bodyBytes)
    return Array(hash.finalize())
  }

  private static func seal(_ bytes: [UInt8], key: String, call: Call) throws -> [UInt8] {
    let box = try AES.GCM.seal(bytes, using: sealingKey(key, call))
    return Array(box.combined ?? Data())
  }

  private static func open(_ sealed: [UInt8], key: String, call: Call) throws -> [UInt8] {
    let box = try AES.GCM.SealedBox(combined: sealed)
    do {
      return Array(try AES.GCM.open(box, using: sealingKey(key, call)))
    } catch {
      // Tokens of an issuer change every few minutes, and the user that they are of stays.
      throw Problem(
        .idempotencyKeyReused,
        "the first try with the key \(key) was carried out; its answer can be read only with the token that made it",
        errors: [.init(code: .idempotencyKeyReused, detail: "used with another token", parameter: "Idempotency-Key")])
    }
  }

  private static func sealingKey(_ key: String, _ call: Call) -> SymmetricKey {
    HKDF<SHA256>.deriveKey(
      inputKeyMaterial: SymmetricKey(data: call.principal.seal), salt: Array(key.utf8),
      info: Array("aloft idempotency".utf8),
      outputByteCount: 32)
  }
}
