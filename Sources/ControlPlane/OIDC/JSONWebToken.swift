import AloftModel
import Foundation
import JSON

/// A signed JSON Web Token (RFC 7519) in its compact form, taken apart. Nothing in it is to be believed before its signature
/// holds.
struct JSONWebToken: Sendable {
  static let mostBytes = 16 << 10
  private static let mostDepth = 16
  /// Tokens of the same issuers that are not for calling: OpenID Connect Back-Channel Logout 1.0, RFC 8417, RFC 9449.
  private static let otherTypes = ["logout+jwt", "secevent+jwt", "dpop+jwt"]

  /// As the header spells it.
  let algorithm: String
  let keyID: String?
  let claims: Claims
  /// What is signed: header and payload as they came.
  let signedBytes: [UInt8]
  let signature: [UInt8]

  /// Whether a bearer token looks like one of these and not like ours.
  static func isMeant(by text: String) -> Bool {
    !text.hasPrefix(TokenSecret.prefix) && text.utf8.count { $0 == UInt8(ascii: ".") } == 2
  }

  init(_ text: String) throws(Problem) {
    guard text.utf8.count <= Self.mostBytes else {
      throw Self.malformed("it has more than \(Self.mostBytes) bytes")
    }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw Self.malformed("it has not three parts") }
    let header = try Self.object(parts[0], "header")
    guard let algorithm = header["alg"]?.stringValue else { throw Self.malformed("its header names no algorithm") }
    // Extensions that must be understood are not (RFC 7515, section 4.1.11).
    guard header["crit"] == nil else { throw Self.malformed("its header asks for extensions") }
    if let type = header["typ"]?.stringValue?.lowercased(), Self.otherTypes.contains(where: type.hasSuffix) {
      throw Self.malformed("it is a \(type.prefix(40)), which says something else than who calls")
    }
    guard let signature = Base64URL.decode(parts[2]) else { throw Self.malformed("its signature is not base64url") }
    self.algorithm = algorithm
    keyID = header["kid"]?.stringValue
    claims = Claims(object: try Self.object(parts[1], "payload"))
    signedBytes = Array("\(parts[0]).\(parts[1])".utf8)
    self.signature = signature
  }

  private static func object(_ part: Substring, _ name: String) throws(Problem) -> JSONObject {
    guard let bytes = Base64URL.decode(part), let value = try? JSONValue.parse(bytes, maximumDepth: mostDepth),
      let object = value.objectValue
    else { throw malformed("its \(name) is not a JSON object in base64url") }
    return object
  }

  static func malformed(_ why: String) -> Problem {
    Problem(.tokenInvalid, "the token is neither an API token of Aloft (aloft_…) nor a JSON Web Token: \(why)")
  }
}

/// What a token says.
struct Claims: Sendable {
  let object: JSONObject

  func string(_ name: String) -> String? { value(name)?.stringValue }

  /// A text, or the texts of a list.
  func strings(_ name: String) -> [String] {
    guard let value = value(name) else { return [] }
    return value.stringValue.map { [$0] } ?? value.arrayValue?.compactMap(\.stringValue) ?? []
  }

  /// Seconds since 1970 (RFC 7519, section 2, NumericDate).
  func time(_ name: String) -> Date? {
    guard let seconds = object[name]?.doubleValue, abs(seconds) < 1e12 else { return nil }
    return Date(timeIntervalSince1970: seconds)
  }

  /// A claim of that very name, or where there is none, the way into objects that dots show.
  private func value(_ name: String) -> JSONValue? {
    if let value = object[name] { return value }
    return name.split(separator: ".").reduce(JSONValue.object(object)) { value, part in value?[String(part)] }
  }
}

/// What must hold of a token's claims besides its signature.
struct ClaimRequirements: Sendable {
  /// How far the issuer's clock may be from ours, in seconds.
  static let leeway: TimeInterval = 60

  var issuer: String
  /// One of them must be meant.
  var audiences: [String]
  /// Of a login; nil: a bearer token.
  var nonce: String?

  /// Why the claims are refused at `now`; nil when they hold.
  func refusal(of claims: Claims, at now: Date) -> Problem? {
    guard claims.string("iss") == issuer else { return Self.invalid("its issuer is not \(issuer)") }
    guard !Set(claims.strings("aud")).isDisjoint(with: audiences) else {
      return Self.invalid("it is meant for somebody else: aud has none of \(audiences.joined(separator: ", "))")
    }
    guard let subject = claims.string("sub"), (1...255).contains(subject.utf8.count), !subject.utf8.contains(0) else {
      return Self.invalid("it has no subject (sub) of 1 to 255 bytes")
    }
    guard let expiry = claims.time("exp") else { return Self.invalid("it does not say when it ends (exp)") }
    guard now < expiry.addingTimeInterval(Self.leeway) else {
      return Problem(
        .tokenExpired,
        "the token expired at \(expiry.formatted(.iso8601)), and here it is \(now.formatted(.iso8601)); ask the issuer for a new one"
      )
    }
    guard let issued = claims.time("iat") else { return Self.invalid("it does not say when it was made (iat)") }
    for (name, time) in [("iat", issued), ("nbf", claims.time("nbf") ?? issued)]
    where time.addingTimeInterval(-Self.leeway) > now {
      return Self.invalid(
        "it is from the future: \(name) is \(time.formatted(.iso8601)), and here it is \(now.formatted(.iso8601)); one of the clocks is wrong by more than \(Int(Self.leeway)) s"
      )
    }
    guard claims.object["events"] == nil else {
      return Self.invalid("it tells of an event and not of a caller (events)")
    }
    // Whoever is not the key's holder could send it (RFC 7800), and nobody here asks for the key.
    guard claims.object["cnf"] == nil else {
      return Self.invalid("it is bound to a key of its holder (cnf), which is not asked for here; send one without")
    }
    if let nonce, claims.string("nonce") != nonce { return Self.invalid("it was made for another login (nonce)") }
    return nil
  }

  static func invalid(_ why: String) -> Problem { Problem(.tokenInvalid, "the token is refused: \(why)") }
}
