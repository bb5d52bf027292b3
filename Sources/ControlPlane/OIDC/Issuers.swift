import AloftModel
import Execution
import Foundation
import Logging

/// Who somebody is, as an issuer has said and we have verified.
struct Assertion: Sendable, Equatable {
  var issuer: String
  var subject: String
  /// What a new user is named after.
  var userName: String?
  /// What of the roles claim gives something.
  var values: [String]
  var expiresAt: Date
}

/// The issuers that the operator trusts.
///
/// Invariants:
/// - A token is judged by the issuer that it names and no other; who names none of ours is refused before anything is looked up.
/// - What was verified is remembered for ``remembered`` seconds, never past the token's end, and only so much: a key that an issuer
///   took away counts no longer than that.
final class Issuers: Sendable {
  static let remembered: TimeInterval = 30
  private static let mostRemembered = 10_000

  private struct Entry {
    var assertion: Assertion
    var until: TimeInterval
  }

  private let byURL: [String: Issuer]
  private let byName: [String: Issuer]
  private let environment: Environment
  private let verified = Lock([[UInt8]: Entry]())
  /// In the order of the settings.
  let settings: [IssuerSettings]

  /// Throws a ``StartFailure`` where the settings cannot be.
  init(_ settings: [IssuerSettings], environment: Environment, logger: Logger) throws {
    for issuer in settings { if let fault = issuer.fault { throw StartFailure(fault) } }
    guard Set(settings.map(\.name)).count == settings.count, Set(settings.map(\.url)).count == settings.count else {
      throw StartFailure("two issuers have the same name or the same URL")
    }
    let issuers = settings.map { Issuer($0, environment: environment, logger: logger) }
    byURL = Dictionary(issuers.map { ($0.settings.url, $0) }, uniquingKeysWith: { $1 })
    byName = Dictionary(issuers.map { ($0.settings.name, $0) }, uniquingKeysWith: { $1 })
    self.settings = settings
    projectNames = Set(
      settings.flatMap(\.rules).compactMap { if case .project(let name, _) = $0.grant { name } else { nil } }
    ).sorted()
    self.environment = environment
  }

  var isEmpty: Bool { settings.isEmpty }
  /// The projects that claims may give roles in.
  let projectNames: [String]
  /// How many verified tokens are remembered.
  var count: Int { verified.withLock { $0.count } }

  func named(_ name: String) -> Issuer? { byName[name] }

  /// What the values of a claim give, by the rules of today; nil when the issuer is trusted no longer.
  func grants(_ values: [String], of issuer: String) -> ClaimGrants? { byURL[issuer]?.settings.grants(values) }

  func settings(of issuer: String) -> IssuerSettings? { byURL[issuer]?.settings }

  /// Who sends a bearer token. Throws the ``Problem`` that says why it is refused.
  func verify(bearer text: String) async throws -> Assertion {
    let key = Secret.hash(text)
    let now = environment.uptime()
    if let entry = verified.withLock({ $0[key] }), entry.until > now,
      environment.now() < entry.assertion.expiresAt.addingTimeInterval(ClaimRequirements.leeway)
    {
      return entry.assertion
    }
    let token = try JSONWebToken(text)
    guard let issuer = token.claims.string("iss").flatMap({ byURL[$0] }) else {
      throw ClaimRequirements.invalid("nobody here trusts its issuer")
    }
    let assertion = try await Self.verify(
      token, by: issuer, audiences: issuer.settings.acceptedAudiences, nonce: nil, now: environment.now())
    verified.withLock { entries in
      if entries.count >= Self.mostRemembered { entries = entries.filter { $0.value.until > now } }
      guard entries.count < Self.mostRemembered else { return }
      entries[key] = Entry(assertion: assertion, until: now + Self.remembered)
    }
    return assertion
  }

  /// Who has just logged in, by the id token of this login.
  func verify(idToken text: String, by issuer: Issuer, nonce: String) async throws -> Assertion {
    let token = try JSONWebToken(text)
    let clientID = issuer.settings.clientID
    let assertion = try await Self.verify(
      token, by: issuer, audiences: [clientID], nonce: nonce, now: environment.now())
    // Where it is for several, it must have been made for us (OpenID Connect Core 1.0, section 3.1.3.7).
    if let party = token.claims.string("azp"), party != clientID {
      throw ClaimRequirements.invalid("it was made for another client (azp)")
    }
    return assertion
  }

  private static func verify(
    _ token: JSONWebToken, by issuer: Issuer, audiences: [String], nonce: String?, now: Date
  ) async throws -> Assertion {
    try await issuer.verifySignature(of: token)
    let settings = issuer.settings
    let requirements = ClaimRequirements(issuer: settings.url, audiences: audiences, nonce: nonce)
    if let refusal = requirements.refusal(of: token.claims, at: now) { throw refusal }
    guard let subject = token.claims.string("sub"), let expiry = token.claims.time("exp") else {
      throw ClaimRequirements.invalid("it has no subject or no end")
    }
    return Assertion(
      issuer: settings.url, subject: subject, userName: token.claims.string(settings.userClaim),
      values: settings.values(token.claims), expiresAt: expiry)
  }
}
