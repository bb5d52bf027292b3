import AloftModel
import Foundation
import JSON
import JWTKit

/// The public keys of an issuer (RFC 7517), each for the algorithms that it can be used with and the operator allows.
struct KeySet: Sendable {
  private static let mostKeys = 64

  private struct Name: Hashable {
    var keyID: String?
    var algorithm: SigningAlgorithm
  }

  private var keys: [Name: any JWTAlgorithm] = [:]

  var count: Int { keys.count }

  /// Takes from a JSON Web Key Set what can be used; keys for something else, or that cannot be read, are passed over.
  init(_ document: JSONValue, allowing algorithms: [SigningAlgorithm]) async {
    for value in document["keys"]?.arrayValue?.prefix(Self.mostKeys) ?? [] {
      guard let key = value.objectValue, Self.isForSignatures(key) else { continue }
      for algorithm in algorithms where Self.fits(key, algorithm) {
        guard let made = await Self.make(key, algorithm) else { continue }
        keys[Name(keyID: key["kid"]?.stringValue, algorithm: algorithm)] = made
      }
    }
  }

  /// The key that a token names. A token that names none means the only one there is.
  func key(_ keyID: String?, _ algorithm: SigningAlgorithm) -> (any JWTAlgorithm)? {
    if let keyID { return keys[Name(keyID: keyID, algorithm: algorithm)] }
    let fitting = keys.filter { $0.key.algorithm == algorithm }
    return fitting.count == 1 ? fitting.first?.value : nil
  }

  private static func isForSignatures(_ key: JSONObject) -> Bool {
    let operations = key["key_ops"]?.arrayValue?.compactMap(\.stringValue)
    return (key["use"]?.stringValue ?? "sig") == "sig" && operations?.contains("verify") != false
  }

  private static func fits(_ key: JSONObject, _ algorithm: SigningAlgorithm) -> Bool {
    let (type, curve) = algorithm.key
    return key["kty"]?.stringValue == type && (curve == nil || key["crv"]?.stringValue == curve)
      && (key["alg"]?.stringValue ?? algorithm.rawValue) == algorithm.rawValue
  }

  /// Only what is public goes on, under a name of ours: the key cannot be anything but one for this algorithm.
  private static func make(_ key: JSONObject, _ algorithm: SigningAlgorithm) async -> (any JWTAlgorithm)? {
    var clean: JSONObject = ["kid": "key", "alg": .string(algorithm.rawValue)]
    for name in ["kty", "n", "e", "crv", "x", "y"] { clean[name] = key[name] }
    let text = String(decoding: JSONValue.object(clean).bytes, as: UTF8.self)
    guard let jwk = try? JWK(json: text) else { return nil }
    let collection = JWTKeyCollection()
    guard (try? await collection.add(jwk: jwk)) != nil,
      let made = try? await collection.getKey(for: "key", alg: algorithm.rawValue), made.name == algorithm.rawValue
    else { return nil }
    return made
  }
}
